"""From facts to what the templates show: one `Card` per model, made of plain values. Pure functions of a moment."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from contracts.config import Model
from contracts.events import Decision
from contracts.facts import ServingFacts, VersionFacts
from contracts.releases import PRIOR_VERSION
from serving import (
    page_alarm,
    page_band,
    page_compare,
    page_drift,
    page_examples,
    page_learners,
    page_plots,
    page_requests,
    page_story,
    page_watch,
    page_words,
)
from serving.disagreements import Lately
from serving.page_alarm import Alarm
from serving.page_compare import Speed
from serving.page_drift import Drift
from serving.page_examples import Disagreements
from serving.page_facts import Seen
from serving.page_learners import Delays, Standing
from serving.page_plots import Challenger
from serving.page_requests import Outcome, Request
from serving.page_watch import STALE_S, Alert, Probation

NOTHING = Lately()
_ROWS = 12


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
class Process:
    facts: ServingFacts
    is_stale: bool


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
    requests: tuple[Request, ...]
    outcomes: tuple[Outcome, ...]
    """Of answers to such requests."""
    asked: int
    labels: int
    is_answered: bool
    figures: tuple[Figure, ...]
    loss_title: str
    smoothed: int
    charts: tuple[Markup, ...]
    """Of the losses, for wide and for narrow screens."""
    versions: tuple[VersionRow, ...]
    left_out: int
    probation: Probation | None
    challengers: tuple[Challenger, ...]
    legend: tuple[tuple[Markup, str], ...]
    """Shapes on their charts, and what these mean."""
    disagreements: Disagreements | None
    speeds: tuple[Speed, ...]
    learners: tuple[Standing, ...]
    delays: Delays | None
    decisions: tuple[Decision, ...]
    drift: Drift | None
    alarm: Alarm | None
    health: tuple[Figure, ...]
    processes: tuple[Process, ...] = ()
    question: dict[str, Any] = field(default_factory=dict)
    """Bodies of a first question and of a first label, for a page that has nothing else to show."""
    answer: dict[str, Any] = field(default_factory=dict)


def card(name: str, model: Model, seen: Seen, now: float, lately: Lately = NOTHING, begin: float = 0.0) -> Card:
    """What the page shows of one model; what happened over time, from the epoch second `begin` on."""
    versions = page_plots.versions_of(seen)
    window, crowned = page_plots.window_of(versions, begin), page_story.crowned(seen)
    styles = page_plots.styles_of(model, seen, versions[: page_plots.LINES])
    return Card(
        name=name,
        title=model.title or name,
        headline=page_story.headline(seen, model, now),
        next_step=page_story.next_step(seen, model),
        why=page_story.why(crowned) if crowned and seen.board.champion else "",
        cause=crowned.cause if crowned else "",
        alerts=tuple(page_watch.alerts(name, model, seen, now)),
        requests=tuple(page_requests.requests_of(seen, now)),
        outcomes=tuple(page_requests.outcomes_of(seen, now)),
        asked=seen.added.get("predictions", 0),
        labels=seen.added.get("feedback", 0),
        is_answered=seen.board.champion is not None,
        figures=tuple(_figures(seen, model, window)),
        loss_title=page_words.loss_title(model.loss),
        smoothed=window,
        charts=page_plots.loss_charts(seen, model, versions, window, styles, begin),
        versions=tuple(_row(facts, seen, model, styles) for facts in versions[:_ROWS]),
        left_out=max(0, len(versions) - _ROWS),
        probation=page_watch.probation_of(seen),
        challengers=tuple(
            page_plots.challenger_of(facts, seen, model, styles, begin, now)
            for facts in page_plots.comparisons_of(seen)
        ),
        legend=page_band.legend(model),
        disagreements=page_examples.disagreements_of(lately, seen, model),
        speeds=page_compare.speeds(seen),
        learners=page_learners.standings(seen, model, now),
        delays=page_learners.delays_of(seen, model),
        decisions=tuple(line for line in seen.decisions if line.at >= begin),
        drift=page_drift.drift_of(seen, model),
        alarm=page_alarm.alarm_of(seen, model.loss),
        health=tuple(_health(seen, model)),
        processes=tuple(Process(facts, now - facts.at > STALE_S) for facts in seen.serving),
        question=_question(model),
        answer=_label(model, seen),
    )


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
            revision = seen.releases[version].revision if version in seen.releases else facts.revision
            return f"{', '.join(page_learners.states_of(facts))}, revision {page_words.count(revision)}"
    return "learns no more"


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
    lately = page_plots.smoothed(facts.curve, window)[-1:]
    if facts.accuracy is not None:
        note = f"lately {100 * (1 - lately[0][1]):.1f} %" if lately and model.loss == "zero_one" else ""
        return Figure(f"{100 * facts.accuracy:.1f} %", f"right, of {page_words.count(facts.n)} labelled", note)
    note = f"lately {page_words.number(lately[0][1])}" if lately else ""
    return Figure(page_words.number(facts.loss), f"mean absolute error on {page_words.count(facts.n)} labelled", note)


def _health(seen: Seen, model: Model) -> Iterable[Figure]:
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
        if learn.timed_out or model.labels.on_timeout == "negative":
            yield Figure(page_words.count(learn.timed_out), "timed out", f"learned as {model.label.classes[0]}")
        yield Figure(page_words.count(learn.examples), "in the journal", page_words.size(learn.journal_bytes))
        yield Figure(page_words.count(learn.amendments), "amended there", "relearned where they were learned")
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
