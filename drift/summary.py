"""What a drift report says in words and tables, above the plots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from contracts.facts import AnswersFacts, ColumnFacts, QualityFacts
from drift.quality import figure, told
from drift.verdict import Column, Verdict


@dataclass(frozen=True)
class Summary:
    """What was found of columns, of the champion's answers and losses, and of the data."""

    columns: Sequence[Column]
    verdict: Verdict
    importance: Mapping[str, tuple[float, float]]
    """(mean, standard deviation) of the loss that permuting a column adds."""
    shares: Mapping[str, float]
    answers: AnswersFacts | None
    quality: QualityFacts | None
    data: Mapping[str, ColumnFacts]
    notes: Sequence[str]


def clauses(answers: AnswersFacts | None, quality: QualityFacts | None) -> list[str]:
    """What the sentence says of the champion."""
    found = []
    if answers is not None:
        moved = "moved" if answers.distance >= answers.threshold else "did not move"
        found.append(f"the champion's answers {moved} ({answers.distance:.2f} against {answers.threshold:.2f})")
    if quality is not None:
        found.append(told(quality))
    return found


def html(found: Summary, caption: str) -> str:
    """The verdict and its figures; names and values are escaped."""
    notes = "".join(f"<li>{escape(note)}" for note in found.notes)
    return (
        '<section style="font:16px/1.5 system-ui,sans-serif;max-width:72em;margin:2em auto;padding:0 1em">'
        f"<h1>{'Drift alarm' if found.verdict.alarm else 'Drift report'}</h1>"
        f"<p><b>{escape(found.verdict.sentence)}.</b></p><p>{escape(caption)}</p>"
        f"{f'<ul>{notes}</ul>' if notes else ''}{_columns(found)}{_champion(found)}</section>"
    )


def _columns(found: Summary) -> str:
    heads = ["", "column", "distance", "threshold", "method"]
    heads += ["importance"] if found.importance else []
    heads += ["missing before", "now", "new or out of range"] if found.data else []
    ordered = sorted(found.columns, key=lambda c: (found.shares.get(c.name, 0.0) * c.weight, c.weight), reverse=True)
    rows = [
        [
            "<b>moved</b>" if column.drifted else "",
            escape(column.name),
            f"{column.distance:.3f}",
            f"{column.threshold:.3f}",
            column.method,
            *([_importance(found, column.name)] if found.importance else []),
            *(_data(found.data[column.name]) if found.data else []),
        ]
        for column in ordered
    ]
    return _table(heads, rows)


def _importance(found: Summary, name: str) -> str:
    added, spread = found.importance.get(name, (0.0, 0.0))
    share = f"{found.shares[name]:.0%}: " if found.shares else ""
    return f"{share}{added:+.3g} ± {spread:.2g} loss"


def _data(facts: ColumnFacts) -> list[str]:
    strange = facts.unseen if facts.outside is None else facts.outside
    return [f"{share:.1%}" for share in facts.missing] + ["" if strange is None else f"{strange:.1%}"]


def _champion(found: Summary) -> str:
    rows = []
    if found.quality is not None:
        loss, quality = found.quality.loss, found.quality
        rows.append([f"loss ({loss})", figure(loss, quality.reference), figure(loss, quality.current)])
        rows += [[name, f"{before:.4g}", f"{now:.4g}"] for name, (before, now) in quality.measures.items()]
        rows.append(["labelled rows", f"{quality.reference_rows:,}", f"{quality.current_rows:,}"])
        rows.append(["95 % of differences by chance within", "", f"± {figure(loss, quality.margin)}"])
    return f"<h2>The champion</h2>{_table(['', 'reference', 'now'], rows)}" if rows else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join("<tr><td>" + "<td>".join(row) for row in rows)
    return f'<table cellpadding="6"><tr align="left"><th>{"<th>".join(heads)}{cells}</table>'
