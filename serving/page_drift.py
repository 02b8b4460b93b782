"""What the page tells of the latest drift report: what moved, whether it matters, and what is wrong with the data."""

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from contracts.config import Model
from contracts.facts import DriftFacts
from serving import chart_bars, page_words
from serving.page_facts import Seen

_COLUMNS = 10


@dataclass(frozen=True)
class Row:
    """One column; empty where something is not known."""

    name: str
    has_moved: bool
    importance: str
    missing: str
    strange: str
    """New categories, or numbers out of the reference's range."""


@dataclass(frozen=True)
class Drift:
    """`at` is 0, and `report` and `sentence` are empty, before the first report."""

    at: float
    sentence: str
    report: str
    is_alarm: bool
    bars: Markup | None
    rows: str
    champion: tuple[tuple[str, str, str], ...]
    """(what, in the reference, now) of the champion's answers and losses."""
    columns: tuple[Row, ...]
    notes: tuple[str, ...]
    waiting: str


def drift_of(seen: Seen, model: Model) -> Drift | None:
    """None before a report was due."""
    facts = seen.watch
    if facts is None:
        return None
    limits = {name: facts.thresholds.get(name, model.drift.threshold) for name in facts.columns}
    farthest = sorted(facts.columns, key=lambda name: -facts.columns[name] / limits[name])[:_COLUMNS]
    bars = [(name, facts.columns[name], limits[name]) for name in farthest]
    title = f"Distance of each column from the reference window: {', '.join(f'{n} {v:.2f}' for n, v, _ in bars)}."
    return Drift(
        at=facts.at,
        sentence=facts.sentence,
        report=facts.report,
        is_alarm=facts.alarm,
        bars=chart_bars.bars(bars, title) if bars else None,
        rows=f"{page_words.count(facts.current_rows)} rows against {page_words.count(facts.reference_rows)}",
        champion=tuple(_champion(facts)),
        columns=tuple(_row(facts, name) for name in farthest) if facts.importance or facts.data else (),
        notes=facts.notes,
        waiting=facts.waiting,
    )


def _champion(facts: DriftFacts) -> Iterator[tuple[str, str, str]]:
    if facts.answers is not None:
        moved = "moved" if facts.answers.distance >= facts.answers.threshold else "did not move"
        yield "answers", moved, f"{facts.answers.distance:.2f} against {facts.answers.threshold:.2f}"
    quality = facts.quality
    if quality is not None:
        before, now = (page_words.loss_figure(quality.loss, value) for value in (quality.reference, quality.current))
        yield page_words.loss_title(quality.loss).lower(), before, now
        for name, (reference, current) in quality.measures.items():
            yield name.replace("_", " "), page_words.number(reference), page_words.number(current)
        yield "labelled rows", page_words.count(quality.reference_rows), page_words.count(quality.current_rows)


def _row(facts: DriftFacts, name: str) -> Row:
    data = facts.data.get(name)
    strange = None if data is None else data.unseen if data.outside is None else data.outside
    return Row(
        name=name,
        has_moved=name in facts.drifted,
        importance=f"{facts.importance[name]:.0%}" if name in facts.importance else "",
        missing="" if data is None else f"{data.missing[0]:.1%} → {data.missing[1]:.1%}",
        strange="" if strange is None else f"{strange:.1%}",
    )
