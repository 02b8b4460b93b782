"""Where each challenger of this tenure stands, and what the ledger is told when that changes."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from contracts import events
from contracts.config import Gate, seconds
from contracts.events import Decision
from contracts.facts import ComparisonFacts, LearnFacts
from contracts.releases import Board
from flows.place import Place
from registry import history
from registry.gate import Verdict
from registry.reached import Reached, reach

CAUSE = "gate"


def standing(place: Place, board: Board, lines: Sequence[Decision], now: float) -> dict[int, Reached]:
    """The verdict on every challenger that was compared with this champion in this tenure, by version.

    `lines` are the ledger's.
    """
    facts = place.learn_facts()
    if facts is None:
        return {}
    return {
        one.challenger: reach(one, facts, place.model.gate, now, _held_back(place, board, lines, one, now))
        for one in _comparisons(facts, board)
    }


def enter_changes(place: Place, lines: Sequence[Decision], verdicts: Mapping[int, Verdict]) -> None:
    """A line for every challenger whose decision is another than the ledger has; all begin as "collecting"."""
    known, tenure = history.verdicts(lines), history.tenure_began(lines)
    for version, verdict in verdicts.items():
        line = known.get(version)
        was = "collecting" if line is None else line.numbers["decision"]
        if verdict.decision != was:
            place.roles.ledger.append(
                "verdict",
                version,
                verdict.reason,
                cause=CAUSE,
                numbers=msgspec.to_builtins(verdict) | {"was": was},
                key=f"verdict:{tenure}:{version}:{-1 if line is None else line.seq}",
            )


def _held_back(
    place: Place, board: Board, lines: Sequence[Decision], comparison: ComparisonFacts, now: float
) -> list[str]:
    """Whatever forbids to promote a challenger that has won, each as a reason; nothing forbids a rollback."""
    if comparison.challenger == board.previous:
        return []
    return [*_cooling_down(place.model.gate, lines, now), *_declined(lines, comparison.challenger)]


def _cooling_down(gate: Gate, lines: Sequence[Decision], now: float) -> Iterable[str]:
    crowned = history.crowned(lines)
    if crowned is not None and now - crowned.at < seconds(gate.cool_down):
        yield f"the champion has answered for {now - crowned.at:,.0f} s, and gate.cool_down is {gate.cool_down}"


def _declined(lines: Sequence[Decision], version: int) -> Iterable[str]:
    """A person's refusal holds as long as the champion answers against whom it was asked."""
    declined = history.declined(lines, version)
    if declined is not None:
        yield f"{declined.cause} refused it: {declined.numbers['said'].rstrip('.')}"


def _comparisons(facts: LearnFacts, board: Board) -> list[ComparisonFacts]:
    """Comparisons of this very tenure: facts are a second old, and roles may have changed since."""
    began_s = events.seconds_of(board.since)
    return [
        comparison
        for comparison in facts.comparisons
        if comparison.champion == board.champion
        and comparison.challenger in board.challengers
        and comparison.started_at >= began_s
    ]
