"""Gives the championship to a challenger that has earned it, and waits until it answers."""

import logging
import time

import msgspec

from contracts.facts import ServingFacts
from contracts.releases import Board
from flows.place import Place
from registry.gate import Verdict

log = logging.getLogger(__name__)

SERVED_WITHIN_S = 15.0


def hand_over(place: Place, board: Board, version: int, verdict: Verdict, cause: str) -> str:
    """Promotes, or rolls back where the winner is the champion's own predecessor under probation.

    Raises Stale, Barred, UnknownVersion or Unavailable.
    """
    assert board.champion is not None
    numbers = msgspec.to_builtins(verdict) | {"over": board.champion}
    if version == board.previous:
        place.roles.roll_back(board.champion, verdict.reason, to=version, cause=cause, numbers=numbers)
    else:
        place.roles.promote(version, verdict.reason, over=board.champion, cause=cause, numbers=numbers)
    log.info("champion model=%s version=%d over=%d reason=%s", place.name, version, board.champion, verdict.reason)
    return f"Version {version} answers instead of {board.champion}: {verdict.reason} {served(place, version)}"


def served(place: Place, version: int) -> str:
    """Waits until a serving process says that it answers with a version."""
    began = time.monotonic()
    while time.monotonic() - began < SERVED_WITHIN_S:
        if any(facts.version == version for facts in place.streams.facts_of("serving", ServingFacts).values()):
            return f"Serving confirmed it after {time.monotonic() - began:.1f} s."
        time.sleep(0.1)
    return f"No serving process has confirmed it within {SERVED_WITHIN_S:g} s."
