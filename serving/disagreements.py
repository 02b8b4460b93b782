"""Questions to which champion and challengers gave different answers: whose labels decide, and what they look like.

Read from the streams, newest first and in bounded ranges, so that it takes as long behind a million questions as behind
a thousand. For a value, where no two answers are ever the same, they come by how far apart they are.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import msgspec

from contracts import events, streams
from contracts.config import Model
from contracts.events import Prediction, Shadow
from contracts.quantities import seconds
from contracts.releases import Board, Releases
from contracts.schema import Schema, Value
from contracts.streams import Fields, Streams

PAGE = 1_000
EXAMINED = 10_000
"""Questions that are looked through at most for one queue: about a tenth of a second."""
VALUES_KEPT = 20

_KEPT = re.compile(r"(?:\d+ \S+ \S+|\d+-\d+) (.*)", re.DOTALL)  # as contracts.streams.ADD_FEEDBACK keeps labels

Answer = str | float


class Disagreement(msgspec.Struct, frozen=True):
    """One question, and what was answered to it."""

    id: str
    offset: int
    row: tuple[Value, ...]
    answers: dict[int, Answer]
    """A class's text, or a value, by version; the champion, who answered, comes first."""
    label: Answer | None = None
    """The newest one, where there is any."""

    @property
    def asked_at(self) -> float:
        return events.seconds_at(self.offset)

    @property
    def differing(self) -> int:
        """Challengers that answered otherwise than the champion."""
        champion, *others = self.answers.values()
        return sum(other != champion for other in others)

    @property
    def distance(self) -> float:
        """How far, of a value, the farthest challenger is from the champion."""
        champion, *others = cast(list[float], list(self.answers.values()))
        return max(abs(other - champion) for other in others)


class Wanted(msgspec.Struct, frozen=True):
    """A question whose label would decide something."""

    prediction_id: str
    asked_at: float
    counts_until: float | None
    """Epoch seconds at which it matures; None where it has: its label is then learned and audited, but no evidence."""
    features: dict[str, Value]
    answers: tuple[str, ...]
    """What was answered, in class order: who said what is no help to the truth."""
    said: dict[int, str]
    """The answers by version, to be shown once the label is given."""


class Queue(msgspec.Struct, frozen=True):
    """What `tiltyard ask-labels` and the page ask a person for."""

    model: str
    classes: tuple[str, ...]
    champion: int | None
    waiting: int
    """Unlabelled disagreements that still count as evidence, among the questions looked through."""
    examined: int
    items: tuple[Wanted, ...]
    """First those that still count, then where most challengers differ, then the newest."""


def queue(kept: Streams, model: Model, count: int, now: float) -> Queue:
    """Unlabelled disagreements of this tenure, those first that would decide most, at `now` (epoch seconds).

    Raises ValueError for a value, where every label counts alike, and redis.RedisError.
    """
    label = model.label
    if label.is_regression:
        raise ValueError(f"{kept.model} predicts values, on which versions always differ: every label counts alike")
    board, matured = Releases(kept.client, kept.model).board(), _matured_through(kept, model, now)
    found: list[Disagreement] = []
    waiting = examined = 0
    for looked_at, page in pages(kept, model, board, now):
        examined += looked_at
        unlabelled = [one for one in with_labels(kept, label.class_texts, page) if one.label is None]
        waiting += sum(one.offset >= matured for one in unlabelled)
        found += unlabelled
        is_past = bool(page) and page[-1].offset < matured
        if examined >= EXAMINED or (is_past and len(found) >= count):
            break
    found.sort(key=lambda one: (one.offset < matured, -one.differing, -one.offset))
    items = tuple(_wanted(one, model, matured) for one in found[:count])
    return Queue(kept.model, label.class_texts, board.champion, waiting, examined, items)


class Lately(NamedTuple):
    """What the newest questions of this tenure show."""

    examined: int = 0
    found: tuple[Disagreement, ...] = ()
    """Newest first, with their labels; of values, those farthest apart first."""
    matured: int = 0
    """Offset from which labels still count as evidence."""

    @property
    def waiting(self) -> int:
        """Disagreements without a label that would still count."""
        return sum(one.label is None and one.offset >= self.matured for one in self.found)


def lately(kept: Streams, model: Model, now: float) -> Lately:
    """The disagreements among the newest page of questions. Raises redis.RedisError."""
    board = Releases(kept.client, kept.model).board()
    examined, page = next(pages(kept, model, board, now), (0, []))
    if model.label.is_regression:
        page = sorted(page, key=lambda one: -one.distance)[:VALUES_KEPT]
    found = with_labels(kept, model.label.class_texts, page)
    return Lately(examined, tuple(found), _matured_through(kept, model, now))


def pages(kept: Streams, model: Model, board: Board, now: float) -> Iterator[tuple[int, list[Disagreement]]]:
    """(questions looked through, disagreements among them, newest first), page by page back to the tenure's start."""
    if board.champion is None or not board.challengers:
        return
    horizon = events.span(now - seconds(model.label_horizon))
    lowest = f"({events.offset_id(max(events.offset(board.since), horizon))}"
    until = "+"
    while True:
        found = cast(list[tuple[bytes, Fields]], kept.client.xrevrange(kept.key("shadows"), until, lowest, count=PAGE))
        shadows = {events.offset(id_.decode()): fields for id_, fields in found}
        if not shadows:
            return
        asked = kept.page("predictions", min(shadows), max(shadows), 2 * PAGE)
        predictions = dict(zip(asked.offsets, events.decode_many(Prediction, asked.fields), strict=True))
        yield len(shadows), list(_differing(shadows, predictions, board, model.schema))
        until = f"({events.offset_id(min(shadows))}"


def _differing(
    shadows: dict[int, Fields], predictions: dict[int, Prediction | None], board: Board, schema: Schema
) -> Iterable[Disagreement]:
    champion = cast(int, board.champion)
    for offset, fields in shadows.items():
        asked, shadow = predictions.get(offset), events.readable(Shadow, fields)
        if asked is None or shadow is None or (asked.version, asked.schema) != (champion, schema.fingerprint):
            continue
        scores = {champion: asked.scores} | {
            version: shadow.scores[version][1] for version in board.challengers if version in shadow.scores
        }
        answers = {version: _answer(schema, scored) for version, scored in scores.items()}
        if len(set(answers.values())) > 1:
            yield Disagreement(events.offset_id(offset), offset, asked.row, answers)


def _answer(schema: Schema, scores: Sequence[float]) -> Answer:
    """The first of equal scores wins, as with what is served."""
    return scores[0] if schema.label.is_regression else schema.label.class_texts[scores.index(max(scores))]


def with_labels(kept: Streams, classes: Sequence[str], page: Sequence[Disagreement]) -> list[Disagreement]:
    """The same, with the newest label that each was given. `classes` are empty for a value."""
    buckets: dict[str, list[Disagreement]] = {}
    for one in page:
        buckets.setdefault(streams.label_bucket(one.id), []).append(one)
    pipeline: Any = kept.client.pipeline(transaction=False)
    for bucket, those in buckets.items():
        pipeline.hmget(kept.key(bucket), [one.id for one in those])
    labels: dict[str, bytes | None] = {}
    for those, values in zip(buckets.values(), pipeline.execute(), strict=True):
        labels |= {one.id: value for one, value in zip(those, values, strict=True)}
    return [
        one if (value := labels[one.id]) is None else msgspec.structs.replace(one, label=_label(value, classes))
        for one in page
    ]


def _label(value: bytes, classes: Sequence[str]) -> Answer | None:
    """Where labels are votes, the reporter's name stands behind it."""
    match = _KEPT.fullmatch(value.decode(errors="replace"))
    text = "" if match is None else match[1]
    if not classes:
        return float(text.partition(" ")[0] or "nan")
    return max((one for one in classes if f"{text} ".startswith(f"{one} ")), key=len, default=text)


def _wanted(one: Disagreement, model: Model, matured: int) -> Wanted:
    said = cast(dict[int, str], one.answers)
    return Wanted(
        prediction_id=one.id,
        asked_at=one.asked_at,
        counts_until=None if one.offset < matured else one.asked_at + seconds(model.gate.maturity),
        features=dict(zip(model.schema.names, one.row, strict=True)),
        answers=tuple(text for text in model.label.class_texts if text in said.values()),
        said=said,
    )


class _Learn(msgspec.Struct, frozen=True):
    """What of the learn loop's facts is needed here; the rest is not decoded."""

    matured_through: int = -1


def _matured_through(kept: Streams, model: Model, now: float) -> int:
    """Offset from which labels still count as evidence."""
    learn = kept.fact("learn", _Learn) or _Learn()
    return max(learn.matured_through, events.span(now - seconds(model.gate.maturity)))
