"""Where each challenger of this tenure stands, and what the ledger is told when that changes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from contracts import events
from contracts.events import Decision
from contracts.facts import ComparisonFacts, LearnFacts, ShadowFacts
from contracts.gate_rules import Gate
from contracts.quantities import seconds
from contracts.releases import Board
from flows.place import Place
from registry import history
from registry.gate import Verdict
from registry.reached import Reached, reach

CAUSE = "gate"
SCORED = 100  # rows, before the time that they take means something


def standing(
    place: Place, board: Board, lines: Sequence[Decision], now: float, rules: Gate | None = None
) -> dict[int, Reached]:
    """The verdict on every challenger that was compared with this champion in this tenure, by version.

    `lines` are the ledger's. `rules` are others than the model's, in a dry run.
    """
    facts, rules = place.learn_facts(), rules or place.model.gate
    if facts is None:
        return {}
    return {
        one.challenger: reach(one, facts, rules, now, _held_back(place, rules, board, lines, one, now))
        for one in _comparisons(facts, board)
    }


def enter_changes(
    place: Place,
    lines: Sequence[Decision],
    verdicts: Mapping[int, Verdict],
    kind: Literal["verdict", "dry_run"] = "verdict",
) -> None:
    """A line for every challenger whose decision is another than the ledger has; all begin as "collecting"."""
    known, tenure = history.verdicts(lines, kind), history.tenure_began(lines)
    for version, verdict in verdicts.items():
        line = known.get(version)
        was = "collecting" if line is None else line.numbers["decision"]
        if verdict.decision != was:
            place.roles.ledger.append(
                kind,
                version,
                verdict.reason,
                cause=CAUSE,
                numbers=msgspec.to_builtins(verdict) | {"was": was},
                key=f"{kind}:{tenure}:{version}:{-1 if line is None else line.seq}",
            )


def _held_back(
    place: Place, rules: Gate, board: Board, lines: Sequence[Decision], comparison: ComparisonFacts, now: float
) -> list[str]:
    """Whatever forbids to promote a challenger that has won, each as a reason; nothing forbids a rollback."""
    if comparison.challenger == board.previous:
        return []
    return [
        *_cooling_down(rules, lines, now),
        *_declined(lines, comparison.challenger),
        *_slow(place, rules, comparison.challenger),
    ]


def _slow(place: Place, rules: Gate, version: int) -> Iterable[str]:
    """A version that would be taken out of service for its slowness is not let in; in shadow rows are asked together,
    which is never slower for each."""
    shadow = place.streams.fact("shadow", ShadowFacts)
    known = None if shadow is None else shadow.scoring.get(version)
    each_s = known.total_s / known.rows if known is not None and known.rows >= SCORED else 0.0
    if each_s > seconds(rules.max_latency):
        yield f"it takes {1000 * each_s:,.0f} ms for each row, and gate.max_latency is {rules.max_latency}"


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
