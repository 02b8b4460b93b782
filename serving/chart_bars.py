"""Charts of single figures as inline SVG: meters, bars, and how labels' delays are spread."""

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from contracts.axes import DAY_S
from serving.chart_parts import LINE, Frame, Scale, Words, shortened, svg

_DOWN, _UP, _DOT = "M-5 -4h10l-5 9z", "M-5 4h10l-5 -9z", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"
Interval = tuple[str, str, float, float, float]

_DURATIONS_S = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, DAY_S, 7 * DAY_S, 30 * DAY_S, 365 * DAY_S)


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


def share_bar(share: float, needed: float, title: str) -> Markup:
    """A bar from nothing to everything, with a mark at the share that is needed."""
    length = 300 * min(1.0, max(0.0, share))
    return Markup(
        f'<svg class="meter" viewBox="0 0 300 16" role="img"><title>{escape(title)}</title>'
        f'<rect class="trough" y="4" width="300" height="8" rx="4"/>'
        f'<rect class="covered" y="4" width="{length:.1f}" height="8" rx="{min(4.0, length / 2):.1f}"/>'
        f'<path class="mark" d="M{min(299.0, max(1.0, 300 * needed)):.1f} 0v16"/></svg>'
    )


def whiskers(rows: Sequence[Interval], words: Words, title: str) -> Markup:
    """Intervals from the top, (name, note, mean, lower, upper), about a line at zero.

    One that lies wholly below zero ends in a triangle that points down, above zero in one that points up: what was
    shown is told by shape. What runs out of the picture has no end there.
    """
    widest = 1.3 * max(abs(mean) for _, _, mean, _, _ in rows) or 0.01
    reach = max(widest, min(3 * widest, max(max(-lower, upper) for *_, lower, upper in rows)))
    frame = Frame(340, 24 * len(rows) + 22, left=124, right=88, top=0, bottom=22)
    x, bottom = frame.x(-reach, reach), frame.height - frame.bottom
    parts = [f'<path class="zero" d="M{x(0):.1f} 0V{bottom}"/>']
    for i, (name, note, mean, lower, upper) in enumerate(rows):
        y = 24 * i + 12
        shape = _DOWN if upper < 0 else _UP if lower > 0 else _DOT
        left, right = x(max(lower, -reach)), x(min(upper, reach))
        ends = "".join(f"M{x(end):.1f} {y - 4}v8" for end in (lower, upper) if abs(end) <= reach)
        parts += [
            f'<text class="name" x="116" y="{y + 4}" text-anchor="end">{escape(shortened(name, 18))}</text>',
            f'<path class="whisker" d="M{left:.1f} {y}H{right:.1f}{ends}"/>',
            f'<path class="mean" transform="translate({x(max(-reach, min(reach, mean))):.1f} {y})" d="{shape}"/>',
            f'<text x="{frame.width - frame.right + 8}" y="{y + 4}"><tspan class="value">{escape(words(mean))}</tspan>'
            f" {escape(note)}</text>",
        ]
    for at, anchor in ((-reach, "start"), (0.0, "middle"), (reach, "end")):
        parts.append(f'<text x="{x(at):.1f}" y="{bottom + 16}" text-anchor="{anchor}">{escape(words(at))}</text>')
    return svg(frame, title, parts)


def bars(rows: Sequence[tuple[str, float, float]], title: str) -> Markup:
    """Horizontal bars, (name, value, threshold of this row) from the top; what is beyond its threshold is filled."""
    x = Scale(0, max([1e-9, *(max(value, 1.2 * threshold) for _, value, threshold in rows)]), 128, 300)
    parts = [
        f'<text class="name" x="120" y="{22 * i + 15}" text-anchor="end">{escape(shortened(name, 18))}</text>'
        f'<path class="bar{" beyond" if value >= threshold else ""}" d="M128 {22 * i + 5}H{x(value):.1f}v12H128z"/>'
        f'<path class="threshold" d="M{x(threshold):.1f} {22 * i}v22"/>'
        f'<text x="{max(x(value), x(threshold)) + 6:.1f}" y="{22 * i + 15}">{value:.2f}</text>'
        for i, (name, value, threshold) in enumerate(rows)
    ]
    return svg(Frame(340, 22 * len(rows)), title, parts)


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
    return svg(frame, title, parts)


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
    top = 10 + row * LINE
    return (
        f'<path class="{"threshold" if row else "zero"}" d="M{at:.1f} {top - 8:.1f}V{frame.height - frame.bottom}"/>'
        f'<text class="label" x="{at + (5 if is_left else -5):.1f}" y="{top:.1f}" '
        f'text-anchor="{"start" if is_left else "end"}">{escape(name)}</text>'
    )
