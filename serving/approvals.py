"""Who asks a person to be let answer, and what a person says to it: taken here, done by the promote flow."""

import time
from typing import Annotated

import msgspec
import redis
from msgspec import Meta

from contracts import approvals, events
from contracts.approvals import Approval, Requests
from contracts.events import Decision
from contracts.releases import Releases
from contracts.streams import Streams
from serving import page_story
from serving.page_facts import DECISIONS_READ, Seen
from serving.refusal import Refusal, read, redis_away

BODY_LIMIT = 1 << 14
"""Bytes of the largest body that is read."""

_CLOSING = frozenset({"approved", "declined", "verdict", "promoted", "retired", "rolled_back"})


class Given(msgspec.Struct, forbid_unknown_fields=True):
    """An answer's body."""

    version: Annotated[int, Meta(ge=1)]
    person: Annotated[str, Meta(max_length=80)]
    reason: Annotated[str, Meta(max_length=1000)]
    refuse: bool = False
    asked: int | None = None
    """`seq` of the ledger's line that was read; None for whichever asks now."""


def open_requests(seen: Seen) -> list[Decision]:
    """The ledger's lines by which winners of this tenure ask a person, as long as their verdict stands."""
    champion, crowned = seen.board.champion, page_story.crowned(seen)
    began = -1 if crowned is None else crowned.seq
    lines = {line.seq: line for line in (*seen.requests, *seen.decisions) if line.seq > began}
    newest = [lines[seq] for seq in sorted(lines, reverse=True)]
    found = []
    for version in seen.board.challengers:
        about = (line for line in newest if line.version == version and line.kind in {"asked", *_CLOSING})
        line = next(about, None)
        # Lines that are not at hand may have begun the tenure.
        if line is not None and line.kind == "asked" and line.numbers.get("over", champion) == champion:
            found.append(line)
    return found


def refuse_strangers(content_type: str, site: str) -> None:
    """Refuses what a page of somebody else can make a browser send. Raises Refusal.

    `site` is the header Sec-Fetch-Site, which says who asks where a browser does. Without it the content type tells:
    a browser sends JSON to another site only after it has asked that site, and this one says nothing then.
    """
    if site not in ("", "same-origin", "none"):
        raise Refusal(403, "an answer must come from this page, or from a program")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "the content type must be application/json")


def accept(kept: Streams, body: bytes) -> dict[str, str]:
    """The receipt `{"approval_id", "status"}`. Raises Refusal; then nothing was taken that one knows of."""
    given = read(body, Given)
    person, reason = _said(given.person, "person"), _said(given.reason, "reason")
    try:
        line = _request(kept, given)
        id_ = approvals.give(kept, Approval(given.version, line.seq, person, reason, given.refuse))
    except redis.RedisError as error:
        raise redis_away(f"the answer was not taken ({error})") from None
    return {"approval_id": id_, "status": "taken"}


def _said(text: str, field: str) -> str:
    """It on one line: it will stand in the ledger, and on terminals. Raises Refusal."""
    line = " ".join(text.split())
    if not line:
        raise Refusal(422, "is empty: whoever reads the ledger later needs it", field)
    if not line.isprintable():
        raise Refusal(422, "has characters that cannot be printed", field)
    return line


def _request(kept: Streams, given: Given) -> Decision:
    """What the answer is to. Raises Refusal."""
    seen = _seen(kept)
    line = next((line for line in open_requests(seen) if line.version == given.version), None)
    if line is None:
        known = (*seen.requests, *seen.decisions)
        has_asked = any(line.kind == "asked" and line.version == given.version for line in known)
        now = "does not ask any more: it was answered, or its verdict has changed" if has_asked else "does not ask"
        raise Refusal(409 if has_asked else 404, f"version {given.version} {now}", "version")
    if given.asked not in (None, line.seq):
        raise Refusal(409, f"version {given.version} has asked anew since (ledger line {line.seq})", "asked")
    for id_, said in seen.approvals.items():
        if said.asked == line.seq:
            age_s = max(0.0, time.time() - events.seconds_of(id_))
            word = "refused it" if said.refuse else "let it answer"
            raise Refusal(409, f"{said.person} {word} {age_s:.0f} s ago, which is being carried out", "version")
    return line


def _seen(kept: Streams) -> Seen:
    """As much as requests need."""
    requests = kept.fact("requests", Requests) or Requests()
    return Seen(
        board=Releases(kept.client, kept.model).board(),
        decisions=tuple(kept.decisions(DECISIONS_READ)),
        requests=requests.lines,
        approvals=approvals.given(kept),
    )
