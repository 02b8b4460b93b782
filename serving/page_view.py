"""From facts to what the templates show: one `Card` per model, made of plain values. Pure functions of a moment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from contracts.config import Model
from contracts.events import Decision
from contracts.facts import ComparisonFacts, ServingFacts, VersionFacts
from contracts.releases import PRIOR_VERSION
from serving import charts, page_words
from serving.charts import Flag, Frame, Line
from serving.page_facts import Seen

SILENT_S = 30.0
STALE_S = 10.0
_LINES = 8
_ROWS = 12
_SMOOTH_LABELS = 200
_COLUMNS = 10
_WIDE, _NARROW = Frame(900, 300, left=52), Frame(350, 250, left=52)
_SMALL = Frame(340, 210)


@dataclass(frozen=True)
class Alert:
    """Something a person should know; a warning asks for something to be done."""

    text: str
    is_warning: bool = True


@dataclass(frozen=True)
class Figure:
    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class VersionRow:
    version: int
    learner: str
    role: str
    style: int | None
    """None where its line is not drawn."""
    loss: str
    n: int
    accuracy: float | None
    state: str


@dataclass(frozen=True)
class Challenger:
    """One challenger against the champion, with its charts where there is something to draw."""

    facts: ComparisonFacts
    style: int
    verdict: str
    counts: str
    evidence: float
    """log10 E, as the meter shows it."""
    needed: float
    meter: Markup
    band: Markup | None
    curve: Markup | None


@dataclass(frozen=True)
class Process:
    facts: ServingFacts
    is_stale: bool


@dataclass(frozen=True)
class Drift:
    at: float
    sentence: str
    report: str
    is_alarm: bool
    bars: Markup | None
    rows: str


@dataclass(frozen=True)
class Card:
    """One model as the page tells it."""

    name: str
    title: str
    headline: str
    next_step: str
    why: str
    cause: str
    alerts: tuple[Alert, ...]
    asked: int
    labels: int
    is_answered: bool
    figures: tuple[Figure, ...]
    loss_title: str
    smoothed: int
    chart: Markup | None
    chart_narrow: Markup | None
    versions: tuple[VersionRow, ...]
    left_out: int
    challengers: tuple[Challenger, ...]
    decisions: tuple[Decision, ...]
    drift: Drift | None
    health: tuple[Figure, ...]
    processes: tuple[Process, ...] = ()
    question: dict[str, Any] = field(default_factory=dict)
    """Bodies of a first question and of a first label, for a page that has nothing else to show."""
    answer: dict[str, Any] = field(default_factory=dict)


def card(name: str, model: Model, seen: Seen, now: float) -> Card:
    """What the page shows of one model."""
    versions = _versions(seen)
    window, crowned = _window(versions), page_words.crowned(seen)
    styles = _styles(model, seen, versions[:_LINES])
    return Card(
        name=name,
        title=model.title or name,
        headline=page_words.headline(seen, model, now),
        next_step=page_words.next_step(seen, model),
        why=page_words.why(crowned) if crowned else "",
        cause=crowned.cause if crowned else "",
        alerts=tuple(_alerts(seen, now)),
        asked=seen.added.get("predictions", 0),
        labels=seen.added.get("feedback", 0),
        is_answered=seen.board.champion is not None,
        figures=tuple(_figures(seen, model, window)),
        loss_title=page_words.loss_title(model.loss),
        smoothed=window,
        chart=_loss_chart(seen, model, versions, window, styles, _WIDE),
        chart_narrow=_loss_chart(seen, model, versions, window, styles, _NARROW),
        versions=tuple(_row(facts, seen, model, styles) for facts in versions[:_ROWS]),
        left_out=max(0, len(versions) - _ROWS),
        challengers=tuple(_challenger(facts, seen, model, styles) for facts in _comparisons(seen)),
        decisions=seen.decisions,
        drift=_drift(seen, model),
        health=tuple(_health(seen)),
        processes=tuple(Process(facts, now - facts.at > STALE_S) for facts in seen.serving),
        question=_question(model),
        answer=_label(model, seen),
    )


def _styles(model: Model, seen: Seen, drawn: Iterable[VersionFacts]) -> dict[int, int]:
    """A style for each version: its learner's, unless an older version on the page has that one already."""
    own = {name: 1 + i % (charts.STYLES - 1) for i, name in enumerate(model.learners)}
    versions = {*seen.board.versions, *(facts.version for facts in drawn)} - {PRIOR_VERSION}
    free = [style for style in range(charts.STYLES - 1, 0, -1) if style not in own.values()]
    styles, taken = {PRIOR_VERSION: 0}, set[int]()
    for version in sorted(versions):
        style = own.get(seen.learner(version), 1)
        if style in taken and free:
            style = free.pop()
        styles[version] = style
        taken.add(style)
    return styles


def _versions(seen: Seen) -> list[VersionFacts]:
    """The champion first, then challengers, then others by how lately they were asked; each with a score."""
    if seen.learn is None:
        return []
    order = {version: place for place, version in enumerate(seen.board.versions)}

    def place(facts: VersionFacts) -> tuple[int, float]:
        return order.get(facts.version, len(order)), -(facts.curve[-1][0] if facts.curve else 0.0)

    return sorted(seen.learn.versions, key=place)


def _window(versions: Sequence[VersionFacts]) -> int:
    """Labels in one drawn mean: 200, and no less than a thirtieth of what is drawn."""
    longest = max((sum(n for _, n, _ in facts.curve) for facts in versions[:_LINES]), default=0)
    return max(_SMOOTH_LABELS, round(longest / 30, -2))


def smoothed(curve: Sequence[tuple[float, int, float]], window: int) -> list[tuple[float, float]]:
    """(time, mean loss of the last `window` labels, rounded up to whole stretches), beginning with a full window.

    A curve shorter than that gives its one mean.
    """
    found: list[tuple[float, float]] = []
    start, labels, total = 0, 0, 0.0
    for at, n, loss in curve:
        labels, total = labels + n, total + n * loss
        while labels - curve[start][1] >= window:
            labels, total = labels - curve[start][1], total - curve[start][1] * curve[start][2]
            start += 1
        if labels >= window:
            found.append((at, total / labels))
    return found or ([(curve[-1][0], total / labels)] if labels else [])


def _loss_chart(
    seen: Seen, model: Model, versions: Sequence[VersionFacts], window: int, styles: dict[int, int], frame: Frame
) -> Markup | None:
    drawn = [facts for facts in versions[:_LINES] if facts.curve]
    if not drawn:
        return None
    lines = [
        Line(
            _short(facts.version),
            smoothed(facts.curve, window),
            styles[facts.version],
            is_thick=facts.version == seen.board.champion,
        )
        for facts in drawn
    ]
    flags = [Flag(line.at, _short(champion)) for line, champion in page_words.tenures(seen.decisions)]
    told = ", ".join(f"version {f.version} ({f.learner}) {page_words.loss_figure(model.loss, f.loss)}" for f in drawn)
    title = f"{page_words.loss_title(model.loss)} over time. Over all labelled requests: {told}."
    return charts.loss_chart(lines, flags, lambda value: page_words.loss_tick(model.loss, value), title, frame)


def _short(version: int) -> str:
    return "prior" if version == PRIOR_VERSION else f"v{version}"


def _row(facts: VersionFacts, seen: Seen, model: Model, styles: dict[int, int]) -> VersionRow:
    return VersionRow(
        version=facts.version,
        learner=seen.learner(facts.version) if facts.learner == "?" else facts.learner,
        role=_role(facts.version, seen),
        style=styles.get(facts.version),
        loss=page_words.loss_figure(model.loss, facts.loss),
        n=facts.n,
        accuracy=facts.accuracy,
        state=_learning(facts.version, seen),
    )


def _role(version: int, seen: Seen) -> str:
    if version == seen.board.champion:
        return "champion"
    if version == seen.board.previous:
        return "on probation"
    return "challenger" if version in seen.board.challengers else "retired"


def _learning(version: int, seen: Seen) -> str:
    """Whether a version still learns, and how far what serves has come."""
    if version == PRIOR_VERSION:
        return "constant"
    learners = {} if seen.learn is None else seen.learn.learners
    for facts in learners.values():
        if facts.version == version:
            return (
                f"benched: {facts.benched}"
                if facts.benched
                else f"learning, revision {page_words.count(facts.revision)}"
            )
    return "frozen"


def _comparisons(seen: Seen) -> Iterable[ComparisonFacts]:
    """Those of the present tenure, the one nearest to winning first.

    Right after a promotion the learn flow still reports those of the tenure before.
    """
    if seen.learn is None:
        return []
    present = [facts for facts in seen.learn.comparisons if facts.champion == seen.board.champion]
    return sorted(present, key=lambda facts: -facts.log_e)


def _challenger(facts: ComparisonFacts, seen: Seen, model: Model, styles: dict[int, int]) -> Challenger:
    style = styles.get(facts.challenger, 1)
    value, needed = page_words.log10(facts.log_e), page_words.log10(facts.needed)
    name = f"version {facts.challenger} ({facts.learner}) against version {facts.champion}"
    band = curve = None
    if len(facts.curve) > 1:
        gain, lower, upper = map(page_words.advantage, (facts.gain, facts.lower, facts.upper))
        band = charts.band_chart(
            [(n, mean, lower, upper) for n, _, mean, lower, upper in facts.curve],
            model.gate.min_gain,
            style,
            page_words.signed_points,
            f"Running advantage of {name}, by labelled requests. Now {gain} points, between {lower} and {upper}.",
            _SMALL,
        )
        curve = charts.evidence_chart(
            [(n, log10_e) for n, log10_e, *_ in facts.curve],
            needed,
            style,
            f"Evidence for {name}, log10 E by labelled requests. Now {value:.2f}; the gate opens at {needed:.2f}.",
            _SMALL,
        )
    return Challenger(
        facts=facts,
        style=style,
        verdict=page_words.verdict(facts, facts.challenger == seen.board.previous),
        counts=page_words.counts(facts, model.loss),
        evidence=value,
        needed=needed,
        meter=charts.meter(value, needed, style, f"Evidence {value:.2f} of {needed:.2f} (log10 E)"),
        band=band,
        curve=curve,
    )


def _figures(seen: Seen, model: Model, window: int) -> Iterable[Figure]:
    asked, learn = seen.added.get("predictions", 0), seen.learn
    facts = None if learn is None else next((f for f in learn.versions if f.version == seen.board.champion), None)
    if facts is not None:
        yield _quality(facts, model, window)
    yield Figure(page_words.count(asked), "questions asked")
    labels = seen.added.get("feedback", 0)
    waiting = "" if learn is None else f"{page_words.count(learn.pending)} not yet matured"
    yield Figure(page_words.count(labels), "labels came back", waiting)
    if learn is not None and learn.delay_s is not None:
        median, p90, p99 = (page_words.duration(delay) for delay in learn.delay_s)
        yield Figure(median, "median label delay", f"90 % within {p90}, 99 % within {p99}")


def _quality(facts: VersionFacts, model: Model, window: int) -> Figure:
    lately = smoothed(facts.curve, window)[-1:]
    if facts.accuracy is not None:
        note = f"lately {100 * (1 - lately[0][1]):.1f} %" if lately and model.loss == "zero_one" else ""
        return Figure(f"{100 * facts.accuracy:.1f} %", f"right, of {page_words.count(facts.n)} labelled", note)
    note = f"lately {page_words.number(lately[0][1])}" if lately else ""
    return Figure(page_words.number(facts.loss), f"mean absolute error on {page_words.count(facts.n)} labelled", note)


def _alerts(seen: Seen, now: float) -> Iterable[Alert]:
    yield from _silences(seen, now)
    for facts in seen.serving:
        if now - facts.at > STALE_S:
            continue
        if facts.refused:
            yield Alert(f"{facts.address} refused the newest release: {facts.refused}")
        if facts.unlogged:
            lost = page_words.count(facts.unlogged)
            yield Alert(f"{facts.address} gave {lost} answers that could not be logged; no label can refer to them.")
    for version, reason in (seen.shadow.refused if seen.shadow else {}).items():
        yield Alert(f"The shadow scorer refused version {version}: {reason}")
    for name, learner in (seen.learn.learners if seen.learn else {}).items():
        if learner.benched:
            yield Alert(f"{name} no longer learns: {learner.benched}")
    if seen.unreadable:
        yield Alert(
            f"Published by another version of Tiltyard, and not understood: {page_words.listed(seen.unreadable)}."
        )


def _silences(seen: Seen, now: float) -> Iterable[Alert]:
    if seen.learn is not None and now - seen.learn.at > SILENT_S:
        silence = page_words.duration(now - seen.learn.at)
        yield Alert(f"The learn flow has been silent for {silence}. Labels are kept, and learned when it is back.")
    elif seen.learn is None and seen.added.get("feedback"):
        yield Alert("The learn flow has not reported yet. Labels are kept, and learned when it starts.")
    if seen.shadow is not None and now - seen.shadow.at > SILENT_S:
        silence = page_words.duration(now - seen.shadow.at)
        yield Alert(f"The shadow scorer has been silent for {silence}. Questions are kept, and scored when it is back.")


def _drift(seen: Seen, model: Model) -> Drift | None:
    facts = seen.watch
    if facts is None:
        return None
    longest = sorted(facts.columns.items(), key=lambda item: -item[1])[:_COLUMNS]
    rows = [(name, value, facts.thresholds.get(name, model.drift.threshold)) for name, value in longest]
    title = f"Distance of each column from the reference window: {', '.join(f'{n} {v:.2f}' for n, v, _ in rows)}."
    return Drift(
        at=facts.at,
        sentence=facts.sentence,
        report=facts.report,
        is_alarm=facts.alarm,
        bars=charts.bars(rows, title) if rows else None,
        rows=f"{page_words.count(facts.current_rows)} rows against {page_words.count(facts.reference_rows)}",
    )


def _health(seen: Seen) -> Iterable[Figure]:
    learn, dead = seen.learn, sum(seen.dead.values())
    yield Figure(page_words.count(_shadow_lag(seen)), "questions ahead of the shadow scorer")
    if learn is not None:
        lag = max(0, seen.added.get("feedback", 0) - learn.feedback)
        yield Figure(page_words.count(lag), "labels ahead of the learn flow")
        yield Figure(page_words.count(learn.pending), "labels not yet matured")
        yield Figure(page_words.count(learn.matured), "labels matured into evidence")
        yield Figure(page_words.count(learn.late), "late", "learned, never evidence")
        yield Figure(page_words.count(learn.uncovered), "uncovered", "without an honest shadow score")
        yield Figure(page_words.count(learn.corrections), "corrections", "the newest label wins")
        yield Figure(page_words.count(learn.duplicates), "duplicates", "counted once")
        yield Figure(page_words.count(learn.orphans), "orphans", "their prediction is unknown")
    told = ", ".join(f"{page_words.count(n)} {source}" for source, n in seen.dead.items() if n)
    yield Figure(page_words.count(dead), "dead letters", told or "every entry could be read")


def _shadow_lag(seen: Seen) -> int:
    """None is ahead once the scorer stands at the newest prediction, however many it had to bury."""
    if seen.shadow is not None and seen.shadow.position == seen.last_ids.get("predictions"):
        return 0
    done = seen.added.get("shadows", 0) + seen.dead.get("predictions", 0)
    return max(0, seen.added.get("predictions", 0) - done)


def _question(model: Model) -> dict[str, Any]:
    values: dict[str, Any] = {"float": 0.5, "int": 1, "bool": True, "category": "a"}
    return {"features": {feature.name: values[feature.type] for feature in model.schema.features}}


def _label(model: Model, seen: Seen) -> dict[str, Any]:
    label = 0.5 if model.label.is_regression else model.label.classes[0]
    return {"prediction_id": seen.last_ids.get("predictions", "ID"), "label": label}
