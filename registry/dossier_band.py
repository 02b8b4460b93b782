"""The running band of a dossier as a drawing that needs nothing but the page's own style sheet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

import numpy as np

from contracts.axes import ticks, time_ticks
from contracts.facts import ComparisonFacts
from contracts.marks import MEANINGS, SHAPES, Mark, mark_of, placed
from registry.dossier import Dossier
from registry.evidence import Evidence, Point

STYLE = """
figure { margin: 1em 0 } figcaption { color: var(--soft); font-size: 13px }
svg { display: block; width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: var(--ink) }
svg text { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; font-variant-numeric: tabular-nums }
svg path { fill: none; stroke: var(--ink) } svg .soft { fill: var(--soft) }
svg .area { fill: var(--blue); fill-opacity: .16; stroke: var(--blue); stroke-width: .8 }
svg .mean { stroke: var(--blue); stroke-width: 2.4; stroke-linejoin: round }
svg .grid { stroke: var(--rule) } svg .least { stroke-dasharray: 6 4 }
svg .pole { stroke: var(--soft); stroke-dasharray: 1 3 }
svg .mark { fill: var(--paper); stroke-width: 1.4 } svg .role, svg .alarm { fill: var(--ink) }
.narrow { display: none }
@media screen and (max-width: 540px) { .wide { display: none } .narrow { display: block } }
svg.key { display: inline; width: 16px; vertical-align: -3px; margin-left: 8px }
"""
_WIDE, _NARROW = (680, 290), (360, 250)
_LEFT, _RIGHT, _TOP, _BOTTOM, _LANE, _CHARACTER = 48, 14, 28, 26, 18, 6.6
_Scale = Callable[[float], float]


@dataclass(frozen=True)
class _Stretch:
    """What is drawn, over epoch seconds, or over labelled requests where times were not kept."""

    points: Sequence[tuple[float, Point]]
    begin: float
    end: float
    marks: Sequence[Mark]
    least: float
    """Gain that is asked for, as a share."""

    @property
    def is_timed(self) -> bool:
        return bool(self.points[0][1].at)


def figure(dossier: Dossier, comparison: ComparisonFacts) -> str:
    """The advantage in points of loss with its bounds at all times at once, and what happened; empty before two points.

    Drawn twice, for a page and for a phone, of which one shows.
    """
    drawn = _stretch(dossier, comparison)
    if drawn is None:
        return ""
    pictures = _drawn(drawn, "wide", *_WIDE) + _drawn(drawn, "narrow", *_NARROW)
    return f"<figure>{pictures}<figcaption>{_caption(drawn)}</figcaption></figure>"


def _stretch(dossier: Dossier, comparison: ComparisonFacts) -> _Stretch | None:
    least, points = max(dossier.rules.min_gain, dossier.rules.margin), _points(comparison)
    timed = [point for point in points if point.at]
    if len(points) < 2:
        return None
    if len(timed) < 2:
        return _Stretch([(point.n, point._replace(at=0.0)) for point in points], 0, points[-1].n, (), least)
    until = dossier.now if dossier.line is None else dossier.line.at
    marks = [mark for mark in _marks(dossier, comparison) if mark.at <= until]
    before = [mark.at for mark in marks if mark.kind == "role" and mark.at <= timed[0].at]
    begin = max(before, default=timed[0].at)
    marks = [mark for mark in marks if mark.at >= begin]
    end = max([timed[-1].at, *(mark.at for mark in marks)])
    return _Stretch([(point.at, point) for point in timed], begin, end, marks, least)


def _points(comparison: ComparisonFacts) -> list[Point]:
    """Those that were kept, and the last state."""
    times = comparison.curve_at or (0.0,) * len(comparison.curve)
    points = [Point(*one, at) for one, at in zip(comparison.curve, times, strict=True) if one[0] < comparison.n]
    ended_at = Evidence.from_json(comparison.evidence).ended_at or 0.0
    state = (comparison.n, 0.0, comparison.gain, comparison.lower, comparison.upper)
    return [*points, Point(*state, ended_at)] if comparison.n else points


def _marks(dossier: Dossier, comparison: ComparisonFacts) -> list[Mark]:
    found = (mark_of(line, comparison.challenger) for line in dossier.lines)
    return [mark for mark in found if mark is not None]


def _drawn(drawn: _Stretch, kind: str, width: int, height: int) -> str:
    points, begin, end, least = drawn.points, drawn.begin, drawn.end, drawn.least
    floor, right = height - _BOTTOM - (_LANE if drawn.marks else 0), width - _RIGHT
    # Its first, very wide part runs out of the picture.
    late = [point for at, point in points if at >= begin + (end - begin) / 3] or [points[-1][1]]
    low, high = min(0.0, least, *(one.lower for one in late)), max(0.0, least, *(one.upper for one in late))
    low, high = low - 0.06 * (high - low), high + 0.06 * (high - low)

    def x(at: float) -> float:
        return _LEFT + (right - _LEFT) * (at - begin) / ((end - begin) or 1.0)

    def y(share: float) -> float:
        return _TOP + (floor - _TOP) * (high - min(high, max(low, share))) / (high - low)

    edge = [(at, one.upper) for at, one in points] + [(at, one.lower) for at, one in reversed(points)]
    parts = [
        *_grid(y, low, high, right),
        f'<path class="area" d="M{_path(edge, x, y)}Z"/>',
        f'<path class="mean" d="M{_path([(at, one.mean) for at, one in points], x, y)}"/>',
        f'<path d="M{_LEFT} {y(0):.1f}H{right}"/>',
        f'<path class="least" d="M{_LEFT} {y(least):.1f}H{right}"/>',
        f'<text x="{_LEFT + 4}" y="{y(0) + 14:.1f}">alike</text>',
        f'<text x="{right}" y="{y(least) - 5:.1f}" text-anchor="end">{_signed(least)} is asked</text>',
        *_axes(drawn, x, width, height),
        *_lane(x, drawn.marks, floor, right),
    ]
    told = f"Advantage in points of loss over {points[-1][1].n:,} requests, with its bounds: above 0 it is better"
    head = f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img"><title>{told}</title>'
    return f"{head}{''.join(parts)}</svg>"


def _path(points: Sequence[tuple[float, float]], x: _Scale, y: _Scale) -> str:
    return "L".join([f"{x(at):.1f} {y(share):.1f}" for at, share in points])


def _grid(y: _Scale, low: float, high: float, right: float) -> Iterator[str]:
    for share in ticks(low, high, 5):
        yield f'<path class="grid" d="M{_LEFT} {y(share):.1f}H{right}"/>'
        yield f'<text class="soft" x="{_LEFT - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{_signed(share)}</text>'


def _axes(drawn: _Stretch, x: _Scale, width: int, height: int) -> Iterator[str]:
    """When requests were asked, below; how many labelled ones had been compared by then, above."""
    most = width // 100
    if not drawn.is_timed:
        yield from (_tick(x(n), f"{n:,.0f}", height - 8, width) for n in ticks(0, drawn.end, most))
        return
    for at, words in time_ticks(drawn.begin, drawn.end, most):
        yield _tick(x(at), words, height - 8, width)
    times, counts = [at for at, _ in drawn.points], [point.n for _, point in drawn.points]
    free = 0.0
    for n in ticks(0, counts[-1], most):
        at, half = x(float(np.interp(n, counts, times))), len(f"{n:,.0f}") * _CHARACTER / 2
        if counts[0] <= n == round(n) and at - half >= free:
            yield f'<path class="grid" d="M{at:.1f} {_TOP}v-5"/>' + _tick(at, f"{n:,.0f}", _TOP - 9, width)
            free = at + half + _CHARACTER


def _tick(at: float, words: str, y: float, width: int) -> str:
    half = len(words) * _CHARACTER / 2
    return f'<text class="soft" x="{min(at, width - half):.1f}" y="{y}" text-anchor="middle">{words}</text>'


def _lane(x: _Scale, marks: Sequence[Mark], floor: float, right: float) -> Iterator[str]:
    for one in placed(marks, x, _LEFT, right, _CHARACTER):
        first = one.marks[0]
        yield f'<path class="pole" d="M{x(first.at):.1f} {_TOP}V{floor}L{one.x:.1f} {floor + 5}"/>'
        place = f'transform="translate({one.x:.1f} {floor + 11})"'
        yield f'<path class="mark {first.kind}" {place} d="{SHAPES[first.kind]}"/>'
        if one.name:
            side = f'x="{one.x - 8:.1f}" text-anchor="end"' if one.is_left else f'x="{one.x + 9:.1f}"'
            yield f'<text {side} y="{floor + 15}">{escape(one.name)}</text>'


def _caption(drawn: _Stretch) -> str:
    told = "Advantage in points of loss: its running mean, within bounds that hold at all times at once."
    if not drawn.is_timed:
        return f"{told} Below: labelled requests."
    kinds = {mark.kind for mark in drawn.marks}
    keys = "".join(
        f' <svg class="key" viewBox="0 0 16 16" aria-hidden="true"><path class="mark {kind}" '
        f'transform="translate(8 8)" d="{SHAPES[kind]}"/></svg> {meaning}'
        for kind, meaning in MEANINGS.items()
        if kind in kinds
    )
    listed = "; ".join(f"{datetime.fromtimestamp(one.at):%d %b %H:%M:%S} {escape(one.label)}" for one in drawn.marks)
    marked = f"<br>{listed}." if drawn.marks else ""
    return f"{told} Below: when requests were asked; above: how many labelled ones by then.{keys}{marked}"


def _signed(share: float) -> str:
    return "0" if share == 0 else f"{100 * share:+.3g}".replace("-", "−")
