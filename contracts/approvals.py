"""What people say on the page to a version that asks to answer, kept until a flow has done it.

Serving takes it and the promote flow does it: neither knows the other, and what was said survives both. An entry stays
on the stream ``approvals`` until it is done, or turns out not to be possible any more.
"""

from collections.abc import Sequence
from typing import cast

import msgspec

from contracts import events
from contracts.events import Decision
from contracts.streams import Fields, Streams


class Approval(msgspec.Struct, frozen=True, array_like=True):
    """Yes or no to one request."""

    version: int
    asked: int
    """`seq` of the ledger's line by which it asked: another request of the same version is another question."""
    person: str
    reason: str
    refuse: bool = False


def give(kept: Streams, approval: Approval) -> str:
    """Keeps what a person said; returns its id."""
    id_ = cast(bytes, kept.client.xadd(kept.key("approvals"), {events.FIELD: events.encode(approval)}))
    return id_.decode()


def given(kept: Streams) -> dict[str, Approval]:
    """What was said and is not done, by id, oldest first."""
    found = cast(list[tuple[bytes, Fields]], kept.client.xrange(kept.key("approvals")))
    return readable(found)


def readable(entries: Sequence[tuple[bytes, Fields]]) -> dict[str, Approval]:
    """The entries of the stream, by id, without those that nobody can read."""
    read = {id_.decode(): events.readable(Approval, fields) for id_, fields in entries}
    return {id_: approval for id_, approval in read.items() if approval is not None}


def done(kept: Streams, id_: str) -> None:
    """Takes it off: it is done, or cannot be."""
    kept.client.xdel(kept.key("approvals"), id_)


class Requests(msgspec.Struct, frozen=True):
    """The fact ``requests``: lines of the ledger that ask a person. The stream of decisions forgets old ones."""

    lines: tuple[Decision, ...] = ()
