"""Erasing predictions from a model's streams: what was asked, scored and said, and what could not be read of it.

Readers are not disturbed: a stream's last id and its count of entries stay, and an entry that is gone is just not met.

What lies in files is erased by the learn run, which alone writes them: whoever erases asks for it by a `Request` on the
stream ``erasures``, where it stays until it is done, and finds the `Outcome` under the entity's hash.
"""

import re
import time
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, cast

import msgspec
import redis
from msgspec.structs import astuple

from contracts import events, streams
from contracts.events import DeadLetter, Feedback
from contracts.streams import START, Entry, Fields, Streams

_IDS = 1_000  # ids of one command: a longer one holds up whoever waits for an answer
_CLOCK_SET_BACK_MS = 86_400_000  # a feedback's id may be so much older than its prediction's
_ID = re.compile(rb"\d+-\d+")
_OUTCOME_KEPT_MS = 30 * 86_400_000  # for a receipt that nobody came back for


class Gone(msgspec.Struct, frozen=True):
    """Entries that an erasure removed."""

    predictions: int = 0
    shadows: int = 0
    feedback: int = 0
    labels: int = 0
    """Newest labels by prediction, kept to tell a correction from a repetition."""
    dead_letters: int = 0

    def __add__(self, other: "Gone") -> "Gone":
        return Gone(*(sum(pair) for pair in zip(astuple(self), astuple(other), strict=True)))


class Request(msgspec.Struct, frozen=True, array_like=True):
    """Predictions that the learn run is to erase."""

    entity: str
    """As `contracts.entities.masked` writes it."""
    predictions: tuple[int, ...]
    """Their offsets."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the learn run has erased of one entity, in all that was asked since the last complete erasure."""

    at: float
    """Epoch seconds; what was published or stored earlier may still hold it."""
    predictions: int
    gone: Gone = Gone()
    """Entries that went from the streams, which were not gone before."""
    logged: int
    """Rows of predictions that went from the durable log."""
    labels: int
    """Rows of labels that went from it."""
    examples: int
    """Labels that learners had learned, or were about to."""
    amendments: int
    """Of the journal: a learner that has taken in so many knows nothing of it any more."""
    versions: tuple[int, ...] = ()
    """Registered versions whose artifacts may still hold it: they were made while it was there."""


def ask(kept: Streams, request: Request) -> str:
    """Asks the learn run to erase; returns the request's id."""
    id_ = cast(bytes, kept.client.xadd(kept.key("erasures"), {events.FIELD: events.encode(request)}))
    return id_.decode()


def asked(kept: Streams) -> dict[str, Request]:
    """Requests that are not done, by id, oldest first."""
    found = cast(list[tuple[bytes, Fields]], kept.client.xrange(kept.key("erasures")))
    read = {id_.decode(): events.readable(Request, fields) for id_, fields in found}
    return {id_: request for id_, request in read.items() if request is not None}


def done(kept: Streams, id_: str, entity: str, outcome: Outcome) -> None:
    """Tells the outcome of a request, and takes it off the stream."""
    pipeline = kept.client.pipeline(transaction=True)
    pipeline.set(_outcome_key(kept, entity), msgspec.json.encode(outcome), px=_OUTCOME_KEPT_MS)
    pipeline.xdel(kept.key("erasures"), id_)
    pipeline.execute()


def outcome_of(kept: Streams, entity: str) -> Outcome | None:
    """What was done about an entity and not yet settled."""
    found = kept.client.get(_outcome_key(kept, entity))
    return msgspec.json.decode(cast(bytes, found), type=Outcome) if found else None


def settle(kept: Streams, entity: str) -> None:
    """Forgets the outcome: the receipt is written."""
    kept.client.delete(_outcome_key(kept, entity))


def _outcome_key(kept: Streams, entity: str) -> str:
    return kept.key(f"erased:{entity}")


def ids_of(kept: Streams, entity: str, after: str = START) -> list[str]:
    """Predictions about an entity (`contracts.entities.masked`) after an id, unreadable ones included."""
    sought = entity.encode()
    found = {id_ for id_, fields in kept.scan("predictions", after) if _holds(fields, sought)}
    found |= {id_ for id_, fields in _dead(kept, "predictions") if _holds(fields, sought)}
    return sorted(found, key=events.entry_id)


def erase(kept: Streams, prediction_ids: Collection[str]) -> Gone:
    """Removes predictions, and everything that names them. Afterwards they are unknown: a new label is refused.

    Predictions go first, so that no label is accepted behind the search for theirs.
    """
    ids = sorted(set(prediction_ids), key=events.entry_id)
    if not ids:
        return Gone()
    predictions = _delete(kept, "predictions", ids)
    shadows = _delete(kept, "shadows", ids)
    dead = _delete(kept, "dead:predictions", ids) + _delete(kept, "dead:shadows", ids)
    since_ms = max(0, events.entry_id(ids[0])[0] - _CLOCK_SET_BACK_MS)
    wanted = frozenset(ids)
    given = [id_ for id_, fields in kept.scan("feedback", f"{since_ms}-0") if _is_for(wanted, fields)]
    buried = [id_ for id_, fields in _dead(kept, "feedback") if _is_for(wanted, fields)]
    dead += _delete(kept, "dead:feedback", buried)
    return Gone(predictions, shadows, _delete(kept, "feedback", given), _delete_labels(kept, ids), dead)


def rewrite_file(client: redis.Redis, wait_s: float = 60.0) -> str:
    """Has Redis write its append-only file anew, without what was erased. Returns what came of it, for a receipt.

    It is written as commands from now on: a snapshot would copy a stream's blocks whole, deleted entries included.
    """
    try:
        if not _persistence(client).get("aof_enabled"):
            return "Redis keeps no append-only file" + _snapshots(client)
        client.config_set("aof-use-rdb-preamble", "no")
        if not _is_idle(client, wait_s):
            return "not rewritten: Redis was busy with its append-only file; erase again"
        client.bgrewriteaof()
        if not _is_idle(client, wait_s):
            return "the append-only file is still being rewritten"
        status = _persistence(client).get("aof_last_bgrewrite_status")
    except redis.ResponseError as error:
        return f"the append-only file was not rewritten ({error}); have its keeper run BGREWRITEAOF"
    if status != "ok":
        return "the append-only file could not be rewritten: see the log of Redis"
    return "the append-only file was rewritten" + _snapshots(client)


def _snapshots(client: redis.Redis) -> str:
    given = cast(dict[str, str], client.config_get("save")).get("save")
    return f'; its snapshots (save "{given}") hold deleted entries until their neighbours expire' if given else ""


def _is_idle(client: redis.Redis, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while True:
        now = _persistence(client)
        if not (now.get("aof_rewrite_in_progress") or now.get("aof_rewrite_scheduled")):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)


def _persistence(client: redis.Redis) -> dict[str, Any]:
    return client.info("persistence")


def _delete(kept: Streams, name: str, ids: Sequence[str]) -> int:
    return sum(int(kept.client.xdel(kept.key(name), *page)) for page in _pages(ids))


def _delete_labels(kept: Streams, ids: Sequence[str]) -> int:
    by_bucket: dict[str, list[str]] = {}
    for id_ in ids:
        by_bucket.setdefault(streams.label_bucket(id_), []).append(id_)
    return sum(
        int(kept.client.hdel(kept.key(bucket), *page))
        for bucket, inside in by_bucket.items()
        for page in _pages(inside)
    )


def _pages(ids: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    while page := list(islice(rest, _IDS)):
        yield page


def _dead(kept: Streams, source: str) -> Iterator[Entry]:
    """Dead letters of a stream with the fields that they were buried with."""
    start = "-"
    while page := cast(list[tuple[bytes, Fields]], kept.client.xrange(kept.key(f"dead:{source}"), start, "+", _IDS)):
        for id_, fields in page:
            letter = events.readable(DeadLetter, fields)
            yield id_.decode(), letter.fields if letter else fields
        start = f"({page[-1][0].decode()}"


def _is_for(ids: frozenset[str], fields: Fields) -> bool:
    """Whether a feedback names one of the predictions; one that cannot be read does so when their id stands in it."""
    feedback = events.readable(Feedback, fields)
    if feedback is not None:
        return feedback.prediction_id in ids
    return any(found.decode() in ids for value in fields.values() for found in _ID.findall(value))


def _holds(fields: Fields, sought: bytes) -> bool:
    return any(sought in value for value in fields.values())
