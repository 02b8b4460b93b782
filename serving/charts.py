"""Charts as inline SVG: plain functions from figures to markup, readable without a script, in print and in grey.

Colours are classes (`ink1` to `ink6` for learners, `ink0` for the prior), so that the style sheet gives them values for
light and dark; every line has its own dashes and marker besides, so that colour is never the only difference.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup, escape

Point = tuple[float, float]
Running = tuple[float, float, float, float]
Words = Callable[[float], str]

STYLES = 7
_DASHES = ("1 4", "none", "11 3", "11 3 2 3", "5 3", "2 3", "16 4 2 4 2 4")
_MARKERS = (
    "M-3 0h6",
    "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
    "M-3.2 -3.2h6.4v6.4h-6.4z",
    "M0 -4.4L4.2 3.2H-4.2z",
    "M0 -4.6L4.6 0L0 4.6L-4.6 0z",
    "M0 4.4L4.2 -3.2H-4.2z",
    "M-4 -1.4h2.6v-2.6h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6z",
)
_TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_DAY_S = 86_400
_CHARACTER = 6.6  # mean width at 12 px: keeps labels from running into each other
_LINE = 13.0
_LOG_E_SHOWN = 6.0
_DURATIONS_S = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, _DAY_S, 7 * _DAY_S, 30 * _DAY_S, 365 * _DAY_S)


@dataclass(frozen=True)
class Line:
    """One series, x rising. `style` is 0 for the prior, 1 to 6 for learners; a thick line answers."""

    label: str
    points: Sequence[Point]
    style: int
    is_thick: bool = False


@dataclass(frozen=True)
class Flag:
    """A moment to mark: who began to answer."""

    at: float
    label: str


@dataclass(frozen=True)
class Frame:
    """The size of a chart and of its margins, in px."""

    width: int
    height: int
    left: int = 40
    right: int = 34
    top: int = 18
    bottom: int = 26

    def x(self, low: float, high: float) -> "Scale":
        return Scale(low, high, self.left, self.width - self.right)

    def y(self, low: float, high: float) -> "Scale":
        return Scale(low, high, self.height - self.bottom, self.top)


@dataclass(frozen=True)
class Scale:
    """Maps figures in [low, high] to pixels."""

    low: float
    high: float
    start: float
    end: float

    @property
    def linear(self) -> tuple[float, float]:
        """(slope, offset) in pixels; apart from `__call__`, since a page maps thousands of points."""
        slope = (self.end - self.start) / ((self.high - self.low) or 1.0)
        return slope, self.start - slope * self.low

    def __call__(self, value: float) -> float:
        slope, offset = self.linear
        return offset + slope * value


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
        *_grid(frame, y, words),
        *(_tick(frame, x(at), text) for at, text in marks),
        *_flags(frame, x, flags),
        _clipped(frame, (_series(line, x, y) for line in sorted(drawn, key=lambda line: line.is_thick))),
        *_end_labels(frame, [line for line in drawn if y.low <= line.points[-1][1] <= y.high], x, y),
    ]
    return _svg(frame, title, parts)


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
        f'<path class="band ink{style}" d="{_path(edge, x, y)}z"/>',
        _level(frame, y(0), "zero"),
        _level(frame, y(least), "threshold"),
        _series(mean, x, y),
    ]
    parts = [
        *_grid(frame, y, words),
        *_count_ticks(frame, x),
        _clipped(frame, inside),
        _level_label(frame, y(least), f"asked {words(least)}"),
    ]
    return _svg(frame, title, parts)


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
        *_grid(frame, y, lambda value: f"{value:g}".replace("-", "−")),
        *_count_ticks(frame, x),
        _clipped(frame, inside),
        _level_label(frame, y(needed), f"opens at {needed:.2f}"),
    ]
    return _svg(frame, title, parts)


def meter(value: float, needed: float, style: int, title: str) -> Markup:
    """A bar from 0 to the evidence needed, with a mark there; what is beyond shows as beyond."""
    full, mark = 300.0, 255.0
    length = min(full, max(0.0, value / needed * mark))
    return Markup(
        f'<svg class="meter" viewBox="0 0 300 16" role="img"><title>{escape(title)}</title>'
        f'<rect class="trough" y="4" width="{full:g}" height="8" rx="4"/>'
        f'<rect class="fill ink{style}" y="4" width="{length:.1f}" height="8" rx="{min(4.0, length / 2):.1f}"/>'
        f'<path class="mark" d="M{mark:g} 0v16"/></svg>'
    )


def bars(rows: Sequence[tuple[str, float, float]], title: str) -> Markup:
    """Horizontal bars, (name, value, threshold of this row) from the top; what is beyond its threshold is filled."""
    x = Scale(0, max([1e-9, *(max(value, 1.2 * threshold) for _, value, threshold in rows)]), 128, 300)
    parts = [
        f'<text class="name" x="120" y="{22 * i + 15}" text-anchor="end">{escape(_shortened(name, 18))}</text>'
        f'<path class="bar{" beyond" if value >= threshold else ""}" d="M128 {22 * i + 5}H{x(value):.1f}v12H128z"/>'
        f'<path class="threshold" d="M{x(threshold):.1f} {22 * i}v22"/>'
        f'<text x="{max(x(value), x(threshold)) + 6:.1f}" y="{22 * i + 15}">{value:.2f}</text>'
        for i, (name, value, threshold) in enumerate(rows)
    ]
    return _svg(Frame(340, 22 * len(rows)), title, parts)


def histogram(
    steps: Sequence[tuple[float, float, int]],
    marks: Sequence[tuple[float, str]],
    words: Words,
    title: str,
    frame: Frame,
) -> Markup:
    """Labels by how long they took: (from s, to s, labels) in steps of equal ratio, and named marks (at s, name)."""
    x, most = frame.x(math.log(steps[0][0]), math.log(steps[-1][1])), max(count for *_, count in steps)
    y = frame.y(0, most or 1)
    bottom = frame.height - frame.bottom
    bars = [
        f'<path class="bar" d="M{x(math.log(start)) + 0.5:.1f} {bottom}V{min(y(count), bottom - 1):.1f}'
        f'H{x(math.log(end)) - 0.5:.1f}V{bottom}z"/>'
        for start, end, count in steps
        if count
    ]
    named = [at for at in _DURATIONS_S if steps[0][0] <= at <= steps[-1][1]]
    ends = named if len(named) > 1 else (steps[0][0], steps[-1][1])
    parts = [
        *bars,
        f'<path class="zero" d="M{frame.left} {bottom}H{frame.width - frame.right}"/>',
        *(_duration_tick(frame, x(math.log(at)), words(at)) for at in ends),
        *(_mark(frame, x(min(x.high, math.log(max(at, steps[0][0])))), name, i) for i, (at, name) in enumerate(marks)),
    ]
    return _svg(frame, title, parts)


def _duration_tick(frame: Frame, at: float, text: str) -> str:
    anchor = "start" if at < frame.left + 24 else "end" if at > frame.width - frame.right - 24 else "middle"
    bottom = frame.height - frame.bottom
    return (
        f'<path class="tick" d="M{at:.1f} {bottom}v4"/>'
        f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _mark(frame: Frame, at: float, name: str, row: int) -> str:
    """A line from the top with its name beside it, on the side that has room; each on a row of its own."""
    is_left = at < frame.width / 2
    top = 10 + row * _LINE
    return (
        f'<path class="{"threshold" if row else "zero"}" d="M{at:.1f} {top - 8:.1f}V{frame.height - frame.bottom}"/>'
        f'<text class="label" x="{at + (5 if is_left else -5):.1f}" y="{top:.1f}" '
        f'text-anchor="{"start" if is_left else "end"}">{escape(name)}</text>'
    )


def key(style: int, is_thick: bool = False) -> Markup:
    """The sample of a line that stands beside its name."""
    line = _line_markup("M1 7H33", style, is_thick)
    mark = _marker(17, 7, style)
    return Markup(f'<svg class="key" viewBox="0 0 34 14" width="34" height="14" aria-hidden="true">{line}{mark}</svg>')


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers (1, 2, 2.5 or 5 times a power of ten) within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(part * power for part in (1, 2, 2.5, 5, 10) if part * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def time_ticks(low: float, high: float, count: int) -> list[tuple[float, str]]:
    """At most about `count` round local times within [low, high] (epoch seconds), each as a clock or calendar shows."""
    step = next((step for step in _TIME_STEPS_S if (high - low) / step <= count), None)
    step = step or _DAY_S * math.ceil((high - low) / _DAY_S / max(1, count))
    shift = (datetime.fromtimestamp(low).astimezone().utcoffset() or timedelta()).total_seconds()
    first = math.ceil((low + shift) / step) * step - shift
    found = itertools.takewhile(lambda at: at <= high, itertools.count(first, step))
    return [(at, _clock(at, step)) for at in found]


def _clock(at: float, step: int) -> str:
    local = datetime.fromtimestamp(at)
    if step >= _DAY_S or (local.hour, local.minute, local.second) == (0, 0, 0):
        return f"{local.day} {local:%b}"
    return f"{local:%H:%M:%S}" if step < 60 else f"{local:%H:%M}"


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


def _grid(frame: Frame, y: Scale, words: Words) -> Iterable[str]:
    right = frame.width - frame.right
    for value in ticks(y.low, y.high, max(2, (frame.height - frame.top - frame.bottom) // 38)):
        at = y(value)
        yield f'<path class="grid" d="M{frame.left} {at:.1f}H{right}"/>'
        yield f'<text x="{frame.left - 6}" y="{at + 4:.1f}" text-anchor="end">{escape(words(value))}</text>'


def _count_ticks(frame: Frame, x: Scale) -> Iterable[str]:
    for value in ticks(0, x.high, max(2, (frame.width - frame.left) // 80)):
        yield _tick(frame, x(value), f"{value:,.0f}")


def _tick(frame: Frame, at: float, text: str) -> str:
    """A label stays inside the picture: the first and last are pushed inwards."""
    half = len(text) * _CHARACTER / 2
    middle = min(max(at, half), frame.width - half)
    bottom = frame.height - frame.bottom
    return (
        f'<path class="tick" d="M{at:.1f} {bottom}v4"/>'
        f'<text x="{middle:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(text)}</text>'
    )


def _flags(frame: Frame, x: Scale, flags: Sequence[Flag]) -> Iterable[str]:
    """Pennants at the top; those outside the picture, or too near the one before, lose their name or are left out."""
    taken = -math.inf
    for flag in sorted(flags, key=lambda flag: flag.at):
        if not x.low <= flag.at <= x.high:
            continue
        at, top = x(flag.at), frame.top
        yield f'<path class="pole" d="M{at:.1f} {top - 12}V{frame.height - frame.bottom}"/>'
        yield f'<path class="pennant" d="M{at:.1f} {top - 12}l9 4l-9 4z"/>'
        if at > taken:
            yield f'<text class="label" x="{at + 12:.1f}" y="{top - 3}">{escape(flag.label)}</text>'
            taken = at + 16 + len(flag.label) * _CHARACTER


def _series(line: Line, x: Scale, y: Scale) -> str:
    path = _line_markup(_path(line.points, x, y), line.style, line.is_thick)
    last = len(line.points) - 1
    at = {last, *(last * i // 4 for i in range(1, 4))} if last >= 8 else {last}
    marks = "".join(_marker(x(line.points[i][0]), y(line.points[i][1]), line.style) for i in sorted(at))
    return path + marks


def _line_markup(path: str, style: int, is_thick: bool) -> str:
    return (
        f'<path class="line {"thick " if is_thick else ""}ink{style}" stroke-dasharray="{_DASHES[style]}" d="{path}"/>'
    )


def _marker(x: float, y: float, style: int) -> str:
    return f'<path class="marker ink{style}" transform="translate({x:.1f} {y:.1f})" d="{_MARKERS[style]}"/>'


def _path(points: Sequence[Point], x: Scale, y: Scale) -> str:
    (along, left), (up, bottom) = x.linear, y.linear
    return "M" + "L".join([f"{left + along * a:.1f} {bottom + up * b:.1f}" for a, b in points])


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
        placed.append(max(height, placed[-1] + _LINE if placed else top))
    limit = bottom
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - _LINE
    return placed


def _level(frame: Frame, at: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{frame.left} {at:.1f}H{frame.width - frame.right}"/>'


def _level_label(frame: Frame, at: float, text: str) -> str:
    return f'<text class="label" x="{frame.left + 6}" y="{at - 5:.1f}">{escape(text)}</text>'


def _clipped(frame: Frame, parts: Iterable[str]) -> str:
    """Parts in the same coordinates, cut at the frame: an inner svg clips without needing an id of its own."""
    x, y = frame.left, frame.top
    box = f"{x} {y} {frame.width - frame.right - x + 6} {frame.height - frame.bottom - y + 1}"
    width, height = box.split()[2:]
    place = f'x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{box}"'
    return f'<svg aria-hidden="true" {place}>{"".join(parts)}</svg>'


def _svg(frame: Frame, title: str, parts: Iterable[str]) -> Markup:
    head = f'<svg class="chart" viewBox="0 0 {frame.width} {frame.height}" role="img"><title>{escape(title)}</title>'
    return Markup(f"{head}{''.join(parts)}</svg>")


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
