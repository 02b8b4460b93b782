"""What charts are made of: frames, scales, axes, and lines that differ in more than their colour.

Colours are classes (`ink1` to `ink6` for learners, `ink0` for the prior), so that the style sheet gives them values for
light and dark; every line has its own dashes and marker besides.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from contracts.axes import ticks

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


def grid(frame: Frame, y: Scale, words: Words) -> Iterable[str]:
    right = frame.width - frame.right
    for value in ticks(y.low, y.high, max(2, (frame.height - frame.top - frame.bottom) // 38)):
        at = y(value)
        yield f'<path class="grid" d="M{frame.left} {at:.1f}H{right}"/>'
        yield f'<text x="{frame.left - 6}" y="{at + 4:.1f}" text-anchor="end">{escape(words(value))}</text>'


def count_ticks(frame: Frame, x: Scale) -> Iterable[str]:
    for value in ticks(0, x.high, max(2, (frame.width - frame.left) // 80)):
        yield tick(frame, x(value), f"{value:,.0f}")


def tick(frame: Frame, at: float, text: str, drop: float = 0) -> str:
    """A label stays inside the picture: the first and last are pushed inwards. It may hang `drop` px lower."""
    half = len(text) * CHARACTER / 2
    middle = min(max(at, half), frame.width - half)
    bottom = frame.height - frame.bottom
    return (
        f'<path class="tick" d="M{at:.1f} {bottom}v4"/>'
        f'<text x="{middle:.1f}" y="{bottom + 18 + drop}" text-anchor="middle">{escape(text)}</text>'
    )


def line_markup(path: str, style: int, is_thick: bool) -> str:
    return (
        f'<path class="line {"thick " if is_thick else ""}ink{style}" stroke-dasharray="{_DASHES[style]}" d="{path}"/>'
    )


def marker(x: float, y: float, style: int) -> str:
    return f'<path class="marker ink{style}" transform="translate({x:.1f} {y:.1f})" d="{_MARKERS[style]}"/>'


def series(points: Sequence[Point], x: Scale, y: Scale, style: int, is_thick: bool) -> str:
    """A line whose markers tell it from others without its colour: at its end and, of many points, at each quarter."""
    drawn = line_markup(path(points, x, y), style, is_thick)
    last, places = len(points) - 1, [at for at, _ in points]
    quarters = [places[-1] - (places[-1] - max(places[0], x.low)) * part / 4 for part in (1, 2, 3)] if last >= 8 else []
    at = {last, *(bisect_left(places, quarter) for quarter in quarters)}
    return drawn + "".join(marker(x(points[i][0]), y(points[i][1]), style) for i in sorted(at))


def level(frame: Frame, at: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{frame.left} {at:.1f}H{frame.width - frame.right}"/>'


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
