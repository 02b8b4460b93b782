"""What needs a person: what is silent, refused or worse than it was; and the probation."""

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from contracts.config import Model
from contracts.facts import WatchFacts
from serving import chart_bars, page_learners, page_words
from serving.page_facts import Seen
from serving.page_learners import SILENT_S

STALE_S = 10.0

_FORMER = 0  # drawn like the prior: no challenger's colour


@dataclass(frozen=True)
class Alert:
    """Something a person should know; a warning asks for something to be done."""

    text: str
    is_warning: bool = True


@dataclass(frozen=True)
class Probation:
    """The champion against the one before it."""

    sentence: str
    meter: Markup
    value: float
    """log10 R, as the meter shows it."""
    needed: float


def _watch(seen: Seen) -> WatchFacts | None:
    """That of the present champion: right after a promotion the learn loop still tells of the one before."""
    watch = None if seen.learn is None else seen.learn.champion
    return watch if watch is not None and watch.version == seen.board.champion else None


def probation_of(seen: Seen) -> Probation | None:
    """None where no former champion shadows, or the learn loop does not compare them yet."""
    watch = _watch(seen)
    if watch is None or watch.previous is None or watch.previous != seen.board.previous or not watch.n:
        return None
    value, needed = page_words.log10(watch.log_r), page_words.log10(watch.needed)
    former = f"version {watch.previous} ({seen.learner(watch.previous)})"
    return Probation(
        sentence=(
            f"Version {seen.board.champion} is on probation: on {page_words.count(watch.n)} questions it was compared "
            f"with {former}, which takes over again by itself where this meter is full."
        ),
        meter=chart_bars.meter(value, needed, _FORMER, f"Evidence for {former} {value:.2f} of {needed:.2f} (log10 R)"),
        value=value,
        needed=needed,
    )


def alerts(name: str, model: Model, seen: Seen, now: float) -> Iterable[Alert]:
    """The gravest first."""
    yield from _silences(seen, now)
    for text in _warnings(seen):
        yield Alert(text)
    for facts in seen.serving:
        if now - facts.at > STALE_S:
            continue
        if facts.refused:
            yield Alert(f"{facts.address}: {facts.refused}")
        if facts.unlogged:
            lost = page_words.count(facts.unlogged)
            yield Alert(f"{facts.address} gave {lost} answers that could not be logged; no label can refer to them.")
    for version, reason in (seen.shadow.refused if seen.shadow else {}).items():
        yield Alert(f"The shadow scorer refused version {version}: {reason}")
    for text in page_learners.warnings(name, model, seen, now):
        yield Alert(text)
    for text in page_learners.notes(name, seen, now):
        yield Alert(text, is_warning=False)
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


def _warnings(seen: Seen) -> Iterable[str]:
    """What speaks against the champion."""
    if seen.guard is not None and seen.guard.alert and seen.guard.version == seen.board.champion:
        yield seen.guard.alert
    watch = _watch(seen)
    if watch is not None and watch.worse_than_itself_at is not None:
        after = page_words.count(watch.worse_than_itself_at)
        yield (
            f"Version {seen.board.champion} does worse than in its own past, shown after {after} labelled questions. "
            "Nobody is rolled back for that: the world may have changed for all of them."
        )
