"""Axes have round numbers, labels keep apart, and odd series draw something sensible."""

import itertools
import math
import re
import xml.etree.ElementTree as ElementTree
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import chart_bars, chart_parts, charts
from serving.chart_parts import Frame
from serving.charts import Flag, Line
from serving.page_plots import smoothed

FRAME = Frame(340, 210)


@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_ticks_are_round_even_and_inside(offset: float, span: float, count: int) -> None:
    """Whatever the range, there are about as many as asked for."""
    low, high = offset * span, offset * span + span
    found = chart_parts.ticks(low, high, count)
    assert len(found) <= count + 1
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in found)
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert all(step == pytest.approx(steps[0], rel=1e-3) for step in steps)


@given(st.floats(1e9, 2e9), st.floats(2, 3e8), st.integers(2, 10))
def test_time_ticks_stand_on_round_local_times(low: float, span: float, count: int) -> None:
    """Whole seconds, minutes, hours or days by the clock on the wall."""
    found = chart_parts.time_ticks(low, low + span, count)
    assert len(found) <= count + 1
    for at, text in found:
        assert low <= at <= low + span
        if re.fullmatch(r"\d\d:\d\d", text):
            assert f"{datetime.fromtimestamp(at):%H:%M}" == text


@given(st.lists(st.floats(0, 200), max_size=8))
def test_labels_at_the_ends_of_lines_never_overlap(heights: list[float]) -> None:
    """They are pushed apart by a line's height, and stay above the axis."""
    placed = charts._apart(sorted(heights), 18, 184)
    assert all(b - a >= 12.9 for a, b in itertools.pairwise(placed))
    assert all(height <= 184 for height in placed)


@pytest.mark.parametrize(
    "points",
    [
        [(0.0, 0.5)],
        [(0.0, 0.0), (0.0, 0.0)],
        [(1e9, 0.1), (1e9 + 1, 0.1)],
        [(1e9 + i, math.sin(i)) for i in range(300)],
    ],
)
def test_any_series_draws_finite_well_formed_markup(points: list[tuple[float, float]]) -> None:
    """One point, a flat line, or hundreds."""
    drawn = charts.loss_chart([Line("v1 <&>", points, 1)], [Flag(1e9, "v1")], "{:g}".format, "a <title>", FRAME)
    root = ElementTree.fromstring(drawn)
    assert root.findtext("title") == "a <title>"
    assert not re.search(r"\b(nan|inf)\b", drawn)


def test_a_band_crosses_zero_on_the_chart_when_it_does_in_the_figures() -> None:
    """The zero line lies above the band's last lower edge exactly when that is negative."""
    for lower in (-0.01, 0.01):
        points = [(100.0, 0.0, -0.9, 0.9), (200.0, 0.03, lower, 0.08)]
        drawn = ElementTree.fromstring(charts.band_chart(points, 0.005, 2, "{:g}".format, "t", FRAME))
        paths = {path.get("class"): path.get("d", "") for path in drawn.iter("path")}
        zero = float(paths["zero"].split()[1].split("H")[0])
        edge = [float(pair.split()[1].rstrip("z")) for pair in paths["band ink2"][1:].split("L")]
        assert (edge[2] > zero) is (lower < 0)


def test_a_meter_is_full_exactly_at_the_evidence_needed() -> None:
    """Below zero it is empty; beyond the mark it shows as beyond, and ends."""
    widths = [
        float(ElementTree.fromstring(chart_bars.meter(value, 2.0, 1, "t"))[2].get("width", ""))
        for value in (-3.0, 1.0, 2.0, 2.2, 99.0)
    ]
    assert widths == [0.0, 127.5, 255.0, 280.5, 300.0]


def test_a_smoothed_curve_weighs_stretches_by_their_labels() -> None:
    """The mean is over labels, and a stretch leaves when the window is full without it."""
    curve = [(1.0, 100, 0.5), (2.0, 300, 0.1), (3.0, 100, 0.0), (4.0, 100, 0.4)]
    times, means = zip(*smoothed(curve, 400), strict=True)
    assert times == (2.0, 3.0, 4.0)
    assert means == pytest.approx((80 / 400, 30 / 400, 70 / 500))
    assert smoothed(curve[:1], 400) == [(1.0, 0.5)]
    assert smoothed([], 400) == []


@given(st.floats(0.001, 1e6), st.floats(1.2, 1e6), st.lists(st.integers(0, 1_000), min_size=1, max_size=20))
def test_a_histogram_draws_every_step_and_its_marks_inside(shortest: float, ratio: float, counts: list[int]) -> None:
    """Whatever the delays: each step with labels is a bar, at least two durations are named, nothing sticks out."""
    edges = [shortest * ratio ** (i / len(counts)) for i in range(len(counts) + 1)]
    steps = [(a, b, n) for (a, b), n in zip(itertools.pairwise(edges), counts, strict=True)]
    marks = ((shortest, "half"), (edges[-1] * 1.01, "99 %"))
    drawn = ElementTree.fromstring(chart_bars.histogram(steps, marks, lambda at: f"{at:g} s", "Delays", FRAME))
    paths = [(part.get("class"), part.get("d") or "") for part in drawn.iter("path")]
    assert sum(kind == "bar" for kind, _ in paths) == sum(n > 0 for n in counts)
    assert sum(kind == "tick" for kind, _ in paths) >= 2
    for _, path in paths:
        assert all(-0.5 <= float(at) <= FRAME.width for at in re.findall(r"[MH](-?[\d.]+)", path))
