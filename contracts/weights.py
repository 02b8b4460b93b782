"""What learning changes in a graph, without the graph: named arrays as bytes, equal arrays as equal bytes."""

import math
from collections.abc import Mapping

import msgspec
import numpy as np

DTYPES = ("float64", "float32", "int64")
"""What a weight may be; the exporters use float64."""


class _Tensor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data: bytes
    """Row by row, little-endian."""


_DECODER = msgspec.msgpack.Decoder(dict[str, _Tensor])


def pack(weights: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as bytes; b"" for none. Raises ValueError on a type other than DTYPES."""
    return msgspec.msgpack.encode({name: _packed(name, weights[name]) for name in sorted(weights)}) if weights else b""


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """The arrays that were packed, each in memory of its own. Raises ValueError when the bytes are none."""
    if not data:
        return {}
    try:
        return {name: _unpacked(name, tensor) for name, tensor in _DECODER.decode(data).items()}
    except msgspec.DecodeError as error:
        raise ValueError(f"the weights cannot be read: {error}") from None


def _packed(name: str, array: np.ndarray) -> _Tensor:
    if array.dtype.name not in DTYPES:
        raise ValueError(f"weight {name} is {array.dtype}; it must be {', '.join(DTYPES)}")
    return _Tensor(
        array.dtype.name, array.shape, array.astype(array.dtype.newbyteorder("<"), "C", copy=False).tobytes()
    )


def _unpacked(name: str, tensor: _Tensor) -> np.ndarray:
    if tensor.dtype not in DTYPES:
        raise ValueError(f"weight {name} is {tensor.dtype}; it must be {', '.join(DTYPES)}")
    stored = np.dtype(tensor.dtype).newbyteorder("<")
    if min(tensor.shape, default=0) < 0 or math.prod(tensor.shape) * stored.itemsize != len(tensor.data):
        raise ValueError(f"weight {name} has {len(tensor.data)} bytes, which do not fill the shape {tensor.shape}")
    # A copy: onnxruntime reads the array where it lies, and inside a message that is at no aligned address.
    return np.frombuffer(tensor.data, stored).reshape(tensor.shape).astype(tensor.dtype, copy=True)
