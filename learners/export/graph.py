"""ONNX graphs with Tiltyard's signature, computed in double; and sessions on one thread to check them with."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from contracts.schema import Schema, Value
from learners.export.memo import Memo

ML = "ai.onnx.ml"

# TreeEnsemble, which compares and sums in double, came with ai.onnx.ml 5; onnxruntime 1.31 runs all of these.
_OPSETS = {"": 21, ML: 5}
_IR_VERSION = 10


class Graph:
    """Nodes and constants as they accumulate; every method returns the name of a tensor.

    `memo` is what the last export of the same model found.
    """

    def __init__(self, schema: Schema, memo: Memo | None = None):
        self.schema = schema
        self.memo = Memo() if memo is None else memo
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, np.ndarray] = {}
        self._weights: dict[str, np.ndarray] = {}
        self._tables: set[str] = set()

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """The single output of a new node."""
        output = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], domain=domain, **attributes))
        return output

    def constant(self, values: Any, dtype: Any = np.float64) -> str:
        """A tensor that never changes while the graph's structure stays."""
        name = f"constant_{len(self._constants)}"
        self._constants[name] = np.asarray(values, dtype)
        return name

    def weight(self, name: str, values: Any) -> str:
        """A float64 tensor that learning changes: an initializer that a session's caller may override by this name."""
        name = name if name not in self._weights else f"{name}_{len(self._weights)}"
        self._weights[name] = np.ascontiguousarray(values, np.float64)
        return name

    def table(self, name: str, rows: Any) -> str:
        """A weight whose number of rows may change as well."""
        name = self.weight(name, rows)
        self._tables.add(name)
        return name

    def codes(self, codes: Mapping[str, float], unseen: float, dtype: Any = np.float64) -> str:
        """dtype[n, c]: categories as numbers, by their text; the text of a missing one is ""."""
        return self._look_up("categorical", codes, unseen, dtype)

    def codes_by_feature(self, codes: Mapping[tuple[str, str], float], unseen: float, dtype: Any = np.float64) -> str:
        """The same, by (feature, text)."""
        prefix = {name: f"{i}:" for i, name in enumerate(self.schema.categorical_names)}
        texts = self.add("StringConcat", self.constant(list(prefix.values()), object), "categorical")
        by_text = self.recall(
            "codes", codes, lambda: {prefix[name] + text: code for (name, text), code in codes.items()}
        )
        return self._look_up(texts, by_text, unseen, dtype)

    def rows_of(self, keys: str, rows: Mapping[int, int], unseen: int) -> str:
        """int64 of the same shape: where each int64 key leads to."""
        return self._look_up(keys, rows or {-1: unseen}, unseen, np.int64, np.int64)

    def _look_up(self, keys: str, codes: Mapping[Any, float], unseen: float, dtype: Any, key_type: Any = object) -> str:
        def tensors() -> dict[str, onnx.TensorProto]:
            keys = _texts(codes) if key_type is object else numpy_helper.from_array(np.array(list(codes), key_type))
            return {
                "keys_tensor": keys,
                "values_tensor": numpy_helper.from_array(np.fromiter(codes.values(), dtype, len(codes))),
                "default_tensor": numpy_helper.from_array(np.array([unseen], dtype)),
            }

        return self.add("LabelEncoder", keys, domain=ML, **self.recall("look-up", (codes, unseen, dtype), tensors))

    def recall(self, what: str, stamp: Any, make: Callable[[], Any]) -> Any:
        """What the last export made at this place, if the stamp, which must tell all it is made from, is equal."""
        return self.memo.recall((what, len(self._nodes)), stamp, make)

    def each(
        self, what: str, things: Sequence[Any], stamp: Callable[[Any], Any], make: Callable[[Any], Any]
    ) -> list[Any]:
        """`make(thing)` of each, as the last export made it at this place where the thing's stamp is equal."""
        return self.memo.each((what, len(self._nodes)), things, stamp, make)

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Every overridable tensor so far."""
        return dict(self._weights)

    def constant_scores(self, scores: str) -> str:
        """Scores [k] repeated for each row, whatever the row."""
        return self.repeated(scores, self.schema.label.width)

    def repeated(self, tensor: str, width: int) -> str:
        """[n, width]: a tensor [width] repeated for each row."""
        rows = self.add("Shape", "numeric" if self.schema.numeric_at else "categorical", start=0, end=1)
        return self.add("Expand", tensor, self.add("Concat", rows, self.constant([width], np.int64), axis=0))

    def ordered(self, values: str, width: int) -> str:
        """[n, width]: each row's values from high to low."""
        output = self.add("TopK", values, self.constant([width], np.int64))
        self._nodes[-1].output.append(f"{output}_at")
        return output

    def normalised(self, votes: str, axis: int) -> str:
        """exp(votes - log(sum(exp(votes)))) along an axis, in the steps in which River computes it."""
        axes = self.constant([axis], np.int64)
        highest = self.add("ReduceMax", votes, axes)
        total = self.add("ReduceSum", self.add("Exp", self.add("Sub", votes, highest)), axes)
        return self.add("Exp", self.add("Sub", votes, self.add("Add", highest, self.add("Log", total))))

    def finish(self, scores: str, producer: str) -> onnx.ModelProto:
        """The model whose output `scores` is the given double tensor [n, k]."""
        model = self.structure(scores, producer)
        onnx.checker.check_model(model)
        return self.filled(model)

    def structure(self, scores: str, producer: str) -> onnx.ModelProto:
        """The same without the values of the weights, which are inputs here. Call it once, or `finish`."""
        self._nodes.append(helper.make_node("Identity", [scores], ["scores"]))
        if self._nodes[-2].output[0] == scores:
            del self._nodes[-1]
            self._nodes[-1].output[0] = "scores"
        return helper.make_model(
            self._graph(producer),
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()],
            ir_version=_IR_VERSION,
            producer_name="tiltyard",
        )

    def filled(self, structure: onnx.ModelProto) -> onnx.ModelProto:
        """The structure, with the values of the weights put in."""
        # An initializer that is also an input may be overridden (IR 4 and later).
        structure.graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in self._weights.items())
        return structure

    def _graph(self, name: str) -> onnx.GraphProto:
        inputs = []
        if self.schema.numeric_at:
            inputs.append(_info("numeric", TensorProto.DOUBLE, len(self.schema.numeric_at)))
        if self.schema.categorical_at:
            inputs.append(_info("categorical", TensorProto.STRING, len(self.schema.categorical_at)))
        overridable = [
            helper.make_tensor_value_info(key, TensorProto.DOUBLE, self._shape(key, value))
            for key, value in self._weights.items()
        ]
        return helper.make_graph(
            self._nodes,
            name,
            inputs + overridable,
            [_info("scores", TensorProto.DOUBLE, self.schema.label.width)],
            [numpy_helper.from_array(value, key) for key, value in self._constants.items()],
        )

    def _shape(self, name: str, value: np.ndarray) -> list[int | str]:
        # A dimension with a name accepts any size; one shared name would promise equal sizes.
        return [f"{name}_rows", *value.shape[1:]] if name in self._tables else list(value.shape)


def _texts(texts: Collection[str]) -> onnx.TensorProto:
    """A tensor of strings; by way of an array of objects it takes four times as long."""
    tensor = onnx.TensorProto(data_type=TensorProto.STRING, dims=[len(texts)])
    tensor.string_data.extend([text.encode() for text in texts])
    return tensor


def structure_sha256(structure: onnx.ModelProto) -> str:
    """64 hex digits over everything but the values of overridable initializers."""
    return hashlib.sha256(structure.SerializeToString(deterministic=True)).hexdigest()


def _info(name: str, kind: int, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["n", width])


def session(onnx_bytes: bytes) -> onnxruntime.InferenceSession:
    """An onnxruntime session on the CPU with one thread, as parity is measured."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # overridable weights are meant: no warning for each
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])


def run(model: onnxruntime.InferenceSession, schema: Schema, rows: Sequence[Sequence[Value]]) -> np.ndarray:
    """float64[n, k]: the session's scores for rows in schema order."""
    (scores,) = model.run(["scores"], schema.tensors(rows))
    return np.asarray(scores, np.float64)
