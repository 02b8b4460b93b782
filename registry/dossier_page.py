"""A dossier as one HTML page: no script, nothing fetched, readable in print and without colour."""

from collections.abc import Callable, Iterator, Sequence
from html import escape

from contracts.gate_rules import Gate
from registry.dossier import Dossier
from registry.dossier_parts import Section
from registry.dossier_words import clock, headline, reason, sections
from registry.evidence import Point

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 680, 260, 56, 12, 14, 34
_Scale = Callable[[float], float]
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; max-width: 46em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 22px; margin-bottom: 0 } h2 { font-size: 16px; margin: 1.6em 0 .3em } p { margin: .3em 0 }
.verdict { font-size: 17px; border-left: 4px solid #1f5fa8; padding-left: .8em; margin: 1em 0 }
table { border-collapse: collapse } th, td { text-align: left; padding: 2px 14px 2px 0; vertical-align: top }
td:not(:first-child) { font-variant-numeric: tabular-nums } small { color: #55606e }
svg { width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: #1c2430 }
svg text { paint-order: stroke; stroke: #fff; stroke-width: 3px }
@media print { body { margin: 0 } h2 { break-after: avoid } }
"""


def html(dossier: Dossier, chart: bool = True, link: str = "") -> str:
    """The page; for mail without its chart, which mail programs drop, and with a link to where it can be seen."""
    drawn = dossier.seen.comparison.curve if chart and dossier.seen.comparison is not None else ()
    figure = _band(drawn, dossier.rules) if drawn else ""
    where = f'<p><a href="{escape(link)}">With its chart</a></p>' if link else ""
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(headline(dossier))}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(headline(dossier))}</h1>"
        f"<p><small>{escape(dossier.model)}, {escape(clock(dossier.now))}</small></p>"
        f'<p class="verdict">{escape(reason(dossier))}</p>{figure}'
        f"{''.join(_section(section) for section in sections(dossier))}{where}</body></html>\n"
    )


def _section(section: Section) -> str:
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in section.sentences)
    return f"<h2>{escape(section.title)}</h2>{sentences}{_table(section) if section.rows else ''}"


def _table(section: Section) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in section.header)
    rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in section.rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _band(points: Sequence[Point], rules: Gate) -> str:
    """The running advantage in points of loss, by requests, with its bounds at all times at once."""
    least = max(rules.min_gain, rules.margin)
    # Its first, very wide part runs out of the picture.
    late = points[len(points) // 3 :]
    low = min(0.0, least, *(lower for *_, lower, _ in late))
    high = max(0.0, least, *(upper for *_, upper in late))
    low, high = low - 0.06 * (high - low), high + 0.06 * (high - low)
    most = points[-1][0]

    def x(n: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * n / most

    def y(share: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - min(high, max(low, share))) / (high - low)

    upper = [f"{x(n):.1f} {y(up):.1f}" for n, _, _, _, up in points]
    lower = [f"{x(n):.1f} {y(down):.1f}" for n, _, _, down, _ in reversed(points)]
    mean = [f"{x(n):.1f} {y(gain):.1f}" for n, _, gain, _, _ in points]
    parts = [
        f'<path d="M{"L".join([*upper, *lower])}Z" fill="#1f5fa8" fill-opacity=".16" stroke="#1f5fa8" '
        'stroke-width=".8"/>',
        f'<path d="M{"L".join(mean)}" fill="none" stroke="#1f5fa8" stroke-width="2.2"/>',
        *_levels(y, least),
        *_axes(x, y, most, low, high),
    ]
    told = f"Advantage in points of loss over {most:,} requests, with its bounds: above 0 it is better"
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{told}</title>{"".join(parts)}</svg>'


def _levels(y: _Scale, least: float) -> Iterator[str]:
    """Named at both ends, one above and one below its line, since the two may lie close together."""
    right = _WIDTH - _RIGHT
    yield f'<path d="M{_LEFT} {y(0):.1f}H{right}" stroke="#1c2430"/>'
    yield f'<path d="M{_LEFT} {y(least):.1f}H{right}" stroke="#1c2430" stroke-dasharray="6 4"/>'
    yield f'<text x="{_LEFT + 4}" y="{y(0) + 14:.1f}">alike</text>'
    yield f'<text x="{right}" y="{y(least) - 5:.1f}" text-anchor="end">{100 * least:+.2g} is asked</text>'


def _axes(x: _Scale, y: _Scale, most: int, low: float, high: float) -> Iterator[str]:
    for share in (low + (high - low) * part for part in (0.06, 0.5, 0.94)):
        yield f'<text x="{_LEFT - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{100 * share:+.2g}</text>'
    for part, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        n = round(most * part)
        words = f"{n:,} labelled requests" if part == 1 else f"{n:,}"
        yield f'<text x="{x(n):.1f}" y="{_HEIGHT - 12}" text-anchor="{anchor}">{words}</text>'
