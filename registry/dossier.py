"""Why a version was promoted, rolled back, retired or given up, or why not yet: all that was known, in one place.

The ledger holds the decision; `Seen` is what it does not hold. A dossier is both, with what came after.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from contracts.events import Decision
from contracts.facts import ComparisonFacts, LearnFacts
from contracts.gate_rules import Gate
from contracts.releases import PRIOR_VERSION
from registry import history
from registry.gate import Verdict
from registry.guards import judge
from registry.reproduce import can_be, subject

_ENDS = ("retire", "give_up", "inconclusive", "ready")


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was known at a decision beside the ledger's line. None and empty where it was not."""

    comparison: ComparisonFacts | None = None
    delay_s: tuple[float, float, float] | None = None
    """Label delay: median, 90th and 99th percentile."""
    late: int | None = None
    """Labels that had come after maturity."""
    scoring_s: dict[int, float] = {}
    """Mean time that a question took, by version."""
    differs: tuple[str, ...] = ()
    """Why the comparison, reached again from the log later, is not quite the one that the ledger has."""


@dataclass(frozen=True)
class Dossier:
    """About one version of a model. `line` is the decision, None while it is still compared."""

    model: str
    version: int
    lines: Sequence[Decision]
    line: Decision | None
    seen: Seen
    rules: Gate
    """In force at the decision."""
    now: float
    """Epoch seconds as of which it is told."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Learners by version, where the ledger does not name them."""

    @property
    def champion(self) -> int | None:
        """Against whom it was decided."""
        if self.line is None:
            return history.board_after(self.lines).champion
        return history.board_after(self.lines[: self.line.seq]).champion

    @property
    def verdict(self) -> Verdict | None:
        """As the ledger has it; while it is compared, as of now. None for what no comparison decided."""
        if self.line is not None:
            return msgspec.convert(self.line.numbers, Verdict) if "log_e" in self.line.numbers else None
        comparison = self.seen.comparison
        return None if comparison is None else judge(comparison, self.rules, self.now)

    @property
    def numbers(self) -> dict[str, Any]:
        """What was said when the version was enrolled: metrics, parity, training set."""
        found = [line for line in self.lines if line.kind == "enrolled" and line.version == self.version]
        return found[-1].numbers if found else {}

    @property
    def corrections(self) -> list[Decision]:
        """Corrections that moved evidence after the decision, in the same tenure or a later one."""
        return [] if self.line is None else [one for one in self.lines[self.line.seq :] if one.kind == "corrected"]

    @property
    def told(self) -> list[Decision]:
        """What the ledger says about the version."""
        return [line for line in self.lines if line.version == self.version]

    def named(self, version: int) -> str:
        """A version with its learner's name."""
        if version == PRIOR_VERSION:
            return "the prior"
        learner = history.learner_of(self.lines, version) or self.names.get(version)
        return f"version {version} ({learner})" if learner else f"version {version}"


def rules_at(lines: Sequence[Decision], line: Decision | None, today: Gate) -> Gate:
    """In force at a decision; today's where the ledger names none, or nothing is decided."""
    before = lines if line is None else lines[: line.seq + 1]
    last = next((one for one in reversed(before) if one.kind == "policy"), None)
    return today if line is None or last is None else msgspec.convert(last.numbers["gate"], Gate)


def deserving(lines: Sequence[Decision]) -> list[Decision]:
    """Decisions that a dossier is kept of: moves, requests to a person, and verdicts that end a comparison or keep a
    winner back."""
    moves = [line for line in lines if line.kind in ("promoted", "rolled_back", "retired", "asked")]
    moved = {(subject(line), line.numbers.get("at")) for line in moves if can_be(line)}
    ends = [
        line
        for line in lines
        if line.kind == "verdict"
        and line.numbers.get("decision") in _ENDS
        and (line.version, line.numbers.get("at")) not in moved
    ]
    return sorted([*moves, *ends], key=lambda line: line.seq)


def decision_about(lines: Sequence[Decision], version: int) -> Decision | None:
    """The decision that put a version where it is; None where it is still compared, or nothing was ever decided."""
    kinds = ("promoted", "bootstrap", "moved_by_hand", "rolled_back", "retired")
    known = {line.seq for line in deserving(lines)}
    found = [line for line in lines if line.version == version and (line.seq in known or line.kind in kinds)]
    board = history.board_after(lines)
    if version == board.champion:
        return history.crowned(lines)
    if version not in board.challengers:
        return found[-1] if found else None
    verdict = history.verdicts(lines).get(version)
    return verdict if verdict is not None and verdict.numbers.get("decision") in _ENDS else None


def matching(line: Decision, facts: LearnFacts | None) -> ComparisonFacts | None:
    """The comparison that a line was decided on, where the facts still have it."""
    for one in () if facts is None else facts.comparisons:
        counted = (one.n, one.wins, one.losses, one.champion)
        numbers = [line.numbers.get(name) for name in ("n", "wins", "losses")]
        if one.challenger == subject(line) and counted == (*numbers, line.numbers.get("over", one.champion)):
            return one
    return None
