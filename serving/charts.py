"""Line charts as inline SVG: from figures to markup, readable without a script, in print and in grey."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from serving.chart_parts import (
    CHARACTER,
    LINE,
    Frame,
    Point,
    Scale,
    Words,
    clipped,
    count_ticks,
    grid,
    line_markup,
    marker,
    path,
    svg,
    tick,
    time_ticks,
)  # fmt: skip

Running = tuple[float, float, float, float]

_LOG_E_SHOWN = 6.0


@dataclass(frozen=True)
class Line:
    """One series, x rising. `style` is 0 for the prior, 1 to 6 for learners; a thick line answers."""

    label: str
    points: Sequence[Point]
    style: int
    is_thick: bool = False


@dataclass(frozen=True)
class Flag:
    """A moment to mark: who began to answer, or something else that happened."""

    at: float
    label: str
    is_role: bool = True


def loss_chart(lines: Sequence[Line], flags: Sequence[Flag], words: Words, title: str, frame: Frame) -> Markup:
    """Mean loss over time (epoch seconds) of several versions, with a flag where another began to answer."""
    drawn = [line for line in lines if line.points]
    times = [at for line in drawn for at, _ in line.points]
    # A constant is far off once anything has learned: it must not press the others flat.
    values = [value for line in drawn if line.style for _, value in line.points] or [
        value for line in drawn for _, value in line.points
    ]
    x = frame.x(min(times), max(times) if max(times) > min(times) else min(times) + 1)
    y = frame.y(*_from_zero_if_near(min(values), max(values)))
    marks = time_ticks(x.low, x.high, (frame.width - frame.left) // 90)
    parts = [
        *grid(frame, y, words),
        *(tick(frame, x(at), text) for at, text in marks),
        *_flags(frame, x, flags),
        clipped(frame, (_series(line, x, y) for line in sorted(drawn, key=lambda line: line.is_thick))),
        *_end_labels(frame, [line for line in drawn if y.low <= line.points[-1][1] <= y.high], x, y),
    ]
    return svg(frame, title, parts)


def band_chart(
    points: Sequence[tuple[float, float, float, float]],
    least: float,
    style: int,
    words: Words,
    title: str,
    frame: Frame,
) -> Markup:
    """Running advantage by requests: points are (n, mean, lower, upper); lines at zero and at the `least` gain."""
    x, y = frame.x(0, max(point[0] for point in points)), frame.y(*_band_range(points, least))
    edge = [(n, upper) for n, _, _, upper in points] + [(n, lower) for n, _, lower, _ in reversed(points)]
    mean = Line("", [(n, value) for n, value, _, _ in points], style, is_thick=True)
    inside = [
        f'<path class="band ink{style}" d="{path(edge, x, y)}z"/>',
        _level(frame, y(0), "zero"),
        _level(frame, y(least), "threshold"),
        _series(mean, x, y),
    ]
    parts = [
        *grid(frame, y, words),
        *count_ticks(frame, x),
        clipped(frame, inside),
        _level_label(frame, y(least), f"asked {words(least)}"),
    ]
    return svg(frame, title, parts)


def evidence_chart(points: Sequence[Point], needed: float, style: int, title: str, frame: Frame) -> Markup:
    """log10 E by requests, with the threshold at which the gate opens; drawn up to one million."""
    lowest, highest = min(value for _, value in points), max(value for _, value in points)
    x = frame.x(0, max(n for n, _ in points))
    low, high = max(min(lowest, 0.0), -needed), max(1.2 * needed, min(highest, _LOG_E_SHOWN))
    y = frame.y(low - 0.06 * (high - low), high)
    inside = [
        _level(frame, y(0), "zero"),
        _level(frame, y(needed), "threshold"),
        _series(Line("", points, style, is_thick=True), x, y),
    ]
    parts = [
        *grid(frame, y, lambda value: f"{value:g}".replace("-", "−")),
        *count_ticks(frame, x),
        clipped(frame, inside),
        _level_label(frame, y(needed), f"opens at {needed:.2f}"),
    ]
    return svg(frame, title, parts)


def _from_zero_if_near(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return (0.0 if 0 <= low < high * 0.6 else low - room), high + room


def _band_range(points: Sequence[Running], least: float) -> tuple[float, float]:
    """Room for what the band has become; its first, very wide part runs out of the picture."""
    late = points[-max(1, len(points) * 2 // 3) :]
    low = min(0.0, least, *(lower for _, _, lower, _ in late))
    high = max(0.0, least, *(upper for _, _, _, upper in late))
    room = (high - low) * 0.06 or 0.01
    return low - room, high + room


def _flags(frame: Frame, x: Scale, flags: Sequence[Flag]) -> Iterable[str]:
    """Pennants at the top, and lozenges at the bottom for what moved nobody.

    Those outside the picture are left out, and those too near the one before lose their name.
    """
    bottom = frame.height - frame.bottom
    for is_role in (True, False):
        taken = -math.inf
        for flag in sorted((flag for flag in flags if flag.is_role == is_role), key=lambda flag: flag.at):
            if not x.low <= flag.at <= x.high:
                continue
            at, height = x(flag.at), frame.top if is_role else bottom - 6
            if is_role:
                yield f'<path class="pole" d="M{at:.1f} {height - 12}V{bottom}"/>'
                yield f'<path class="pennant" d="M{at:.1f} {height - 12}l9 4l-9 4z"/>'
            else:
                yield f'<path class="lozenge" d="M{at:.1f} {height - 5}l4.5 5l-4.5 5l-4.5 -5z"/>'
            if at > taken and at + 12 + len(flag.label) * CHARACTER < frame.width:
                lift = -3 if is_role else 4
                place = f'x="{at + (12 if is_role else 8):.1f}" y="{height + lift}"'
                yield f'<text class="label" {place}>{escape(flag.label)}</text>'
                taken = at + 16 + len(flag.label) * CHARACTER


def _series(line: Line, x: Scale, y: Scale) -> str:
    drawn = line_markup(path(line.points, x, y), line.style, line.is_thick)
    last = len(line.points) - 1
    at = {last, *(last * i // 4 for i in range(1, 4))} if last >= 8 else {last}
    marks = "".join(marker(x(line.points[i][0]), y(line.points[i][1]), line.style) for i in sorted(at))
    return drawn + marks


def _end_labels(frame: Frame, lines: Sequence[Line], x: Scale, y: Scale) -> Iterable[str]:
    """Names at the lines' ends, pushed apart where they would overlap."""
    ends = sorted((y(line.points[-1][1]), x(line.points[-1][0]), line) for line in lines)
    heights = _apart([height for height, _, _ in ends], frame.top, frame.height - frame.bottom)
    for height, (_, right, line) in zip(heights, ends, strict=True):
        look, at = (
            f"end{' thick' if line.is_thick else ''} ink{line.style}",
            f'x="{right + 8:.1f}" y="{height + 4:.1f}"',
        )
        yield f'<text class="{look}" {at}>{escape(line.label)}</text>'


def _apart(heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """Rising heights, moved as little as keeps them one line apart and inside."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + LINE if placed else top))
    limit = bottom
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - LINE
    return placed


def _level(frame: Frame, at: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{frame.left} {at:.1f}H{frame.width - frame.right}"/>'


def _level_label(frame: Frame, at: float, text: str) -> str:
    return f'<text class="label" x="{frame.left + 6}" y="{at - 5:.1f}">{escape(text)}</text>'
