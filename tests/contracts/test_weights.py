"""Named arrays survive their way through bytes, and bytes that are none are refused."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from contracts import weights

ANY_WEIGHTS = st.dictionaries(
    st.text(max_size=8),
    st.sampled_from(weights.DTYPES).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=4,
)


@given(ANY_WEIGHTS)
def test_what_is_packed_comes_back_to_the_last_bit(found: dict[str, np.ndarray]) -> None:
    """Names, types, shapes and bits, NaN and empty arrays included; each array is writable memory of its own."""
    again = weights.unpack(weights.pack(found))
    assert again.keys() == found.keys()
    for name, array in found.items():
        assert (again[name].dtype, again[name].shape) == (array.dtype, array.shape)
        assert again[name].tobytes() == array.tobytes()
        assert again[name].flags.owndata
        assert again[name].flags.aligned
        assert again[name].flags.c_contiguous


def test_equal_arrays_give_equal_bytes() -> None:
    """Whatever their order in the mapping or in memory: their hash says whether weights changed."""
    table = np.arange(6.0).reshape(2, 3)
    one = weights.pack({"a": table, "b": np.ones(2)})
    assert one == weights.pack({"b": np.ones(2, ">f8").astype("=f8"), "a": np.asfortranarray(table)})
    assert weights.pack({}) == b""


def test_an_array_of_another_type_is_refused() -> None:
    """By name, where it is packed."""
    with pytest.raises(ValueError, match="weight words is object"):
        weights.pack({"words": np.array(["x"], object)})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xc1", "cannot be read"),
        (weights.pack({"a": np.ones(3)})[:-1], "cannot be read"),
        (msgspec.msgpack.encode({"a": ["float64", [3], b"12345678"]}), "do not fill the shape"),
        (msgspec.msgpack.encode({"a": ["float64", [-1, -1], b"12345678"]}), "do not fill the shape"),
        (msgspec.msgpack.encode({"a": ["object", [1], b"12345678"]}), "weight a is object"),
        (msgspec.msgpack.encode({"a": ["float64", ["n"], b""]}), "cannot be read"),
    ],
    ids=["bytes", "cut", "short", "negative", "type", "shape"],
)
def test_bytes_that_are_no_weights_are_refused(data: bytes, reason: str) -> None:
    """With the reason, before any array exists."""
    with pytest.raises(ValueError, match=reason):
        weights.unpack(data)
