"""The mail about a drift report: what moved and how far, in words, a table and bars, for people who open no report."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from contracts.facts import DriftFacts

_ROWS = 30
_BAR_FULL = 3.0
"""Distance, in thresholds, that fills a bar."""
_CELL = "padding:4px 10px 4px 0;vertical-align:top"


@dataclass(frozen=True)
class Letter:
    """The parts of a mail; `text` says all that `html` says."""

    subject: str
    text: str
    html: str


def compose(model: str, facts: DriftFacts, links: Mapping[str, str]) -> Letter:
    """A mail about one report of one model; `links` are addresses by what they show ("Report", "Page", ...)."""
    columns = sorted(facts.columns, key=lambda name: _weight(facts, name), reverse=True)
    head = "Drift alarm" if facts.alarm else "Drift report"
    compared = (
        f"{facts.current_rows:,} newest rows against {facts.reference_rows:,} of the reference, "
        f"{datetime.fromtimestamp(facts.at, UTC):%Y-%m-%d %H:%M} UTC"
    )
    more = f"{len(columns) - _ROWS} more in the report." if len(columns) > _ROWS else ""
    text = "\n".join(
        [
            f"{head} for {model}",
            "",
            f"{facts.sentence}.",
            compared,
            "",
            *(_text_row(facts, name) for name in columns[:_ROWS]),
            *([more] if more else []),
            "",
            *(f"{what}: {address}" for what, address in links.items()),
        ]
    )
    html = (
        '<!DOCTYPE html><html lang="en"><body style="font:15px/1.5 system-ui,sans-serif;color:#1c2430;max-width:44em">'
        f'<h1 style="font-size:20px">{head} for {escape(model)}</h1>'
        f"<p><b>{escape(facts.sentence)}.</b><br>{escape(compared)}</p>"
        f'<table style="border-collapse:collapse"><tr align="left"><th style="{_CELL}">column'
        f'<th style="{_CELL}">distance<th style="{_CELL}">threshold<th style="{_CELL}">'
        f'<th style="{_CELL}">method</tr>{"".join(_html_row(facts, name) for name in columns[:_ROWS])}</table>'
        f"<p>{escape(more)}</p><p>{'<br>'.join(_link(*link) for link in links.items())}</p></body></html>"
    )
    return Letter(f"[Tiltyard] {model}: {head.lower()}: {facts.sentence}", text + "\n", html)


def _weight(facts: DriftFacts, name: str) -> float:
    return facts.columns[name] / facts.thresholds[name]


def _text_row(facts: DriftFacts, name: str) -> str:
    mark = "moved" if name in facts.drifted else "     "
    return f"{mark}  {facts.columns[name]:8.3f} against {facts.thresholds[name]:.3f}  {name} ({facts.methods[name]})"


def _html_row(facts: DriftFacts, name: str) -> str:
    moved = name in facts.drifted
    colour, weight = ("#c0392b", "bold") if moved else ("#8a97a8", "normal")
    width = round(120 * min(_weight(facts, name) / _BAR_FULL, 1))
    bar = f'<div style="background:{colour};width:{max(width, 1)}px;height:10px;margin-top:6px"></div>'
    cells = (
        escape(name),
        f"{facts.columns[name]:.3f}",
        f"{facts.thresholds[name]:.3f}",
        bar,
        escape(facts.methods[name]),
    )
    return (
        f'<tr style="font-weight:{weight}">' + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>"
    )


def _link(what: str, address: str) -> str:
    return f'{escape(what)}: <a href="{escape(address)}">{escape(address)}</a>'
