"""Marks below and beside lines: what happened and when."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from contracts import marks as known
from contracts.marks import Kind, Mark
from serving.chart_parts import CHARACTER, Frame, Scale

LANE = 16
"""Height of the lane below a plot, in px, in which marks stand."""
CYCLE_KEY = Markup(
    '<svg class="glyph chart" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">'
    '<path class="cycle" d="M8 0V16"/></svg>'
)


def glyph(x: float, y: float, kind: Kind, told: str = "") -> str:
    title = f"<title>{escape(told)}</title>" if told else ""
    place = f'transform="translate({x:.1f} {y:.1f})"'
    return f'<path class="happened {kind}" {place} d="{known.SHAPES[kind]}">{title}</path>'


def key(kind: Kind) -> Markup:
    """The shape that stands beside its meaning."""
    drawn = glyph(8, 8, kind)
    return Markup(f'<svg class="glyph" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">{drawn}</svg>')


def lane(frame: Frame, x: Scale, marks: Sequence[Mark]) -> Iterable[str]:
    """A line through the plot at each mark, its shape below, and its name where there is room for it."""
    bottom = frame.height - frame.bottom
    for one in known.placed(marks, x, frame.left, frame.width - frame.right, CHARACTER):
        first = one.marks[0]
        pole = f"M{x(first.at):.1f} {frame.top}V{bottom}L{one.x:.1f} {bottom + 5}"
        yield f'<path class="pole dotted" d="{pole}"/>'
        yield glyph(one.x, bottom + 11, first.kind, ", ".join(mark.label for mark in one.marks))
        if one.name:
            place = f'x="{one.x - 8:.1f}" text-anchor="end"' if one.is_left else f'x="{one.x + 9:.1f}"'
            yield f'<text class="label" {place} y="{bottom + 15}">{escape(one.name)}</text>'
