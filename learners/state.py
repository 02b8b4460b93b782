"""River state as bytes and as a digest.

Plain pickle is not enough: River keeps an unseeded random generator in every Gaussian (2.5 kB each, different in every
process, never used here), caches in every Pipeline, and its regression trees observe features in linked nodes, whose
depth is bounded only by the recursion limit that pickle then hits.
"""

import copyreg
import hashlib
import io
import pickle
import random
import struct
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from river.compose import Pipeline
from river.proba import Gaussian
from river.stats import Var
from river.tree.splitter.ebst_splitter import EBSTNode

_DOUBLE = struct.Struct("<d").pack
_ATOMS = (type(None), bool, int, str, bytes)


def dumps(model: object) -> bytes:
    """A River estimator as bytes; `loads` gives an equal one, whatever its depth."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=5).dump(model)
    return buffer.getvalue()


def loads(data: bytes) -> Any:
    """What `dumps` was given. Only for bytes that we wrote ourselves: unpickling runs code."""
    return pickle.loads(data)


def digest(state: object) -> str:
    """64 hex digits, equal for equal states in any process: no identities, no caches, sets in a fixed order.

    Dictionaries count in their own order, since sums over them are rounded in that order.
    """
    sha = hashlib.sha256()
    try:
        _Canonical(sha.update).dump(state)
    except (ValueError, RecursionError):  # a cycle, which has no end there: River's target scaler holds itself
        sha = hashlib.sha256()
        _write(state, sha.update, {})
    return sha.hexdigest()


class _Canonical(pickle.Pickler):
    """Pickles for their digest alone, in a quarter of the time that walking takes in Python.

    Without a memo (`fast`), so that an object met twice is written as two equal ones are.
    """

    def __init__(self, emit: Callable[[bytes], object]):
        super().__init__(_Sink(emit), protocol=5)
        self.fast = True

    def persistent_id(self, obj: Any) -> Any:
        kind = type(obj)
        return (kind.__name__, sorted(map(digest, obj))) if kind is set or kind is frozenset else None

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in _REDUCERS:
            return _REDUCERS[kind](obj)
        if isinstance(obj, np.ndarray | np.generic) and not obj.dtype.hasobject:
            return kind, (obj.dtype.str, obj.shape, obj.tobytes())
        if isinstance(obj, type | types.FunctionType | types.BuiltinFunctionType):
            return NotImplemented
        reduced = obj.__reduce_ex__(4)
        if isinstance(reduced, tuple) and len(reduced) > 2 and type(reduced[2]) is dict:
            attributes = dict(sorted(reduced[2].items()))  # by name, since their order says nothing
            return *reduced[:2], attributes, *reduced[3:]
        return reduced


class _Sink:
    def __init__(self, write: Callable[[bytes], object]):
        self.write = write


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        reduce = _REDUCERS.get(type(obj))
        return NotImplemented if reduce is None else reduce(obj)


def _reduce_gaussian(gaussian: Any) -> Any:
    if gaussian.seed is not None:
        return gaussian.__reduce_ex__(4)
    return _gaussian, _moments(gaussian._var)


def _gaussian(*moments: Any) -> Any:
    gaussian: Any = Gaussian()  # type: ignore[no-untyped-call]
    gaussian._var = _variance(*moments)
    return gaussian


def _reduce_variance(variance: Any) -> Any:
    return _variance, _moments(variance)


def _moments(variance: Any) -> tuple[Any, ...]:
    """Trees hold these by the hundred thousand: four numbers instead of two objects."""
    return variance.ddof, variance.mean.n, variance.mean._mean, variance._S


def _variance(ddof: int, n: float, mean: float, squares: float) -> Any:
    variance = Var(ddof)
    variance.mean.n, variance.mean._mean, variance._S = n, mean, squares
    return variance


def _reduce_pipeline(pipeline: Any) -> Any:
    return Pipeline, tuple(pipeline.steps.items())


def _reduce_random(generator: Any) -> Any:
    """A forest's leaves share one: as bytes, since a tuple of 625 would be walked for each leaf."""
    version, numbers, gauss = generator.getstate()
    return _random, (version, struct.pack(f"<{len(numbers)}I", *numbers), gauss)


def _random(version: int, packed: bytes, gauss: float | None) -> Any:
    generator = random.Random()
    generator.setstate((version, struct.unpack(f"<{len(packed) // 4}I", packed), gauss))
    return generator


def _reduce_tree(root: Any) -> Any:
    """A binary search tree as a list in pre-order, so that its depth costs no recursion."""
    nodes, stack = [], [root]
    while stack:
        node = stack.pop()
        left, right = node._left, node._right
        nodes.append((node.att_val, node.estimator, node._update_estimator, left is not None, right is not None))
        stack.extend(child for child in (right, left) if child is not None)
    return _grow_tree, (nodes,)


def _grow_tree(nodes: list[tuple[Any, ...]]) -> Any:
    root = EBSTNode.__new__(EBSTNode)
    stack = [root]
    for value, estimator, update, has_left, has_right in nodes:
        node = stack.pop()
        node.att_val, node.estimator, node._update_estimator = value, estimator, update
        node._left = EBSTNode.__new__(EBSTNode) if has_left else None
        node._right = EBSTNode.__new__(EBSTNode) if has_right else None
        stack.extend(child for child in (node._right, node._left) if child is not None)
    return root


_REDUCERS: dict[type, Callable[[Any], Any]] = {
    Gaussian: _reduce_gaussian,
    Var: _reduce_variance,
    Pipeline: _reduce_pipeline,
    random.Random: _reduce_random,
    EBSTNode: _reduce_tree,
}


def _write(value: Any, emit: Callable[[bytes], object], path: dict[int, int]) -> None:
    """Emit tagged bytes for a value; `path` holds the objects above it, which a cycle names by their depth."""
    kind = type(value)
    if kind is float:
        emit(b"f" + _DOUBLE(value))
    elif kind in _ATOMS:
        text = value if kind is bytes else str(value).encode(errors="surrogatepass")
        emit(f"{kind.__name__}:{len(text)}:".encode() + text)
    elif isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        emit(f"a{value.dtype.str}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, type | types.FunctionType | types.BuiltinFunctionType) and _is_global(value):
        emit(f"g{value.__module__}.{value.__qualname__};".encode())
    elif id(value) in path:
        emit(f"^{path[id(value)]};".encode())
    else:
        path[id(value)] = len(path)
        _write_compound(value, emit, path)
        del path[id(value)]


def _is_global(value: Any) -> bool:
    owner = getattr(value, "__self__", None)
    return owner is None or isinstance(owner, types.ModuleType)


def _write_compound(value: Any, emit: Callable[[bytes], object], path: dict[int, int]) -> None:
    kind = type(value)
    if kind is dict:
        _write_each("d", (part for item in value.items() for part in item), emit, path)
    elif kind in (list, tuple):
        _write_each("l", iter(value), emit, path)
    elif kind in (set, frozenset):
        _write_each("s", iter(sorted(digest(item) for item in value)), emit, path)
    else:
        reduced = _REDUCERS[kind](value) if kind in _REDUCERS else value.__reduce_ex__(4)
        _write_reduced(reduced, emit, path)


def _write_each(tag: str, parts: Iterator[Any], emit: Callable[[bytes], object], path: dict[int, int]) -> None:
    emit(f"{tag}(".encode())
    for part in parts:
        _write(part, emit, path)
    emit(b")")


def _write_reduced(reduced: Any, emit: Callable[[bytes], object], path: dict[int, int]) -> None:
    """What pickle would store of an object; attributes by name, since their order says nothing."""
    if isinstance(reduced, str):
        emit(f"g{reduced};".encode())
        return
    build, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    if build is not copyreg.__newobj__:  # type: ignore[attr-defined]  # undocumented, but what protocol 2 names
        _write(build, emit, path)
    if isinstance(state, dict):
        state = sorted(state.items())
    _write_each("o", iter((arguments, state, list(items or ()), list(pairs or ()))), emit, path)
