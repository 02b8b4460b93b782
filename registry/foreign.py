"""Graphs that some other tool made: found among a version's artifacts, and held to the signature that every one has."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from contracts.schema import Schema, class_text

DECLARATIONS = ("tiltyard.features", "tiltyard.classes")
"""Tags of a version, or metadata of its graph, that say in JSON what a graph cannot: the names of its features, as a
list or with their types, and its classes, each in the order of the columns."""

_CLASS_LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


class Misfit(Exception):
    """A version that does not answer this model's questions; nothing was changed."""

    def __init__(self, version: int, reason: str):
        super().__init__(f"version {version} does not fit: {reason}")
        self.version, self.reason = version, reason


def graph_in(version: int, found: Path) -> bytes:
    """The only ONNX graph in a file or folder, with the tensors that are kept beside it. Raises Misfit."""
    import onnx

    graphs = [found] if found.is_file() else sorted(found.rglob("*.onnx"))
    if len(graphs) != 1:
        named = ", ".join(path.name for path in graphs[:5]) or "none"
        raise Misfit(version, f"it needs one ONNX graph, a file *.onnx, among its artifacts; there is {named}")
    try:
        return bytes(onnx.load(graphs[0]).SerializeToString())
    except Exception as error:  # onnx raises many types, protobuf's own among them
        raise Misfit(
            version, f"{graphs[0].name} cannot be read as ONNX: {' '.join(str(error).split())[:200]}"
        ) from error


def require_fit(version: int, onnx_bytes: bytes, schema: Schema, tags: Mapping[str, str]) -> None:
    """Raises Misfit, saying what differs, unless a graph has the signature at the head of `contracts.schema`.

    Class order and names of features are checked where the graph tells them, or `tags` do (`DECLARATIONS`).
    """
    from onnx import load_from_string

    model = load_from_string(onnx_bytes)
    told = {entry.key: entry.value for entry in model.metadata_props} | dict(tags)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [tensor for tensor in model.graph.input if tensor.name not in weights]
    for reason in (
        *_inputs(inputs, schema),
        *_scores(model.graph.output, schema),
        *_features(told, schema),
        *_classes(told, model.graph.node, schema),
    ):
        raise Misfit(version, reason)


def _inputs(inputs: Iterable[Any], schema: Schema) -> Iterable[str]:
    wanted = {"numeric": ("double", len(schema.numeric_at)), "categorical": ("string", len(schema.categorical_at))}
    wanted = {name: what for name, what in wanted.items() if what[1]}
    for tensor in inputs:
        if tensor.name not in wanted:
            names = " and ".join(wanted)
            yield f'its graph has an input "{tensor.name}"; this model gives {names} (see contracts/schema.py)'
            continue
        kind, width = wanted[tensor.name]
        yield from _tensor(tensor, (kind,), width, f"{width} features of that sort")


def _scores(outputs: Iterable[Any], schema: Schema) -> Iterable[str]:
    found = {tensor.name: tensor for tensor in outputs}
    if "scores" not in found:
        yield f'its graph has no output "scores", but {", ".join(found)}'
        return
    label = schema.label
    what = f"the classes {', '.join(label.class_texts)}" if label.classes else "one value"
    yield from _tensor(found["scores"], ("double", "float"), label.width, what)


def _tensor(tensor: Any, kinds: tuple[str, ...], width: int, what: str) -> Iterable[str]:
    from onnx import TensorProto

    described = tensor.type.tensor_type
    kind = TensorProto.DataType.Name(described.elem_type).lower()
    if kind not in kinds:
        yield f'"{tensor.name}" is {kind} in its graph, and must be {" or ".join(kinds)}'
    sizes = [size.dim_value or None for size in described.shape.dim] if described.HasField("shape") else [None, None]
    if len(sizes) != 2 or sizes[0] is not None or sizes[1] not in (None, width):
        shape = ", ".join("any" if size is None else str(size) for size in sizes)
        yield f'"{tensor.name}" has shape [{shape}] in its graph, and must have [any, {width}]: {what}'


def _features(told: Mapping[str, str], schema: Schema) -> Iterable[str]:
    declared = _declared(told, "tiltyard.features")
    if declared is None:
        return
    if list(declared) != list(schema.names):
        yield f"it was made for the features {_listed(declared)}; this model's are, in order, {_listed(schema.names)}"
    elif isinstance(declared, dict):
        for feature in schema.features:
            kind = str(declared[feature.name]).rstrip("?")
            if kind != feature.type:
                yield f"it was made for {feature.name} as {kind}; this model's is {feature.type}"


def _classes(told: Mapping[str, str], nodes: Iterable[Any], schema: Schema) -> Iterable[str]:
    declared = _declared(told, "tiltyard.classes")
    classes = None if declared is None else [class_text(one) for one in declared]
    if classes is None:
        classes = _labels_in(nodes)
    if classes is None or classes == list(schema.label.class_texts):
        return
    mine = _listed(schema.label.class_texts) if schema.label.classes else "a value"
    same = sorted(classes) == sorted(schema.label.class_texts)
    yield (
        f"its columns are the classes {_listed(classes)}; this model's are {mine}"
        + (": the same in another order, so that every answer would name the wrong one" if same else "")
    )


def _labels_in(nodes: Iterable[Any]) -> list[str] | None:
    """The classes that a classifier's node names, unless they are mere numbers of columns."""
    found = [
        [text.decode(errors="replace") for text in attribute.strings] or [class_text(one) for one in attribute.ints]
        for node in nodes
        for attribute in node.attribute
        if attribute.name in _CLASS_LABELS
    ]
    if not found or any(one != found[0] for one in found) or found[0] == [str(i) for i in range(len(found[0]))]:
        return None
    return found[0]


def _declared(told: Mapping[str, str], name: str) -> Any:
    """What was declared, a list or an object; None where nothing was."""
    if name not in told:
        return None
    try:
        found = json.loads(told[name])
    except ValueError:
        found = None
    return found if isinstance(found, list | dict) else [told[name]]


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(map(str, names))
