"""Line charts as inline SVG: from figures to markup, readable without a script, in print and in grey."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from contracts.axes import apart, time_ticks
from contracts.marks import Mark
from serving import chart_marks
from serving.chart_parts import (
    CHARACTER,
    LINE,
    Frame,
    Point,
    Scale,
    Words,
    clipped,
    grid,
    series,
    svg,
    tick,
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One series, x rising. `style` is 0 for the prior, 1 to 6 for learners; a thick line answers."""

    label: str
    points: Sequence[Point]
    style: int
    is_thick: bool = False


def loss_chart(lines: Sequence[Line], marks: Sequence[Mark], words: Words, title: str, frame: Frame) -> Markup:
    """Mean loss over time (epoch seconds) of several versions, with a flag where another began to answer."""
    drawn = [line for line in lines if line.points]
    times = [at for line in drawn for at, _ in line.points]
    # A constant is far off once anything has learned: it must not press the others flat.
    values = [value for line in drawn if line.style for _, value in line.points] or [
        value for line in drawn for _, value in line.points
    ]
    x = frame.x(min(times), max(times) if max(times) > min(times) else min(times) + 1)
    y = frame.y(*_from_zero_if_near(min(values), max(values)))
    times_shown = time_ticks(x.low, x.high, (frame.width - frame.left) // 90)
    parts = [
        *grid(frame, y, words),
        *(tick(frame, x(at), text) for at, text in times_shown),
        *_flags(frame, x, marks),
        clipped(frame, (_drawn(line, x, y) for line in sorted(drawn, key=lambda line: line.is_thick))),
        *_end_labels(frame, [line for line in drawn if y.low <= line.points[-1][1] <= y.high], x, y),
    ]
    return svg(frame, title, parts)


def _from_zero_if_near(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return (0.0 if 0 <= low < high * 0.6 else low - room), high + room


def _flags(frame: Frame, x: Scale, marks: Sequence[Mark]) -> Iterable[str]:
    """Pennants at the top for who answers, and the shapes of what else happened at the bottom.

    Those outside the picture are left out, and those too near the one before lose their name.
    """
    bottom = frame.height - frame.bottom
    for is_role in (True, False):
        taken = -math.inf
        for mark in sorted((mark for mark in marks if (mark.kind == "role") == is_role), key=lambda mark: mark.at):
            if not x.low <= mark.at <= x.high:
                continue
            at, height = x(mark.at), frame.top if is_role else bottom - 6
            if is_role:
                yield f'<path class="pole" d="M{at:.1f} {height - 12}V{bottom}"/>'
                yield f'<path class="pennant" d="M{at:.1f} {height - 12}l9 4l-9 4z"/>'
            else:
                yield chart_marks.glyph(at, height, mark.kind)
            if at > taken and at + 12 + len(mark.label) * CHARACTER < frame.width:
                lift = -3 if is_role else 4
                place = f'x="{at + (12 if is_role else 8):.1f}" y="{height + lift}"'
                yield f'<text class="label" {place}>{escape(mark.label)}</text>'
                taken = at + 16 + len(mark.label) * CHARACTER


def _drawn(line: Line, x: Scale, y: Scale) -> str:
    return series(line.points, x, y, line.style, line.is_thick)


def _end_labels(frame: Frame, lines: Sequence[Line], x: Scale, y: Scale) -> Iterable[str]:
    """Names at the lines' ends, pushed apart where they would overlap."""
    ends = sorted((y(line.points[-1][1]), x(line.points[-1][0]), line) for line in lines)
    heights = apart([height for height, _, _ in ends], frame.top, frame.height - frame.bottom, LINE)
    for height, (_, right, line) in zip(heights, ends, strict=True):
        look, at = (
            f"end{' thick' if line.is_thick else ''} ink{line.style}",
            f'x="{right + 8:.1f}" y="{height + 4:.1f}"',
        )
        yield f'<text class="{look}" {at}>{escape(line.label)}</text>'
