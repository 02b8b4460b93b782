"""What travels on the streams: frozen, typed, and readable by later versions (new fields go last, with defaults).

One stream entry carries one event as MessagePack in field ``e``. The entry id is the event's identity and its time.
A feedback that is a correction carries in field ``f`` the id of the first feedback for its prediction.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.schema import Value

FIELD = b"e"
_FIRST = b"f"
_ID = "[0-7]?[0-9]{1,12}-[0-9]{1,6}"  # up to the year 2223 and a million in a ms, so that offsets fit into int64
_IDS = re.compile(f"{_ID}(?: {_ID})*")
_SEQUENCE_BITS = 20  # offsets stay below 2^63 until the year 2248; Redis numbers entries of one ms from 0

Event = TypeVar("Event", bound=msgspec.Struct)


class BadEntry(ValueError):
    """A stream entry that cannot be read; it goes to the dead letters with its bytes and this reason."""


class Prediction(msgspec.Struct, frozen=True, array_like=True):
    """One question with the answer that was given. `row` holds the features as served, in schema order."""

    version: int
    revision: int
    scores: tuple[float, ...]
    row: tuple[Value, ...]
    schema: str
    """Fingerprint of the schema that orders `row`."""
    entity: str | None = None
    """Whom it is about, as `contracts.entities.masked` writes it; None when nobody said."""


class Shadow(msgspec.Struct, frozen=True, array_like=True):
    """Challengers' scores for the prediction of the same id: version -> (revision, scores)."""

    scores: dict[int, tuple[int, tuple[float, ...]]] = {}


class Feedback(msgspec.Struct, frozen=True, array_like=True):
    """A label for a prediction. `label` is a class's text, or a value; `labeled_at` is in epoch seconds."""

    prediction_id: str
    label: str | float
    reporter: str | None = None
    comment: str | None = None
    labeled_at: float | None = None


class DeadLetter(msgspec.Struct, frozen=True, array_like=True):
    """An entry that could not be read: its stream, the fields as they came, and why."""

    stream: str
    fields: dict[bytes, bytes]
    reason: str


class Decision(msgspec.Struct, frozen=True):
    """One line of the ledger. `hash` covers every other field, `previous` chains it to the line before."""

    seq: int
    at: float
    """Epoch seconds."""
    model: str
    kind: str
    version: int | None
    reason: str
    cause: str
    """Who or what decided: a flow, or a person's name."""
    numbers: dict[str, Any]
    key: str
    """Names the step, so that a repeated run finds it done."""
    previous: str
    hash: str


def encode(event: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode(event)


@lru_cache(16)
def _decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(kind)


def decode(kind: type[Event], fields: Mapping[bytes, bytes]) -> Event:
    """The event in a stream entry's fields. Raises BadEntry."""
    if FIELD not in fields:
        raise BadEntry(f"has no field {FIELD.decode()!r}")
    try:
        event: Event = _decoder(kind).decode(fields[FIELD])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadEntry(f"is no {kind.__name__}: {error}") from None
    return event


def readable(kind: type[Event], fields: Mapping[bytes, bytes]) -> Event | None:
    """The event, or None for what cannot be read: somebody else buries it."""
    try:
        return decode(kind, fields)
    except BadEntry:
        return None


def decode_many(kind: type[Event], entries: Iterable[Sequence[bytes]]) -> list[Event | None]:
    """The event of each entry, given as its fields lie on the wire; None for what cannot be read."""
    read = _decoder(kind).decode
    payloads = [fields[1] if fields[0] == FIELD else unflat(fields).get(FIELD, b"") for fields in entries]
    try:
        return [read(payload) for payload in payloads]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [readable(kind, {FIELD: payload}) for payload in payloads]


def unflat(fields: Sequence[bytes]) -> dict[bytes, bytes]:
    """Fields by name, of an entry as it lies on the wire."""
    return dict(zip(fields[::2], fields[1::2], strict=True))


def first_of(fields: Sequence[bytes]) -> str | None:
    """The id of the first feedback for the same prediction, when this entry corrects it; None for a first label."""
    if len(fields) == 2:
        return None
    first = unflat(fields).get(_FIRST)
    return None if first is None else first.decode("ascii", "replace")


def entry_id(text: str) -> tuple[int, int]:
    """(milliseconds, sequence) of "1763800000000-0"; tuples compare as Redis orders entries. Raises ValueError."""
    milliseconds, dash, sequence = text.partition("-")
    if not (dash and milliseconds.isdecimal() and sequence.isdecimal() and text.isascii()):
        raise ValueError(f"{text!r} is not an id of the form milliseconds-sequence")
    if len(milliseconds) > 13 or len(sequence) > 9 or int(sequence) >> _SEQUENCE_BITS:
        raise ValueError(f"{text!r} is beyond any id that was given out")
    return int(milliseconds), int(sequence)


def offset(text: str) -> int:
    """An entry id as one int64 that orders alike. Raises ValueError."""
    milliseconds, _, sequence = text.partition("-")
    if sequence == "0" and len(milliseconds) == 13 and milliseconds.isascii() and milliseconds.isdecimal():
        return int(milliseconds) << _SEQUENCE_BITS  # nearly every one, at half of the cost
    whole, part = entry_id(text)
    return whole << _SEQUENCE_BITS | part


def offsets(ids: Sequence[bytes]) -> list[int]:
    """`offset` of ids that Redis has given out, which need no check: 0.1 us for each instead of 0.6."""
    parts = np.fromstring(b" ".join(ids).replace(b"-", b" "), np.int64, sep=" ")
    return cast(list[int], (parts[::2] << _SEQUENCE_BITS | parts[1::2]).tolist())


def asked_of(given: Sequence[Feedback | None]) -> list[int | None]:
    """Offsets of the predictions that feedback is about; None where there is none, or its id has not an id's form.

    They are outside input: looked at all together, they cost a third of `offset` for each.
    """
    ids = [one.prediction_id for one in given if one is not None]
    if len(ids) == len(given) and _IDS.fullmatch(joined := " ".join(ids)):
        found = offsets([joined.encode()])
        if len(found) == len(ids):  # else one of them reads like two
            return list(found)
    return [None if one is None else _offset_or_none(one.prediction_id) for one in given]


def _offset_or_none(text: str) -> int | None:
    try:
        return offset(text)
    except ValueError:
        return None


def span(duration_s: float) -> int:
    """How far offsets are apart that lie so many seconds apart; the offset of an epoch second."""
    return int(duration_s * 1000) << _SEQUENCE_BITS


def seconds_at(number: int) -> float:
    """Epoch seconds at which the entry of an offset was appended."""
    return (number >> _SEQUENCE_BITS) / 1000


def many_seconds_at(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """`seconds_at` of many, float64[n]."""
    return (numbers >> _SEQUENCE_BITS) / 1000


def offset_id(number: int) -> str:
    """The entry id of an offset."""
    return f"{number >> _SEQUENCE_BITS}-{number & ((1 << _SEQUENCE_BITS) - 1)}"


def seconds_of(text: str) -> float:
    """Epoch seconds at which an entry was appended, by Redis's clock."""
    return entry_id(text)[0] / 1000
