"""The picture of what moved: drawn of any columns, small, and of what it was given."""

import io
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from contracts.schema import Feature, FeatureType, Label, Schema, Value
from drift import picture

NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.just(1.0))
TEXTS = st.one_of(st.none(), st.text(min_size=1, max_size=5), st.sampled_from(["a", "$x$", "日本", "</svg>"]))


def drawn(kind: FeatureType, reference: Sequence[Value], current: Sequence[Value], panels: int = 1) -> Image.Image:
    names = [f"c{i}" for i in range(panels)]
    schema = Schema(tuple(Feature(name, kind, True) for name in names), Label("regression"))
    data = picture.draw(dict.fromkeys(names, reference), dict.fromkeys(names, current), schema, names)
    assert len(data) < 150_000
    return Image.open(io.BytesIO(data))


def orange(image: Image.Image) -> int:
    """Pixels of the current window's colour."""
    pixels = np.asarray(image.convert("RGB"), dtype=int)
    return int((np.abs(pixels - [0xC2, 0x41, 0x0C]).sum(axis=2) < 40).sum())


def test_four_panels_fit_a_mail() -> None:
    """Twice 640 pixels wide, on a ground of its own: readable on light and on dark."""
    image = drawn("float", [float(i) for i in range(100)], [float(i) for i in range(50, 150)], panels=9)
    assert image.width == 1280
    assert image.height < 900
    assert image.convert("RGBA").getpixel((0, 0)) == (0xFB, 0xFC, 0xFD, 255)


def test_bars_are_as_long_as_shares() -> None:
    """One category for all of the current rows, or sixty for a few each, beside the same reference."""
    one, many = (drawn("category", ["a"] * 60, side) for side in (["a"] * 60, [f"n{i}" for i in range(60)]))
    assert orange(one) > 5 * orange(many) > 0


def test_one_far_outlier_leaves_the_rest_visible() -> None:
    """It shares the outer bin; the histogram does not shrink to a line."""
    draw = random.Random(1)
    plain: list[Value] = [draw.gauss(0, 1) for _ in range(1_000)]
    near, far = drawn("float", plain, plain), drawn("float", plain, [*plain[:-1], 1e300])
    assert orange(far) == pytest.approx(orange(near), rel=0.1)


@settings(max_examples=10, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["float", "category", "bool"]))
def test_whatever_is_in_a_column_a_picture_comes_out(data: st.DataObject, kind: FeatureType) -> None:
    """Nothing, one value, the largest numbers, names in any script."""
    values = {"float": NUMBERS, "category": TEXTS, "bool": st.one_of(st.none(), st.booleans())}[kind]
    sides = [data.draw(st.lists(values, max_size=8)) for _ in range(2)]
    assert drawn(kind, *sides).width == 1280
