"""Does an alarm stand: the champion's loss against its own past, measured and estimated, within the budget."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from contracts import events
from contracts.alarm_facts import AlarmFacts, LossFacts, Severity
from contracts.facts import DriftFacts
from contracts.quantities import ConfigError, seconds
from contracts.releases import PRIOR_VERSION
from drift import watching
from drift.budget import DAYS, Clock
from drift.watching import Hours, Watched
from flows import checkpoint, estimating
from flows.place import Place
from flows.state import JoinState
from registry.probation import BLOCK, Watch
from registry.rollback import START_EVERY
from registry.slots import SLOT_S

log = logging.getLogger(__name__)

MONTH_S = DAYS * 86_400
_RECENT = 2_000  # labelled questions for which a detector's finding is still news


def judge(place: Place, report: DriftFacts | None, now: float) -> AlarmFacts:
    """What stands at epoch seconds `now`; makes it known, and writes down an alarm that begins or ends.

    Raises checkpoint.CheckpointRefused where what the learn loop stored cannot be read, and LeaseTaken.
    """
    raw = place.streams.facts().get("alarm")
    before = None if raw is None else msgspec.json.decode(raw, type=AlarmFacts)
    state: JoinState | None = checkpoint.load(place.checkpoint_folder)
    facts = _following(before, judged(place, state, report, now))
    _write_down(place, before, facts)
    place.streams.set_fact("alarm", facts)
    log.info("alarm judged model=%s severity=%s", place.name, facts.severity)
    return facts


def judged(place: Place, state: JoinState | None, report: DriftFacts | None, now: float) -> AlarmFacts:
    """What stands, given what the learn loop has stored."""
    board, allowed = place.releases.board(), place.model.drift.false_alarms_per_30d
    version, drifted = board.champion, report.drifted if report is not None and report.alarm else ()
    if version is None or version == PRIOR_VERSION or state is None:
        sentence = "No champion is watched yet"
        return AlarmFacts(at=now, version=version, severity="none", sentence=sentence, budget=allowed)
    clock, since = clock_of(place), events.offset(board.since)
    origin = math.ceil(max(events.seconds_at(since), 0.0) / SLOT_S)
    guess = estimating.watched(place, version, origin, clock, allowed / 2, now)
    # Two losses may each raise an alarm: then they share the budget.
    share = allowed if guess.found is None else allowed / 2
    measured = _measured(state, version, clock, origin, share)
    estimated = None if guess.found is None else _facts(guess.found, 1.0)
    fired = {} if state.detectors is None else state.detectors.ago((version, since))
    warned = tuple(name for name, ago in fired.items() if ago * BLOCK < _RECENT)
    severity = _severity(measured, estimated, warned, drifted)
    return AlarmFacts(
        at=now,
        version=version,
        severity=severity,
        sentence=_sentence(measured, estimated, warned, drifted),
        budget=allowed,
        since=min((one.since for one in (measured, estimated) if one and one.since), default=None),
        measured=measured,
        estimated=estimated,
        validity=guess.validity,
        detectors={name: ago * BLOCK for name, ago in fired.items()},
        drifted=drifted,
    )


def clock_of(place: Place) -> Clock:
    """Hours; a season of a day where none is configured; a look at each run of the watch flow."""
    season = place.model.drift.season or place.model.gate.season
    slots = 24 if season is None else max(1, round(seconds(season) / SLOT_S))
    try:
        cadence = max(1, round(seconds(place.model.schedules.watch) / SLOT_S))
    except ConfigError:  # a cron line or "off": each hour is looked at by the next run
        cadence = 1
    return Clock(slots, 24, cadence)


def _measured(state: JoinState, version: int, clock: Clock, origin: int, share: float) -> LossFacts | None:
    record = state.record
    score = record.versions.get(version)
    slots = None if score is None else score.slots
    if slots is None or slots.began is None:
        return None
    unit = 1.0 if record.loss is None else record.loss.range
    until = int(events.seconds_at(max(state.matured_through, 0)) // SLOT_S)
    by_slot = {slot: (float(n), total / unit) for slot, (n, total) in slots.hours.items()}
    hours = Hours.of(by_slot, max(until, slots.began))
    reference = watching.reference_of(hours, slots.began, origin, clock, share)
    if reference is None:
        is_watched = record.champion == version
        return _bounded(record.watch, by_slot, share, watching.missing(hours, clock, share)) if is_watched else None
    return _facts(watching.look(hours, reference, clock, share), unit)


def _facts(found: Watched, unit: float) -> LossFacts:
    begin, end = found.reference
    return LossFacts(
        statistic=found.statistic,
        threshold=found.threshold,
        calibrated=True,
        basis=f"block bootstrap of {(end - begin) // 24} days of past",
        expected=found.expected,
        reference=(begin * SLOT_S, end * SLOT_S),
        window_s=found.window * SLOT_S,
        loss=found.loss * unit,
        usual=found.usual * unit,
        since=None if found.since is None else (found.since + 1) * SLOT_S,
    )


def _bounded(watch: Watch, by_slot: Mapping[int, tuple[float, float]], share: float, why: str) -> LossFacts:
    """By the anytime-valid detector of the champion against its own first labels: its mean time to a false alarm is
    at least so many labels, whatever their dependence, while its loss is what it was."""
    labels = sum(n for n, _ in by_slot.values())
    rate = labels / (max(by_slot) + 1 - min(by_slot)) / SLOT_S if by_slot else 0.0
    needed = math.log1p(rate * MONTH_S / share / START_EVERY)
    detector = watch.against_past
    alarms = detector.n > 0 and detector.peak >= needed
    return LossFacts(
        statistic=detector.peak if detector.n else 0.0,
        threshold=needed,
        calibrated=False,
        basis=f"a bound that holds whatever the past, until there is more of it: {why}",
        usual=watch.limit,
        since=(max(by_slot) + 1) * SLOT_S if alarms else None,
    )


def _severity(
    measured: LossFacts | None, estimated: LossFacts | None, warned: tuple[str, ...], drifted: tuple[str, ...]
) -> Severity:
    if any(one is not None and one.since is not None for one in (measured, estimated)):
        return "alarm"
    return "warning" if warned else "info" if drifted else "none"


def _sentence(
    measured: LossFacts | None, estimated: LossFacts | None, warned: tuple[str, ...], drifted: tuple[str, ...]
) -> str:
    moved = [_moved(name, one) for name, one in (("measured", measured), ("estimated", estimated)) if one and one.since]
    if moved:
        parts = [" and ".join(moved)]
    elif measured is None:
        parts = ["No label of the champion's answers has matured yet"]
    else:
        parts = [f"The measured loss is as usual ({_reached(measured)})"]
    if warned:
        parts.append(f"{', '.join(warned)} found a rise, without a budget of false alarms")
    if drifted:
        effect = "moved as well" if moved else "moved, which alone is no alarm"
        parts.append(f"{', '.join(drifted[:3])} {effect}")
    return "; ".join(parts)


def _moved(name: str, one: LossFacts) -> str:
    if one.loss is None or one.usual is None:
        return f"The {name} loss is above its bound ({_reached(one)})"
    hours = one.window_s / 3600
    span = f"{hours:.0f} hours" if hours > 1 else "hour"
    return f"The {name} loss is {one.loss:.3g} over the last {span}, where {one.usual:.3g} is usual ({_reached(one)})"


def _reached(one: LossFacts) -> str:
    return f"{one.statistic:.1f} against {one.threshold:.1f}, {one.basis}"


def _following(before: AlarmFacts | None, facts: AlarmFacts) -> AlarmFacts:
    """A standing alarm keeps the moment at which it began."""
    if before is None or before.since is None or facts.since is None or before.version != facts.version:
        return facts
    return msgspec.structs.replace(facts, since=min(before.since, facts.since))


def _write_down(place: Place, before: AlarmFacts | None, facts: AlarmFacts) -> None:
    """A ledger line when an alarm begins and when it ends: by the return of the loss, or with another champion."""
    ledger = place.roles.ledger
    stood = before is not None and before.since is not None
    if before is not None and stood and (facts.since is None or facts.version != before.version):
        why = "another version answers" if facts.version != before.version else facts.sentence
        ledger.append(
            "alarm_over", before.version, f"The alarm is over: {why}.", cause="watch",
            numbers=_numbers(facts), key=f"alarm over:{before.version}:{before.since:.0f}",
        )  # fmt: skip
    if facts.since is not None and not (before is not None and stood and before.version == facts.version):
        ledger.append(
            "alarm", facts.version, f"{facts.sentence}.", cause="watch",
            numbers=_numbers(facts), key=f"alarm:{facts.version}:{facts.since:.0f}",
        )  # fmt: skip


def _numbers(facts: AlarmFacts) -> dict[str, Any]:
    return {"budget": facts.budget, "measured": _plain(facts.measured), "estimated": _plain(facts.estimated)}


def _plain(one: LossFacts | None) -> Any:
    return None if one is None else msgspec.to_builtins(one)
