"""What the ledger's lines say: the board they led to, the tenure, its slots, who is barred, who answered before."""

from collections.abc import Sequence

import msgspec

from contracts.events import Decision
from contracts.releases import Board


def last_move(lines: Sequence[Decision]) -> Decision | None:
    """The last line that changed who answers or shadows."""
    return next((line for line in reversed(lines) if _moves(line)), None)


def board_of(line: Decision) -> Board:
    """The board that a line led to."""
    return msgspec.convert(line.numbers["board"], Board)


def board_after(lines: Sequence[Decision]) -> Board:
    """The board that these lines led to; an empty one where none of them changed it."""
    line = last_move(lines)
    return Board() if line is None else board_of(line)


def until(lines: Sequence[Decision], at: float) -> list[Decision]:
    """The lines that had been written at an epoch second.

    Where a clock was set back, a line may be dated before the one that it follows: whatever stands before a line was
    written before it, so the last line so dated decides.
    """
    return list(lines[: max((place + 1 for place, line in enumerate(lines) if line.at <= at), default=0)])


def crowned(lines: Sequence[Decision]) -> Decision | None:
    """The line by which the present champion came to answer; None where nobody does."""
    return None if board_after(lines).champion is None else lines[tenure_began(lines)]


def learner_of(lines: Sequence[Decision], version: int) -> str | None:
    """What a version is called, as the first line that named it has it; None where none did."""
    told = (line.numbers.get("learner") for line in lines if line.version == version)
    return next((name for name in told if isinstance(name, str)), None)


def tenure_began(lines: Sequence[Decision]) -> int:
    """Position of the line from which the present champion reigns; 0 where nobody does."""
    began, champion = 0, None
    for at, line in enumerate(lines):
        if _moves(line) and board_of(line).champion != champion:
            champion, began = board_of(line).champion, at
    return began


def verdicts(lines: Sequence[Decision], kind: str = "verdict") -> dict[int, Decision]:
    """The newest line of this tenure that says where a challenger stands, by version; or would by other rules."""
    tenure = lines[tenure_began(lines) :]
    return {line.version: line for line in tenure if line.kind == kind and line.version is not None}


def asked(lines: Sequence[Decision], version: int) -> Decision | None:
    """What a version has last asked a person in this tenure."""
    return _newest(lines, version, "asked")


def answer(lines: Sequence[Decision], version: int) -> Decision | None:
    """What a person has answered to the verdict that stands; None where nobody has, or it is another verdict by now."""
    verdict, request = verdicts(lines).get(version), asked(lines, version)
    found = _newest(lines, version, "approved", "declined")
    if verdict is None or request is None or found is None:
        return None
    return found if verdict.seq < request.seq == found.numbers["asked"] else None


def declined(lines: Sequence[Decision], version: int) -> Decision | None:
    """A person's refusal of a version in this tenure."""
    return _newest(lines, version, "declined")


def requests(lines: Sequence[Decision]) -> list[Decision]:
    """What still asks for a person's answer: winners of this tenure whose verdict stands."""
    known = verdicts(lines)
    won = [version for version, line in known.items() if line.numbers["decision"] == "promote"]
    found = [asked(lines, version) for version in won if answer(lines, version) is None]
    return [line for line in found if line is not None and line.seq > known[line.version or 0].seq]


def slots_used(lines: Sequence[Decision]) -> int:
    """Challengers that were there when the tenure began, and those enrolled since: all share its alpha."""
    tenure = lines[tenure_began(lines) :]
    if not tenure:
        return 0
    enrolled = sum(line.kind == "enrolled" for line in tenure[1:])
    return enrolled + (len(board_of(tenure[0]).challengers) if _moves(tenure[0]) else 0)


def barred(lines: Sequence[Decision]) -> frozenset[int]:
    """Versions that were rolled back."""
    return frozenset(line.version for line in lines if line.kind == "rolled_back" and line.version is not None)


def heir(lines: Sequence[Decision], version: int) -> int | None:
    """Who answers when `version` is rolled back: the one under probation, else the last champion that is not barred.

    None where there is neither; the prior is no heir.
    """
    previous = board_after(lines).previous
    if previous is not None:
        return previous
    out = barred(lines) | {version, None, 0}
    champions = [board_of(line).champion for line in lines if _moves(line)]
    return next((champion for champion in reversed(champions) if champion not in out), None)


def succeeded(board: Board, version: int, since: str) -> Board:
    """The board on which `version` answers and the old champion, unless it was the prior, shadows under probation."""
    old = board.champion or None
    others = tuple(other for other in board.challengers if other != version)
    return Board(version, others if old is None else (*others, old), old, since)


def without(board: Board, version: int) -> Board:
    """The board on which `version` no longer shadows."""
    others = tuple(other for other in board.challengers if other != version)
    previous = None if board.previous == version else board.previous
    return msgspec.structs.replace(board, challengers=others, previous=previous)


def _newest(lines: Sequence[Decision], version: int, *kinds: str) -> Decision | None:
    tenure = lines[tenure_began(lines) :]
    return next((line for line in reversed(tenure) if line.version == version and line.kind in kinds), None)


def _moves(line: Decision) -> bool:
    return "board" in line.numbers
