"""A release made ready to answer: verified, built, warmed up and compared with its golden batch."""

import math
from collections.abc import Sequence

import numpy as np
import onnxruntime

from contracts import releases, weights
from contracts.releases import Golden, Manifest, Release, ReleaseRefused
from contracts.schema import Schema, Value

Scores = tuple[float, ...]

_OUTPUTS = ["scores"]
_KINDS = {"tensor(double)": "float64", "tensor(float)": "float32", "tensor(int64)": "int64"}
_BLANK: dict[str, Value] = {"float": 0.0, "int": 0, "bool": False, "category": "warm-up"}


class Served:
    """One revision of one version, ready to score. Immutable: a reload makes another one.

    Where only weights have changed since `reuse`, its session is shared: a session that is built costs milliseconds in
    which no other thread of the process runs Python, a weight about 1 us in each call.
    Raises ReleaseRefused when the release must not answer.
    """

    __slots__ = ("_inputs", "_session", "_weights", "manifest", "provider", "release", "schema")

    def __init__(self, release: Release, schema: Schema, reuse: "Served | None" = None):
        release.verify(schema.fingerprint, held=reuse.release if reuse else None)
        self.release: Release = release
        self.manifest: Manifest = release.manifest
        self.schema = schema
        self._session: onnxruntime.InferenceSession
        if reuse is not None and reuse.manifest.onnx_sha256 == self.manifest.onnx_sha256:
            self._session = reuse._session
        else:
            self._session = self._open(release)
        self._inputs = tuple(tensor.name for tensor in self._session.get_inputs())
        self._weights = self._checked(release.weights)
        self.provider: str = self._session.get_providers()[0]
        self._warm_up()
        self._compare(release.manifest.golden)

    @property
    def version(self) -> int:
        return self.manifest.version

    @property
    def revision(self) -> int:
        return self.manifest.revision

    def score(self, rows: Sequence[Sequence[Value]]) -> list[Scores]:
        """Class probabilities in class order, or one value, for each row in schema order."""
        return list(map(tuple, self._run(rows).tolist()))

    def _run(self, rows: Sequence[Sequence[Value]]) -> np.ndarray:
        tensors = self.schema.tensors(rows)
        feeds = {name: tensors[name] for name in self._inputs}
        feeds.update(self._weights)
        scores: np.ndarray = self._session.run(_OUTPUTS, feeds)[0]
        return scores

    def _open(self, release: Release) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # a thread's hand-over costs more than a row
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(release.onnx, options, providers=_providers())
        except Exception as error:  # onnxruntime raises many types, none of them public
            raise self._refused(f"ONNX Runtime cannot load it: {error}") from error
        if _OUTPUTS[0] not in [tensor.name for tensor in session.get_outputs()]:
            raise self._refused("the graph has no output 'scores'")
        if unknown := {tensor.name for tensor in session.get_inputs()} - {"numeric", "categorical"}:
            raise self._refused(f"the graph asks for {', '.join(sorted(unknown))}, not only numeric and categorical")
        return session

    def _checked(self, packed: bytes) -> dict[str, np.ndarray]:
        """Every weight of the graph, or none at all: a part of them would mix two revisions."""
        try:
            found = weights.unpack(packed)
        except ValueError as error:
            raise self._refused(str(error)) from None
        slots = {tensor.name: tensor for tensor in self._session.get_overridable_initializers()} if found else {}
        if strangers := found.keys() ^ slots.keys():
            name = min(strangers)
            raise self._refused(f"weight {name} is {'not in the graph' if name in found else 'missing'}")
        for name, array in found.items():
            kind, shape = _KINDS.get(slots[name].type), slots[name].shape
            fits = len(shape) == array.ndim and all(
                not isinstance(size, int) or size == n for size, n in zip(shape, array.shape, strict=True)
            )
            if not fits or array.dtype != kind:
                raise self._refused(
                    f"weight {name} is {array.dtype}{list(array.shape)}, the graph takes {slots[name].type}{shape}"
                )
        return found

    def _warm_up(self) -> None:
        """Runs one row and two, so that a graph of a fixed batch or width is refused before it meets a question."""
        blank = tuple(_BLANK[feature.type] for feature in self.schema.features)
        for n in (1, 2):
            shape = self._scored([blank] * n).shape
            if shape != (n, self.schema.label.width):
                raise self._refused(f"scores of {n} rows have shape {shape}, not {(n, self.schema.label.width)}")

    def _compare(self, golden: Golden) -> None:
        if not golden.rows:
            return
        expected, got = np.asarray(golden.scores, np.float64), self._scored(golden.rows).astype(np.float64)
        if got.shape != expected.shape:
            raise self._refused(f"golden scores have shape {expected.shape}, the graph gives {got.shape}")
        if not np.isfinite(got).all():
            raise self._refused("a golden row scores NaN or infinity")
        worst = float((np.abs(got - expected) / np.maximum(1.0, np.abs(expected))).max())
        if worst > golden.tolerance:
            raise self._refused(f"golden scores differ by {worst:.3g}, more than {golden.tolerance:g}")
        if flips := releases.flips(expected, got):
            raise self._refused(f"{flips} of {len(got)} golden rows get another label")

    def _scored(self, rows: Sequence[Sequence[Value]]) -> np.ndarray:
        try:
            return self._run(rows)
        except Exception as error:  # as above
            raise self._refused(f"the graph fails on its golden rows: {error}") from error

    def _refused(self, reason: str) -> ReleaseRefused:
        return ReleaseRefused(self.manifest.version, " ".join(reason.split())[:500])


def finite(scores: Scores) -> bool:
    return math.isfinite(sum(scores))


def _providers() -> list[str]:
    offered = onnxruntime.get_available_providers()
    return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in offered]
