"""A dossier as one HTML page: no script, nothing fetched, readable in print and without colour."""

from html import escape

from registry import dossier_band
from registry.dossier import Dossier
from registry.dossier_parts import Section
from registry.dossier_words import clock, headline, reason, sections

_STYLE = f"""
:root {{ color-scheme: light dark; --paper: #fff; --ink: #1c2430; --soft: #55606e; --rule: #dfe3e8; --blue: #1f5fa8 }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #14171c; --ink: #e8ebf0; --soft: #a3adba; --rule: #333a44; --blue: #6cb2f5 }}
}}
@media print {{ :root {{ --paper: #fff; --ink: #000; --soft: #444; --rule: #bbb; --blue: #1f5fa8 }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em }}
body {{ background: var(--paper); color: var(--ink); overflow-wrap: break-word }}
h1 {{ font-size: 22px; line-height: 1.25; margin-bottom: 0 }}
h2 {{ font-size: 16px; margin: 1.6em 0 .3em }} p {{ margin: .3em 0 }}
.verdict {{ font-size: 17px; border-left: 4px solid var(--blue); padding-left: .8em; margin: 1em 0 }}
.scroll {{ overflow-x: auto }} table {{ border-collapse: collapse; margin: .4em 0 }} a {{ color: var(--blue) }}
th, td {{ text-align: left; padding: 3px 14px 3px 0; vertical-align: top; border-top: 1px solid var(--rule) }}
tr:first-child th {{ border-top: 0; color: var(--soft); font-weight: 500 }}
th:not(:first-child), td:not(:first-child) {{ text-align: right; font-variant-numeric: tabular-nums }}
@media screen and (max-width: 540px) {{ th, td {{ padding-right: 6px; font-size: 12.5px }} }}
small {{ color: var(--soft) }}
{dossier_band.STYLE}
@media print {{
  @page {{ margin: 16mm }} body {{ margin: 0; max-width: none; padding: 0; font-size: 10.5pt }}
  body {{ print-color-adjust: exact; -webkit-print-color-adjust: exact }}
  h2 {{ break-after: avoid }} figure, table, .verdict {{ break-inside: avoid }}
}}
"""


def html(dossier: Dossier, chart: bool = True, link: str = "") -> str:
    """The page; for mail without its chart, which mail programs drop, and with a link to where it can be seen."""
    comparison = dossier.seen.comparison
    figure = dossier_band.figure(dossier, comparison) if chart and comparison is not None else ""
    where = f'<p><a href="{escape(link)}">With its chart</a></p>' if link else ""
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(headline(dossier))}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
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
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(f"<tr>{row}</tr>" for row in rows)}</table></div>'
