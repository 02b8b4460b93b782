"""What charts are made of: frames, scales, axes, and lines that differ in more than their colour.

Colours are classes (`ink1` to `ink6` for learners, `ink0` for the prior), so that the style sheet gives them values for
light and dark; every line has its own dashes and marker besides.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup, escape

Point = tuple[float, float]
Words = Callable[[float], str]

STYLES = 7
CHARACTER = 6.6  # mean width at 12 px: keeps labels from running into each other
LINE = 13.0  # and the height of a line
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
DAY_S = 86_400


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
    step = step or DAY_S * math.ceil((high - low) / DAY_S / max(1, count))
    shift = (datetime.fromtimestamp(low).astimezone().utcoffset() or timedelta()).total_seconds()
    first = math.ceil((low + shift) / step) * step - shift
    found = itertools.takewhile(lambda at: at <= high, itertools.count(first, step))
    return [(at, _clock(at, step)) for at in found]


def _clock(at: float, step: int) -> str:
    local = datetime.fromtimestamp(at)
    if step >= DAY_S or (local.hour, local.minute, local.second) == (0, 0, 0):
        return f"{local.day} {local:%b}"
    return f"{local:%H:%M:%S}" if step < 60 else f"{local:%H:%M}"


def grid(frame: Frame, y: Scale, words: Words) -> Iterable[str]:
    right = frame.width - frame.right
    for value in ticks(y.low, y.high, max(2, (frame.height - frame.top - frame.bottom) // 38)):
        at = y(value)
        yield f'<path class="grid" d="M{frame.left} {at:.1f}H{right}"/>'
        yield f'<text x="{frame.left - 6}" y="{at + 4:.1f}" text-anchor="end">{escape(words(value))}</text>'


def count_ticks(frame: Frame, x: Scale) -> Iterable[str]:
    for value in ticks(0, x.high, max(2, (frame.width - frame.left) // 80)):
        yield tick(frame, x(value), f"{value:,.0f}")


def tick(frame: Frame, at: float, text: str) -> str:
    """A label stays inside the picture: the first and last are pushed inwards."""
    half = len(text) * CHARACTER / 2
    middle = min(max(at, half), frame.width - half)
    bottom = frame.height - frame.bottom
    return (
        f'<path class="tick" d="M{at:.1f} {bottom}v4"/>'
        f'<text x="{middle:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(text)}</text>'
    )


def line_markup(path: str, style: int, is_thick: bool) -> str:
    return (
        f'<path class="line {"thick " if is_thick else ""}ink{style}" stroke-dasharray="{_DASHES[style]}" d="{path}"/>'
    )


def marker(x: float, y: float, style: int) -> str:
    return f'<path class="marker ink{style}" transform="translate({x:.1f} {y:.1f})" d="{_MARKERS[style]}"/>'


def path(points: Sequence[Point], x: Scale, y: Scale) -> str:
    (along, left), (up, bottom) = x.linear, y.linear
    return "M" + "L".join([f"{left + along * a:.1f} {bottom + up * b:.1f}" for a, b in points])


def key(style: int, is_thick: bool = False) -> Markup:
    """The sample of a line that stands beside its name."""
    line = line_markup("M1 7H33", style, is_thick)
    mark = marker(17, 7, style)
    return Markup(f'<svg class="key" viewBox="0 0 34 14" width="34" height="14" aria-hidden="true">{line}{mark}</svg>')


def clipped(frame: Frame, parts: Iterable[str]) -> str:
    """Parts in the same coordinates, cut at the frame: an inner svg clips without needing an id of its own."""
    x, y = frame.left, frame.top
    box = f"{x} {y} {frame.width - frame.right - x + 6} {frame.height - frame.bottom - y + 1}"
    width, height = box.split()[2:]
    place = f'x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{box}"'
    return f'<svg aria-hidden="true" {place}>{"".join(parts)}</svg>'


def svg(frame: Frame, title: str, parts: Iterable[str]) -> Markup:
    head = f'<svg class="chart" viewBox="0 0 {frame.width} {frame.height}" role="img"><title>{escape(title)}</title>'
    return Markup(f"{head}{''.join(parts)}</svg>")


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
