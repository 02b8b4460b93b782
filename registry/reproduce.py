"""The gate's decisions, reached again from the log at the very positions where the ledger says that they were."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from contracts import events
from contracts.config import Model
from contracts.events import Decision
from contracts.facts import ComparisonFacts
from contracts.gate_rules import Gate
from contracts.releases import Board
from registry import history
from registry.gate import Verdict
from registry.guards import judge
from registry.replay import Replay

_BY_THE_GATE = ("verdict", "dry_run", "asked", "approved", "promoted", "rolled_back", "retired")
COUNTED = ("loss", "costs", "clip", "maturity", "guardrails", "segments", "unit", "unit_window", "correction_lag")
"""Rules by which the learn loop counts; the others are the gate's, and may change between two looks."""


class Reproduced(msgspec.Struct, frozen=True):
    """A line of the ledger beside what the log gives. `differs` is (ledger, log) by name; empty where all is equal."""

    line: Decision
    comparison: ComparisonFacts
    verdict: Verdict
    differs: dict[str, tuple[Any, Any]]
    doubts: tuple[str, ...] = ()
    """Why the log may not have what the loop had."""

    @property
    def whys(self) -> tuple[str, ...]:
        """Nothing where all is equal; else what may be why."""
        return (self.doubts or ("the reason is not known",)) if self.differs else ()


def can_be(line: Decision) -> bool:
    """Whether a line holds what the gate found, and says where in the log it did."""
    return line.kind in _BY_THE_GATE and line.version is not None and line.numbers.get("through", -1) >= 0


def subject(line: Decision) -> int:
    """Whom a line's verdict is about: where a champion was rolled back, the one that follows it."""
    champion = history.board_of(line).champion if line.kind == "rolled_back" else line.version
    assert champion is not None
    return champion


def reproduce(
    folder: Path,
    model: Model,
    lines: Sequence[Decision],
    *,
    since: float = 0.0,
    until: float = float("inf"),
    only: int | None = None,
    uncovered: Collection[int] = (),
    fed: Callable[[float], None] = lambda at: None,
) -> Iterator[Reproduced]:
    """Every verdict in the ledger between two epoch seconds, or of one line only. `lines` are the whole ledger's.

    `fed` hears now and then up to which epoch second the log was read.
    """
    replay: Replay | None = None
    known: Any = None
    for line in lines:
        if not (can_be(line) and since <= line.at <= until) or only not in (None, line.seq):
            continue
        board, rules = history.board_after(lines[: line.seq]), _rules(lines[: line.seq + 1], model)
        tenure = board.champion, board.since, [getattr(rules, name) for name in COUNTED]
        if replay is None or tenure != known:
            begin = events.offset(board.since)
            replay, known = Replay(folder, model, rules, begin, uncovered=uncovered, fed=fed), tenure
        yield _again(replay, line, board, rules, lines)


def _again(replay: Replay, line: Decision, board: Board, rules: Gate, lines: Sequence[Decision]) -> Reproduced:
    numbers = line.numbers
    replay.record.rules = rules
    replay.record.begin(board, events.offset(board.since))
    replay.play(numbers["through"], numbers["labels"])
    at, corrected, also = numbers["at"], numbers.get("corrected", 0.0), numbers.get("also", ())
    (comparison,) = replay.record.comparison_facts((subject(line),), {}, at, corrected)
    judged = rules.tried if line.kind == "dry_run" else rules
    verdict = judge(comparison, judged or rules, at, also)
    found = msgspec.to_builtins(verdict)
    if "watch" in numbers:
        found = {"watch": msgspec.to_builtins(replay.record.watch_facts())}
    differs = {name: (numbers[name], now) for name, now in found.items() if name in numbers and numbers[name] != now}
    return Reproduced(line, comparison, verdict, differs, tuple(_doubts(replay, line, lines)) if differs else ())


def _rules(lines: Sequence[Decision], model: Model) -> Gate:
    """In force after these lines; today's where they name none."""
    last = next((line for line in reversed(lines) if line.kind == "policy"), None)
    return model.gate if last is None else msgspec.convert(last.numbers["gate"], Gate)


def _is_counted(changed: Iterable[str]) -> bool:
    return any(name in COUNTED or name.startswith("labels.") for name in changed)


def _doubts(replay: Replay, line: Decision, lines: Sequence[Decision]) -> Iterator[str]:
    began = events.seconds_at(events.offset(history.board_after(lines[: line.seq]).since))
    for other in lines:
        if other.kind == "erased" and other.at >= began:
            yield f"line {other.seq} erased predictions, which were evidence and are no longer in the log"
        if other.kind == "policy" and began < other.at <= line.at and _is_counted(other.numbers["changed"]):
            yield f"line {other.seq} changed what is counted; the loop had counted by the rules before until then"
    if replay.bare:
        yield f"{replay.bare:,} questions of the log have no shadow scores, which may have come after it was written"
    predictions, labels = replay.ends
    if predictions < line.numbers["through"] and labels < line.numbers["labels"]:
        yield "the log ends before the look; it is written some seconds later"
