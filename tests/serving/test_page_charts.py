"""Axes have round numbers, labels keep apart, and odd series draw something sensible."""

import itertools
import math
import re
import xml.etree.ElementTree as ElementTree
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import axes, marks
from contracts.marks import Mark
from serving import chart_band, chart_bars, charts
from serving.chart_band import State, Stretch
from serving.chart_parts import Frame
from serving.charts import Line
from serving.page_plots import smoothed

FRAME = Frame(340, 210)


@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_ticks_are_round_even_and_inside(offset: float, span: float, count: int) -> None:
    """Whatever the range, there are about as many as asked for."""
    low, high = offset * span, offset * span + span
    found = axes.ticks(low, high, count)
    assert len(found) <= count + 1
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in found)
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert all(step == pytest.approx(steps[0], rel=1e-3) for step in steps)


@given(st.floats(1e9, 2e9), st.floats(2, 3e8), st.integers(2, 10))
def test_time_ticks_stand_on_round_local_times(low: float, span: float, count: int) -> None:
    """Whole seconds, minutes, hours or days by the clock on the wall."""
    found = axes.time_ticks(low, low + span, count)
    assert len(found) <= count + 1
    for at, text in found:
        assert low <= at <= low + span
        if re.fullmatch(r"\d\d:\d\d", text):
            assert f"{datetime.fromtimestamp(at):%H:%M}" == text


@given(st.lists(st.floats(0, 200), max_size=8))
def test_labels_at_the_ends_of_lines_never_overlap(heights: list[float]) -> None:
    """They are pushed apart by a line's height, and stay above the axis."""
    placed = axes.apart(sorted(heights), 18, 184, 13)
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
    drawn = charts.loss_chart(
        [Line("v1 <&>", points, 1)],
        [Mark(1e9, "v1", "role"), Mark(1e9, "drift", "drift")],
        "{:g}".format,
        "a <title>",
        FRAME,
    )
    root = ElementTree.fromstring(drawn)
    assert root.findtext("title") == "a <title>"
    assert not re.search(r"\b(nan|inf)\b", drawn)


def drawn(stretch: Stretch) -> ElementTree.Element:
    return ElementTree.fromstring(chart_band.band_chart(stretch, 0.005, 2, "{:g}".format, "t", FRAME))


def along(element: ElementTree.Element, kind: str) -> list[list[tuple[float, float]]]:
    """The corners of each path of a kind."""
    paths = [path.get("d", "") for path in element.iter("path") if path.get("class") == kind]
    return [[(float(x), float(y)) for x, y in re.findall(r"[ML]?(-?[\d.]+) (-?[\d.]+)", path)] for path in paths]


def test_a_band_crosses_zero_on_the_chart_when_it_does_in_the_figures() -> None:
    """The zero line lies above the band's last lower edge exactly when that is negative."""
    for lower in (-0.01, 0.01):
        states = [State(100, 0.0, 0.0, -0.9, 0.9, 1e9), State(200, 1.0, 0.03, lower, 0.08, 1e9 + 60)]
        element = drawn(Stretch(states, 1e9, 1e9 + 60))
        [[(_, zero)]], [edge] = along(element, "zero"), along(element, "band ink2")
        assert (edge[2][1] > zero) is (lower < 0)


@pytest.mark.parametrize(("begin", "first"), [(1e9, 0), (1e9 + 3_000, 29), (1e9 + 3_001, 30)])
def test_a_stretch_of_time_fills_the_picture(begin: float, first: int) -> None:
    """Its beginning lies at the left edge of the plot, its end at the right, whatever is drawn of it."""
    states = [State(20 * i, 0.1 * i, 0.01, -0.02, 0.04, 1e9 + 100 * i) for i in range(1, 61)]
    element = drawn(Stretch(states[max(0, first - 1) :], begin, 1e9 + 6_000))
    (mean,) = along(element, "line thick ink2")
    for (x, _), state in zip(mean, states[max(0, first - 1) :], strict=True):
        share = (state.at - begin) / (1e9 + 6_000 - begin)
        assert x == pytest.approx(FRAME.left + share * (FRAME.width - FRAME.left - FRAME.right), abs=0.06)


def test_a_comparison_without_times_lies_over_its_questions() -> None:
    """As an older learn loop published it."""
    states = [State(n, 0.1, 0.01, -0.02, 0.04, 0.0) for n in (20, 40, 80)]
    (mean,) = along(drawn(Stretch(states, 0, 80, is_counted=True)), "line thick ink2")
    assert [round((x - FRAME.left) / (FRAME.width - FRAME.left - FRAME.right), 3) for x, _ in mean] == [0.25, 0.5, 1]


KINDS: list[marks.Kind] = list(marks.SHAPES)


@given(st.lists(st.tuples(st.floats(0, 300), st.sampled_from(KINDS), st.integers(1, 20)), max_size=60))
def test_marks_keep_apart_and_none_is_lost(found: list[tuple[float, marks.Kind, int]]) -> None:
    """Shapes never overlap, nor do names; whatever shares a shape is of its kind."""
    given_ = [Mark(at, "n" * length, kind) for at, kind, length in found]
    placed = marks.placed(given_, lambda at: at, 0, 300, 6.6)
    assert sorted((mark for one in placed for mark in one.marks), key=repr) == sorted(given_, key=repr)
    assert all(len({mark.kind for mark in one.marks}) == 1 for one in placed)
    spans = [(one.x - 6, one.x + 6) for one in placed]
    spans += [
        (one.x - 8 - 6.6 * len(one.name), one.x - 8) if one.is_left else (one.x + 9, one.x + 9 + 6.6 * len(one.name))
        for one in placed
        if one.name
    ]
    for (_, end), (begin, _) in itertools.pairwise(sorted(spans)):
        assert begin >= end - 1e-6


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
