"""How each online learner stands: what it has learned and published, what it costs, and what keeps it from either."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from contracts.config import Model
from contracts.facts import LearnerFacts, LearnFacts
from contracts.quantities import seconds
from serving import chart_bars, page_words
from serving.chart_parts import Frame
from serving.page_facts import Seen

SILENT_S = 30.0
NEARLY_FULL = 0.9
_DELAYS = Frame(340, 150, left=6, right=6, top=30, bottom=20)


@dataclass(frozen=True)
class Standing:
    """One online learner, in words."""

    name: str
    version: int | None
    states: tuple[str, ...]
    """`learning`, or what keeps it from learning or publishing."""
    rebuilding: str
    """How far the replay of corrections is; empty where there is none."""
    learned: str
    behind: str
    published: str
    published_note: str
    checkpoint: str
    publishing: str
    memory: str
    snapshots: str
    corrections: str
    state_hash: str


@dataclass(frozen=True)
class Delays:
    """How long labels take."""

    chart: Markup
    caption: str


@dataclass(frozen=True)
class Published:
    """The newest public revision of a learner."""

    revision: int
    created_at: float


def standings(seen: Seen, model: Model, now: float) -> tuple[Standing, ...]:
    """Every online learner that has been heard of, in the order of the configuration."""
    learn = seen.learn
    if learn is None:
        return ()
    found = []
    for name, facts in learn.learners.items():
        release = None if facts.version is None else seen.releases.get(facts.version)
        published = None if release is None else Published(release.revision, release.created_at)
        found.append(standing(name, facts, learn, published, model, now))
    return tuple(found)


def standing(
    name: str, facts: LearnerFacts, learn: LearnFacts, published: Published | None, model: Model, now: float
) -> Standing:
    """One learner; `published` is None where its version neither serves nor shadows."""
    revision, note = _published(facts, published, model, now)
    limit = model.learners[name].memory_mb if name in model.learners else 0
    return Standing(
        name=name,
        version=facts.version,
        states=states_of(facts),
        rebuilding=_rebuilding(facts),
        learned=page_words.count(facts.learned),
        behind=page_words.count(behind(facts, learn)),
        published=revision,
        published_note=note,
        checkpoint=_cost(facts.checkpoint_bytes, facts.checkpoint_s),
        publishing=page_words.duration(facts.publish_s) if facts.publish_s else "–",
        memory=f"{page_words.count(facts.memory_mb)} of {page_words.count(limit)} MiB" if facts.memory_mb else "–",
        snapshots=f"{facts.snapshots}, {page_words.size(facts.snapshot_bytes)}" if facts.snapshots else "–",
        corrections=f"{page_words.count(facts.amendments)} of {page_words.count(learn.amendments)}",
        state_hash=_hash(facts),
    )


def states_of(facts: LearnerFacts) -> tuple[str, ...]:
    """What it does, or what keeps it from it."""
    if facts.benched:
        return ("benched",)
    found = [state for state, is_so in (("held", facts.held), ("frozen", facts.frozen)) if is_so]
    return tuple(found) or ("learning",)


def behind(facts: LearnerFacts, learn: LearnFacts) -> int:
    """Labels in the journal that it has yet to go through."""
    return max(0, learn.examples - facts.position)


def _published(facts: LearnerFacts, published: Published | None, model: Model, now: float) -> tuple[str, str]:
    if facts.version is None:
        return "nothing yet", f"from {page_words.count(model.gate.bootstrap_labels)} labels on"
    if published is None:
        return "nothing more", f"version {facts.version} is retired"
    age = f"{page_words.duration(max(1, round(now - published.created_at)))} ago" if published.created_at else ""
    return f"revision {page_words.count(published.revision)}", age


def _rebuilding(facts: LearnerFacts) -> str:
    if facts.benched or facts.rebuilding is None:
        return ""
    return "begins to relearn corrections" if facts.rebuilding == "begins" else facts.rebuilding


def _cost(size: int, took_s: float) -> str:
    return f"{page_words.size(size)} in {page_words.duration(took_s)}" if size else "–"


def _hash(facts: LearnerFacts) -> str:
    if not facts.state_hash:
        return "–"
    at = f" at {page_words.count(facts.hashed_at)} labels" if facts.hashed_at >= 0 else ""
    return f"{facts.state_hash[:12]}{at}"


def warnings(name: str, model: Model, seen: Seen, now: float) -> Iterable[str]:
    """What asks for somebody to do something, with the command where there is one."""
    for learner, facts in ({} if seen.learn is None else seen.learn.learners).items():
        if facts.benched:
            yield (
                f"{learner} no longer learns: {facts.benched}. Its last revision goes on answering. "
                f"When the cause is gone, take it off the bench with `tiltyard pardon {name} {learner}`."
            )
            continue
        if facts.held:
            since = f" since {page_words.clock(facts.held_since, now)}" if facts.held_since else ""
            yield f"The newest revision of {learner} is held{since}: {facts.held}."
        limit = model.learners[learner].memory_mb if learner in model.learners else 0
        if limit and facts.memory_mb >= NEARLY_FULL * limit:
            used = f"{page_words.count(facts.memory_mb)} of {page_words.count(limit)} MiB"
            yield f"{learner} has {used} of memory in use; beyond memory_mb it is benched."
        if seen.learn is not None and facts.at and seen.learn.at - facts.at > SILENT_S:
            silence = page_words.duration(seen.learn.at - facts.at)
            yield f"{learner} has been silent for {silence}. Labels are kept, and learned when it is back."


def notes(name: str, seen: Seen, now: float) -> Iterable[str]:
    """What somebody chose, and how to end it."""
    frozen = [learner for learner, facts in (seen.learn.learners if seen.learn else {}).items() if facts.frozen]
    if frozen:
        who = f"{page_words.listed(frozen)}{_by_whom(seen, frozen, now)}"
        end = f"`tiltyard unfreeze {name} --reason TEXT` ends it"
        yield f"Frozen: {who}. Learning goes on, nothing is published. {end}."


def _by_whom(seen: Seen, frozen: Sequence[str], now: float) -> str:
    """From the newest line that froze one of them."""
    for line in seen.decisions:
        named = line.numbers.get("learners")
        if line.kind == "frozen" and isinstance(named, list) and set(named) & set(frozen):
            reason = line.reason.partition(". ")[2].rstrip(".")
            return f", since {page_words.clock(line.at, now)} by {line.cause}{': ' if reason else ''}{reason}"
    return ""


def delays_of(seen: Seen, model: Model) -> Delays | None:
    """How long labels take; None before the first."""
    learn = seen.learn
    if learn is None or learn.delay_s is None or not learn.delays:
        return None
    median, p90, p99 = (page_words.duration(delay) for delay in learn.delay_s)
    told = f"Half come within {median}, 90 % within {p90}, 99 % within {p99}"
    marks = ((learn.delay_s[0], f"half {median}"), (learn.delay_s[2], f"99 % {p99}"))
    known = page_words.count(sum(labels for _, _, labels in learn.delays))
    title = f"How long labels take, of the newest {known}. {told}."
    chart = chart_bars.histogram(learn.delays, marks, page_words.duration, title, _DELAYS)
    waits = page_words.duration(seconds(model.gate.maturity))
    return Delays(chart, f"{told}, of the newest {known}. A prediction waits {waits} for its label (gate.maturity).")
