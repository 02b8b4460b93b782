"""Mails about drift reports: what moved and how far, in words, a picture, a table and bars; and many mails in one."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape

import msgspec

from contracts.alarm_facts import Severity
from contracts.facts import DriftFacts
from drift.post_standing import News

_ROWS = 30
_BAR_FULL, _BAR_PX = 3.0, 60
"""Distance, in thresholds, that fills a bar, and the pixels of a full one."""
_CELL = "padding:4px 10px 4px 0;vertical-align:top"
_NAME, _NUMBER, _SMALL = "overflow-wrap:anywhere", "white-space:nowrap", "font-size:13px"
_HEADS: Mapping[News, str] = {
    "begins": "{now}", "grows": "{now}, was {before}", "stands": "{now} still stands",
    "eases": "{before} eased to {now}", "ends": "{before} is over",
}  # fmt: skip
_NAMES: Mapping[Severity, str] = {
    "none": "drift report", "info": "drift of inputs", "warning": "drift warning", "alarm": "drift alarm",
}  # fmt: skip
_STYLE = "font:15px/1.5 system-ui,sans-serif;max-width:44em;margin:1em"
_PREFIX = re.compile(r"^\[Tiltyard\] ")


class Letter(msgspec.Struct, frozen=True):
    """The parts of a mail; `text` says all that `html` says."""

    subject: str
    text: str
    html: str


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What a mail about drift is about, beside the report's figures."""

    sentence: str
    severity: Severity
    news: News | None = None
    """None: it is a report among others."""
    before: Severity = "none"
    since: float | None = None
    """When what stands, or is over, began."""

    @property
    def head(self) -> str:
        if self.news is None:
            return _NAMES["alarm" if self.severity == "alarm" else "none"]
        return _HEADS[self.news].format(now=_NAMES[self.severity], before=_NAMES[self.before])


def compose(model: str, story: Story, facts: DriftFacts | None, links: Mapping[str, str], picture: str = "") -> Letter:
    """A mail about drift of one model; `links` are addresses by what they show ("Report", "Page", ...).

    `facts` are those of the newest report, if there is one; `picture` is the name of an image among the mail's parts.
    """
    head = story.head
    said = [f"{story.sentence.rstrip('.')}."]
    if story.since is not None and story.news in ("grows", "stands", "eases", "ends"):
        said.append(f"It began on {_clock(story.since)}.")
    more = [] if facts is None or facts.sentence == story.sentence else [f"{facts.sentence}."]
    more += [] if facts is None else [_compared(facts)]
    shown = (
        f'<p><img src="cid:{escape(picture)}" width="640" style="max-width:100%;height:auto" '
        'alt="What moved most: the reference beside what came since."></p>'
    )
    text = [f"{_upper(head)} for {model}", "", *said, *more, "", *([] if facts is None else _text_rows(facts))]
    text += [f"{what}: {address}" for what, address in links.items()]
    html = (
        f'<h1 style="font-size:20px">{_upper(head)} for {escape(model)}</h1><p><b>{escape(said[0])}</b>'
        f"{''.join(f' {escape(part)}' for part in said[1:])}{''.join(f'<br>{escape(part)}' for part in more)}</p>"
        f"{shown if picture else ''}{'' if facts is None else _table(facts)}"
        f"<p>{'<br>'.join(_link(*link) for link in links.items())}</p>"
    )
    return Letter(f"[Tiltyard] {model}: {head}: {story.sentence}", "\n".join(text) + "\n", _page(html))


def together(model: str, letters: Sequence[Letter]) -> Letter:
    """One mail of several, in their order: what each is about first, then all of them in full."""
    heads = [_PREFIX.sub("", letter.subject).removeprefix(f"{model}: ") for letter in letters]
    told = [f"{len(letters)} messages about {model}", "", *(f"{n}. {head}" for n, head in enumerate(heads, 1))]
    for letter in letters:
        told += ["", "-" * 60, "", letter.text.rstrip()]
    listed = "".join(f"<li>{escape(head)}</li>" for head in heads)
    html = f'<h1 style="font-size:20px">{escape(told[0])}</h1><ol>{listed}</ol>'
    html += "".join(f"<hr>{_body(letter.html)}" for letter in letters)
    return Letter(
        f"[Tiltyard] {model}: {len(letters)} messages: {'; '.join(heads)}", "\n".join(told) + "\n", _page(html)
    )


def _page(body: str) -> str:
    """Without colours of its own for text and ground, so that a mail program may be light or dark."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f'<meta name="viewport" content="width=device-width"></head><body style="{_STYLE}">{body}</body></html>\n'
    )


def _body(page: str) -> str:
    """What stands between the body's tags; without them, all of it."""
    found = re.search(r"<body[^>]*>(.*)</body>", page, re.DOTALL)
    return found[1] if found else page


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def _upper(head: str) -> str:
    return head[0].upper() + head[1:]


def _compared(facts: DriftFacts) -> str:
    rows = f"{facts.current_rows:,} newest rows against {facts.reference_rows:,} of the reference"
    return f"{rows}, {_clock(facts.at)}"


def ordered(facts: DriftFacts) -> list[str]:
    """Columns, those that moved most first, in units of their thresholds."""
    return sorted(facts.columns, key=lambda name: _weight(facts, name), reverse=True)


def _weight(facts: DriftFacts, name: str) -> float:
    return facts.columns[name] / facts.thresholds[name]


def _more(facts: DriftFacts) -> str:
    return f"{len(facts.columns) - _ROWS} more in the report." if len(facts.columns) > _ROWS else ""


def _text_rows(facts: DriftFacts) -> list[str]:
    rows = [_text_row(facts, name) for name in ordered(facts)[:_ROWS]]
    return [*rows, *([_more(facts)] if _more(facts) else []), ""]


def _table(facts: DriftFacts) -> str:
    rows = "".join(_html_row(facts, name) for name in ordered(facts)[:_ROWS])
    heads = "".join(f'<th style="{_CELL};{_SMALL}">{head}' for head in ("column", "distance", "threshold", ""))
    table = f'<table style="border-collapse:collapse"><tr align="left">{heads}</tr>{rows}</table>'
    return f"{table}<p>{_more(facts)}</p>" if _more(facts) else table


def _text_row(facts: DriftFacts, name: str) -> str:
    mark = "moved" if name in facts.drifted else "     "
    return f"{mark}  {facts.columns[name]:8.3f} against {facts.thresholds[name]:.3f}  {name} ({facts.methods[name]})"


def _html_row(facts: DriftFacts, name: str) -> str:
    moved = name in facts.drifted
    colour, weight = ("#d1495b", "bold") if moved else ("#8a97a8", "normal")
    width = round(_BAR_PX * min(_weight(facts, name) / _BAR_FULL, 1))
    bar = f'<div style="background:{colour};width:{max(width, 1)}px;height:10px;margin-top:6px"></div>'
    cells = (
        (f"{escape(name)}<br><small>{escape(facts.methods[name])}</small>", _NAME),
        (f"{facts.columns[name]:.3f}", _NUMBER),
        (f"{facts.thresholds[name]:.3f}", _NUMBER),
        (bar, f"width:{_BAR_PX}px"),
    )
    row = "".join(f'<td style="{_CELL};{style}">{cell}</td>' for cell, style in cells)
    return f'<tr style="font-weight:{weight}">{row}</tr>'


def _link(what: str, address: str) -> str:
    return f'{escape(what)}: <a style="{_NAME}" href="{escape(address)}">{escape(address)}</a>'
