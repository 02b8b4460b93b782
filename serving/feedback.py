"""Labels that come back: accepted with a receipt, and what became of them."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import redis
from msgspec import Meta

from contracts import events, streams
from contracts.events import Feedback
from contracts.quantities import seconds
from contracts.releases import Releases
from contracts.schema import BadInput
from contracts.streams import Streams
from serving.live import Live
from serving.refusal import Refusal, read, redis_away
from serving.wire import Away, Wire

BODY_LIMIT = 1 << 16
"""Bytes of the largest body that is read."""

_CLOCKS_APART_S = 86_400


class Given(msgspec.Struct, forbid_unknown_fields=True):
    """A feedback request's body."""

    prediction_id: Annotated[str, Meta(max_length=64)]
    label: bool | int | float | str
    reporter: Annotated[str, Meta(max_length=200)] | None = None
    comment: Annotated[str, Meta(max_length=2000)] | None = None
    labeled_at: float | Annotated[str, Meta(max_length=64)] | None = None


async def accept(wire: Wire, live: Live, body: bytes) -> dict[str, str]:
    """The receipt `{"feedback_id", "status"}`. Raises Refusal; then nothing was accepted that one knows of."""
    given = read(body, Given)
    try:
        label = live.schema.label.decode(given.label)
    except BadInput as error:
        raise Refusal(422, error.reason, error.field) from None
    event = Feedback(given.prediction_id, label, given.reporter, given.comment, _moment(given.labeled_at))
    try:
        keys, arguments = streams.feedback_call(
            live.name, event, seconds(live.model.label_horizon), live.model.labels.combine
        )
    except ValueError as error:
        raise Refusal(404, str(error), "prediction_id") from None
    command = ["EVAL", streams.ADD_FEEDBACK, str(len(keys)), *keys, *arguments]
    try:
        reply = await wire.call(*(part.encode() if isinstance(part, str) else part for part in command))
    except Away as error:
        raise redis_away(f"the label was not accepted ({error})") from None
    status, feedback_id = (part.decode() for part in reply)
    if status == "unknown":
        horizon = live.model.label_horizon
        reason = (
            f'"{given.prediction_id}" is no prediction of {live.name}, or is older than its label horizon ({horizon})'
        )
        raise Refusal(404, reason, "prediction_id")
    if status == "limited":
        raise Refusal(429, f"the label changed {streams.MOST_LABELS} times; no more changes are taken", "label")
    return {"feedback_id": feedback_id, "status": status}


def _moment(given: float | str | None) -> float | None:
    """Epoch seconds. Raises Refusal."""
    if given is None:
        return None
    if isinstance(given, str):
        try:
            read = datetime.fromisoformat(given)
            at = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise Refusal(422, "is neither epoch seconds nor an ISO 8601 time", "labeled_at") from None
    else:
        at = given
    if not 0 < at < time.time() + _CLOCKS_APART_S:
        raise Refusal(422, "is not between 1970 and now; it is read as epoch seconds", "labeled_at")
    return at


def status(client: redis.Redis, lives: Iterable[Live], feedback_id: str) -> dict[str, Any]:
    """What became of a label, from pending over joined to learned. Raises Refusal when nobody knows it."""
    try:
        events.entry_id(feedback_id)
    except ValueError as error:
        raise Refusal(404, str(error), "feedback_id") from None
    for live in lives:
        kept = Streams(client, live.name)
        if fields := kept.look_up("feedback", [feedback_id]).get(feedback_id):
            return {"feedback_id": feedback_id, "model": live.name, **_progress(kept, live, feedback_id, fields)}
    raise Refusal(404, f'"{feedback_id}" is no feedback, or has expired', "feedback_id")


def _progress(kept: Streams, live: Live, feedback_id: str, fields: streams.Fields) -> dict[str, Any]:
    given = events.readable(Feedback, fields)
    if given is None:
        return {"status": "unreadable"}
    served = live.served
    report = {
        "prediction_id": given.prediction_id,
        "label": given.label,
        "served_version": served.version if served else None,
        "served_revision": served.revision if served else None,
        "since_revision": None,
    }
    learn = msgspec.json.decode(kept.facts().get("learn", b"{}"))
    if events.offset(learn.get("last_feedback_id", streams.START)) < events.offset(feedback_id):
        return {**report, "status": "pending"}
    if not kept.look_up("predictions", [given.prediction_id]):
        return {**report, "status": "orphaned"}
    board = Releases(kept.client, live.name).board()
    since = {version: kept.revision_since(version, feedback_id) for version in board.versions}
    learned_by = [{"version": v, "since_revision": r} for v, r in since.items() if r is not None]
    champion = None if served is None else since.get(served.version)
    status = "joined" if champion is None else "learned"
    return {**report, "status": status, "since_revision": champion, "learned_by": learned_by}
