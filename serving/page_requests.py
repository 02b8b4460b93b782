"""What asks a person to be let answer, and what became of the answer, as the page shows it."""

from collections.abc import Iterable
from dataclasses import dataclass

from contracts import events
from contracts.approvals import Approval
from contracts.events import Decision
from serving import approvals, page_story, page_words
from serving.page_facts import Seen

TOLD_S = 600.0
"""How long the page says beside its other news what became of an answer; the ledger's lines go on saying it."""
LONG_S = 60.0  # to carry out: a flow run takes some ten seconds to start


@dataclass(frozen=True)
class Request:
    """A winner that waits for a person."""

    version: int
    named: str
    seq: int
    """Of the ledger's line, to which its dossier belongs."""
    at: float
    reason: str
    said: str
    """What a person has said to it and is not done yet; empty while nobody has."""
    is_late: bool
    """Whether that should have been done by now."""


@dataclass(frozen=True)
class Outcome:
    """What became of an answer."""

    text: str
    is_undone: bool


def requests_of(seen: Seen, now: float) -> Iterable[Request]:
    said = {one.asked: (id_, one) for id_, one in reversed(seen.approvals.items())}
    for line in approvals.open_requests(seen):
        assert line.version is not None
        told, at = _told(*said[line.seq], now) if line.seq in said else ("", now)
        named = page_story.named(seen, line.version)
        yield Request(line.version, named, line.seq, line.at, line.reason, told, now - at > LONG_S)


def _told(id_: str, said: Approval, now: float) -> tuple[str, float]:
    at = events.seconds_of(id_)
    word = "refused it" if said.refuse else "let it answer"
    return f"{said.person} {word} at {page_words.clock(at, now)}: {said.reason}", at


def outcomes_of(seen: Seen, now: float) -> Iterable[Outcome]:
    """The newest first."""
    for line in seen.decisions:
        if now - line.at < TOLD_S and _is_outcome(line):
            yield Outcome(f"{line.cause}: {line.reason}", line.kind == "refused")


def _is_outcome(line: Decision) -> bool:
    return line.kind in ("approved", "declined", "refused") and "asked" in line.numbers
