"""A challenger's advantage and its evidence as line charts, over the time in which questions were asked.

Where times were not kept, both lie over the number of labelled questions instead.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from contracts.axes import ticks, time_ticks
from contracts.marks import Mark
from serving import chart_marks
from serving.chart_marks import LANE
from serving.chart_parts import (
    CHARACTER,
    Frame,
    Scale,
    Words,
    clipped,
    count_ticks,
    grid,
    level,
    path,
    series,
    svg,
    tick,
)  # fmt: skip

_LOG_E_SHOWN = 6.0
_MOST_CYCLES = 40


class State(NamedTuple):
    """How a comparison stood after `n` labelled questions."""

    n: int
    log10_e: float
    mean: float
    lower: float
    upper: float
    at: float
    """Epoch seconds at which the newest of them was asked."""


@dataclass(frozen=True)
class Stretch:
    """What of a comparison is drawn: states from the last one before its beginning on, and what happened meanwhile."""

    states: Sequence[State]
    begin: float
    """Epoch seconds; so are `end`, marks and cycles. Both count labelled questions where `is_counted`."""
    end: float
    marks: Sequence[Mark] = ()
    cycles: Sequence[float] = ()
    """Ends of whole seasons."""
    is_counted: bool = False

    def x_of(self, state: State) -> float:
        return state.n if self.is_counted else state.at

    @property
    def visible(self) -> Sequence[State]:
        return [state for state in self.states if self.x_of(state) >= self.begin]


def band_chart(stretch: Stretch, least: float, style: int, words: Words, title: str, frame: Frame) -> Markup:
    """Running advantage with its bounds; lines at zero and at the `least` gain that is asked for."""
    frame, x = _scaled(stretch, frame)
    y = frame.y(*_band_range(stretch, least))
    upper = [(stretch.x_of(state), state.upper) for state in stretch.states]
    lower = [(stretch.x_of(state), state.lower) for state in reversed(stretch.states)]
    mean = [(stretch.x_of(state), state.mean) for state in stretch.states]
    inside = [
        f'<path class="band ink{style}" d="{path([*upper, *lower], x, y)}z"/>',
        level(frame, y(0), "zero"),
        level(frame, y(least), "threshold"),
        series(mean, x, y, style, is_thick=True),
    ]
    return _chart(stretch, frame, x, y, words, inside, (y(least), f"asked {words(least)}"), title)


def evidence_chart(stretch: Stretch, needed: float, style: int, title: str, frame: Frame) -> Markup:
    """log10 E, with the threshold at which the gate opens; drawn up to one million."""
    frame, x = _scaled(stretch, frame)
    values = [state.log10_e for state in stretch.visible]
    low, high = max(min(*values, 0.0), -needed), max(1.2 * needed, min(max(values), _LOG_E_SHOWN))
    y = frame.y(low - 0.06 * (high - low), high)
    inside = [
        level(frame, y(0), "zero"),
        level(frame, y(needed), "threshold"),
        series([(stretch.x_of(state), state.log10_e) for state in stretch.states], x, y, style, is_thick=True),
    ]

    def words(value: float) -> str:
        return f"{value:g}".replace("-", "−")

    return _chart(stretch, frame, x, y, words, inside, (y(needed), f"opens at {needed:.2f}"), title)


def _scaled(stretch: Stretch, frame: Frame) -> tuple[Frame, Scale]:
    """The frame with room for what happened, and the scale along it."""
    frame = replace(frame, bottom=frame.bottom + LANE) if stretch.marks else frame
    return frame, frame.x(stretch.begin, max(stretch.end, stretch.begin + 1))


def _chart(
    stretch: Stretch,
    frame: Frame,
    x: Scale,
    y: Scale,
    words: Words,
    inside: Iterable[str],
    named: tuple[float, str],
    title: str,
) -> Markup:
    along = count_ticks(frame, x) if stretch.is_counted else _times(stretch, frame, x)
    height, name = named
    parts = [
        *grid(frame, y, words),
        *along,
        clipped(frame, [*_cycles(stretch, frame, x), *inside]),
        *chart_marks.lane(frame, x, stretch.marks),
        f'<text class="label" x="{frame.left + 6}" y="{height - 5:.1f}">{escape(name)}</text>',
    ]
    return svg(frame, title, parts)


def _times(stretch: Stretch, frame: Frame, x: Scale) -> Iterable[str]:
    """Times below the lane of marks; above the plot, how many questions had been compared by then."""
    drop = LANE if stretch.marks else 0
    for at, text in time_ticks(x.low, x.high, (frame.width - frame.left) // 80):
        yield tick(frame, x(at), text, drop)
    counts, times = [state.n for state in stretch.states], [state.at for state in stretch.states]
    first, last = np.interp((x.low, x.high), times, counts).tolist()
    free = 0.0
    for n in ticks(first, last, max(2, (frame.width - frame.left) // 80)):
        at, half = x(float(np.interp(n, counts, times))), len(f"{n:,.0f}") * CHARACTER / 2
        if n == round(n) and at - half >= free and at + half <= frame.width:
            yield f'<path class="tick" d="M{at:.1f} {frame.top}v-4"/>'
            yield f'<text x="{at:.1f}" y="{frame.top - 8}" text-anchor="middle">{n:,.0f}</text>'
            free = at + half + CHARACTER


def _cycles(stretch: Stretch, frame: Frame, x: Scale) -> Iterable[str]:
    """Too many to be told apart are left out."""
    if len(stretch.cycles) <= _MOST_CYCLES:
        for at in stretch.cycles:
            yield f'<path class="cycle" d="M{x(at):.1f} {frame.top}V{frame.height - frame.bottom}"/>'


def _band_range(stretch: Stretch, least: float) -> tuple[float, float]:
    """Room for what the band has become; its first, very wide part runs out of the picture."""
    late = [
        state
        for state in stretch.states
        if stretch.x_of(state) >= stretch.begin + (stretch.end - stretch.begin) / 3
    ] or stretch.states[-1:]  # fmt: skip
    low = min(0.0, least, *(state.lower for state in late))
    high = max(0.0, least, *(state.upper for state in late))
    room = (high - low) * 0.06 or 0.01
    return low - room, high + room
