"""What `tiltyard what-if` says."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from contracts.events import Decision
from contracts.gate_rules import Gate
from registry import history
from registry.reproduce import Reproduced, can_be
from registry.retelling import Retelling, Turn
from tiltyard.past import Past

_SHOWN = 20


def replayed(again: Sequence[Reproduced]) -> list[dict[str, Any]]:
    return [
        {
            "seq": one.line.seq,
            "kind": one.line.kind,
            "version": one.line.version,
            "exact": not one.differs,
            "differs": {name: {"ledger": was, "log": now} for name, (was, now) in one.differs.items()},
            "doubts": one.doubts,
        }
        for one in again
    ]


def replayed_in_words(name: str, again: Sequence[Reproduced], did: Sequence[Decision]) -> Iterator[str]:
    exact = sum(not one.differs for one in again)
    yield f"{name}: {exact} of {len(again)} verdicts of the ledger come out of the log exactly as they stand there."
    silent = sum(not can_be(line) for line in did if line.kind != "confirmed")
    if silent:
        yield f"{silent} more do not say where in the log they were reached, and cannot be replayed."
    for one in again:
        if one.differs:
            differs = "; ".join(f"{name} {was} in the ledger, {now} here" for name, (was, now) in one.differs.items())
            yield f"  line {one.line.seq}, {one.line.kind} version {one.line.version}: {differs}"
            yield from (f"    perhaps because {doubt}" for doubt in one.doubts)


def told(
    policy: Path,
    changed: dict[str, list[Any]],
    turns: Sequence[Turn],
    did: Sequence[Decision],
    telling: Retelling,
    limits: Sequence[str],
) -> Iterator[str]:
    rules = "; ".join(f"{name} {_text(new)} instead of {_text(old)}" for name, (old, new) in changed.items())
    yield f"\nUnder {policy}: {rules or 'the same rules'}."
    yield "\nWhat would have happened"
    yield from _shown([f"{clock(turn.at)}  {_would(turn)}" for turn in turns])
    for version, verdict in telling.standing().items():
        yield f"  at last    version {version}: {verdict.decision}. {verdict.reason}"
    yield "\nWhat happened"
    yield from _shown([f"{clock(line.at)}  {line.kind} version {line.version}: {line.reason}" for line in did])
    yield "\nWhat it rests on"
    yield from (f"  {limit}" for limit in limits)


def _shown(lines: Sequence[str]) -> Iterator[str]:
    hidden = len(lines) - _SHOWN
    yield from (f"  {line}" for line in lines[:_SHOWN])
    if hidden > 0:
        yield f"  and {hidden} more (--json shows them all)"
    if not lines:
        yield "  nothing"


def _would(turn: Turn) -> str:
    verdict = turn.verdict
    kind = verdict.decision if turn.kind == "verdict" else turn.kind
    counts = f"n {verdict.n:,}, {verdict.wins:,} won, {verdict.losses:,} lost"
    evidence = f"log E {verdict.log_e:.2f} of {verdict.needed:.2f}"
    return f"{kind} version {turn.version}, champion {turn.champion}: {turn.reason} ({counts}, {evidence})"


def limits(past: Past, telling: Retelling, rules: Gate) -> list[str]:
    found = [
        "Versions, scores and labels are those that there were. Where another version than the real champion answers "
        "in this telling, its scores in shadow stand for its answers; labels that depend on the answer would differ.",
        "What others than the gate did (people, the guard without labels, retraining) is taken as it was.",
    ]
    if rules.approval == "person":
        found.append("A person is taken to approve at once.")
    if telling.replay.unscored:
        found.append(
            f"{telling.replay.unscored:,} questions have no score of the version that would have answered: it was not "
            "shadowed then, and nothing is known of it."
        )
    gone = [version for version in telling.board.versions if version not in history.board_after(past.lines).versions]
    if gone:
        versions = ", ".join(map(str, gone))
        found.append(f"Not on the real board any more, so not scored since they left it: {versions}.")
    erased = [line.seq for line in past.lines if line.kind == "erased"]
    if erased:
        found.append(
            f"Predictions were erased from the log (lines {', '.join(map(str, erased))}) and are missing here."
        )
    return found


def changed(before: Gate, after: Gate) -> dict[str, list[Any]]:
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    return {name: [old[name], new[name]] for name in new if old[name] != new[name]}


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().isoformat(" ", "seconds")
