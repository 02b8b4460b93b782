"""The time after a promotion in which the old champion answers on in shadow, and may turn out to have been better."""

from collections.abc import Mapping

import msgspec

from contracts import events
from contracts.facts import LearnFacts, WatchFacts
from contracts.releases import Board
from flows.handover import served
from flows.place import Place
from flows.verdicts import CAUSE
from registry.gate import PROBATION_MATURED, PROBATION_S, Verdict
from registry.reached import position
from registry.rollback import START_EVERY, THRESHOLD

FALSE_ALARM = START_EVERY * (THRESHOLD - 1)


def rolled_back(place: Place, board: Board) -> str | None:
    """Lets the predecessor answer again where the watch on this very champion has raised its alarm.

    It is quicker than the gate where a champion was good at first: every hundred pairs it begins anew. Raises Stale,
    Barred, UnknownVersion or Unavailable.
    """
    facts = place.learn_facts()
    watch = None if facts is None else _watch(facts, board)
    if facts is None or watch is None or watch.alarmed_at is None or board.champion is None:
        return None
    reason = (
        f"The version before it, {board.previous}, is better: shown after {watch.alarmed_at:,} labelled requests that "
        f"both scored. Were it not, that would happen once in {FALSE_ALARM:,.0f} of them, at the most, on average."
    )
    numbers = {"watch": msgspec.to_builtins(watch), "over": board.champion, **position(facts)}
    place.roles.roll_back(board.champion, reason, to=board.previous, cause=CAUSE, numbers=numbers)
    assert board.previous is not None
    return f"Version {board.previous} answers instead of {board.champion}: {reason} {served(place, board.previous)}"


def ended(place: Place, board: Board, verdicts: Mapping[int, Verdict], now: float) -> list[str]:
    """The old champion has had its chance to prove the promotion wrong."""
    previous = verdicts.get(board.previous) if board.previous is not None else None
    if previous is None:
        return []
    age_s = now - events.seconds_of(board.since)
    if previous.n < PROBATION_MATURED and age_s < PROBATION_S:
        return []
    reason = f"Probation ended after {previous.n:,} labelled requests: {previous.reason}"
    place.roles.confirm(reason, keep=place.is_online(board.previous), cause=CAUSE)
    return [reason]


def _watch(facts: LearnFacts, board: Board) -> WatchFacts | None:
    """What is known of this very tenure: facts are a second old, and roles may have changed since."""
    watch = facts.champion
    if watch is None or board.previous is None:
        return None
    is_this = (watch.version, watch.since, watch.previous) == (
        board.champion,
        events.offset(board.since),
        board.previous,
    )
    return watch if is_this else None
