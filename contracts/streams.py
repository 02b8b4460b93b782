"""Stream names and access: the only place that knows how Tiltyard lies in Redis.

Keys of one model share the hash tag ``{model}``, so that a cluster keeps them together.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, cast

import msgspec
import redis

from contracts import events
from contracts.events import DeadLetter, Decision, Feedback, Prediction, Shadow
from contracts.votes import Rule

Source = Literal["predictions", "shadows", "feedback"]
Fact = TypeVar("Fact", bound=msgspec.Struct)
Fields = Mapping[bytes, bytes]
Entry = tuple[str, Fields]
Raw = Sequence[bytes]
"""An entry's fields as they lie on the wire: name, value, name, value."""

START = "0-0"
_LABEL_BUCKET_MS = 3_600_000
CROWDED = 100_000
"""Entries of one millisecond after which ids go on in the next one: offsets have room for ten times as many. Only a
clock that was set back by minutes brings as many, since ids then wait for it."""
_CROWDED_ID = len(f"{13 * '0'}-{CROWDED}")
_DECISIONS_KEPT = 1_000
_REVISIONS_KEPT = 100_000
MOST_LABELS = 1_000
"""Different labels in a row that one prediction may get: each is kept in the stream, and each rewinds a learner."""

# One atomic step: refuse an unknown prediction, answer a repeated label with its first receipt, else append. An entry
# that is a correction says so itself, in field f: whoever reads it later may have lost, or never had, the first label.
# Each prediction's "appended newest-id first-id newest-label" is kept in hashes of one hour of predictions, which
# expire whole; "newest-id newest-label" is how they read before corrections named what they correct.
# Ids are times, and order both streams, also while the clock is behind them because it was set back: a label comes
# after its question, and whatever is asked after a label comes after it. (XADD and XSETID refuse to go back.)
ADD_FEEDBACK = (
    """
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return {'unknown', ''} end
local seen = redis.call('HGET', KEYS[3], ARGV[1])
local appended, newest, first, label = 0
if seen then
  appended, newest, first, label = string.match(seen, '^(%d+) ([^ ]+) ([^ ]+) (.*)$')
  if not appended then
    appended = 1
    newest, label = string.match(seen, '^([^ ]+) (.*)$')
    first = newest
  end
  if label == ARGV[2] then return {'duplicate', newest} end
  if tonumber(appended) >= tonumber(ARGV[5]) then return {'limited', newest} end
end
local function parts(of)
  local ms, seq = string.match(of, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local clock, fields, id = redis.call('TIME'), {'e', ARGV[3]}
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if first then fields = {'e', ARGV[3], 'f', first} end
local ms, seq = parts(ARGV[1])
if ms >= now then
  id = redis.pcall('XADD', KEYS[2], string.format('%.0f-%.0f', ms, seq + 1), unpack(fields))
end
if type(id) ~= 'string' then id = redis.call('XADD', KEYS[2], '*', unpack(fields)) end
ms, seq = parts(id)
if seq >= """
    + str(CROWDED)
    + """ then redis.call('XSETID', KEYS[2], string.format('%.0f-0', ms + 1)) end
if ms > now then redis.pcall('XSETID', KEYS[1], id) end
redis.call('HSET', KEYS[3], ARGV[1], (appended + 1) .. ' ' .. id .. ' ' .. (first or id) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
return {first and 'correction' or 'accepted', id}
"""
)


def connect(url: str, timeout_s: float = 10, **options: Any) -> redis.Redis:
    """A client that speaks bytes and gives up on a dead server within seconds. Raises ValueError on a bad URL."""
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=min(3, timeout_s), health_check_interval=15, **options
    )


def key(model: str, name: str) -> str:
    return f"tiltyard:{{{model}}}:{name}"


def feedback_call(
    model: str, feedback: Feedback, horizon_s: float, rule: Rule = "latest"
) -> tuple[list[str], list[str | bytes]]:
    """KEYS and ARGV of `ADD_FEEDBACK`. Raises ValueError when the prediction id has not an id's form.

    Where labels are votes (`majority`, `mean`), the same label from somebody else is no repetition.
    """
    keys = [key(model, "predictions"), key(model, "feedback"), key(model, label_bucket(feedback.prediction_id))]
    kept_ms = int(horizon_s * 1000) + _LABEL_BUCKET_MS
    arguments: list[str | bytes] = [
        feedback.prediction_id,
        f"{feedback.label} {feedback.reporter or ''}" if rule in ("majority", "mean") else str(feedback.label),
        events.encode(feedback),
        str(kept_ms),
        str(MOST_LABELS),
    ]
    return keys, arguments


def label_bucket(prediction_id: str) -> str:
    """The hash that keeps a prediction's newest label. Raises ValueError when the id has not an id's form."""
    milliseconds, _ = events.entry_id(prediction_id)
    return f"labels:{milliseconds // _LABEL_BUCKET_MS}"


def next_millisecond(stream: bytes, id_: bytes) -> tuple[bytes, ...] | None:
    """The command after which a stream's ids go on in the next millisecond, where an id says that it is time to."""
    if len(id_) < _CROWDED_ID:  # nearly every one
        return None
    milliseconds, sequence = events.entry_id(id_.decode())
    return (b"XSETID", stream, f"{milliseconds + 1}-0".encode()) if sequence >= CROWDED else None


class Page(NamedTuple):
    """Consecutive entries of a stream, by column: a loop over thousands of them needs no object for each."""

    offsets: list[int]
    fields: list[Raw]


class Streams:
    """One model's streams and facts."""

    def __init__(self, client: redis.Redis, model: str):
        self.client, self.model = client, model
        self._raw = redis.Redis(connection_pool=client.connection_pool)
        for command in ("XRANGE", "XREAD"):
            self._raw.set_response_callback(command, lambda answer, **_: answer)

    def key(self, name: str) -> str:
        return key(self.model, name)

    def append(self, event: Prediction | Feedback) -> str:
        """The new entry's id. Serving has a faster way to the same entry."""
        source = "predictions" if isinstance(event, Prediction) else "feedback"
        return _text(self.client.xadd(self.key(source), {events.FIELD: events.encode(event)}))

    def add_feedback(self, feedback: Feedback, horizon_s: float, rule: Rule = "latest") -> tuple[str, str]:
        """(accepted | duplicate | correction | unknown | limited, feedback id).

        `limited`: the prediction has had `MOST_LABELS` labels; nothing was appended, and the id is the newest one's.
        """
        keys, arguments = feedback_call(self.model, feedback, horizon_s, rule)
        status, id_ = cast(list[bytes], self.client.eval(ADD_FEEDBACK, len(keys), *keys, *arguments))
        return status.decode(), id_.decode()

    def append_shadows(self, shadows: Iterable[tuple[str, Shadow]]) -> int:
        """Appends under the predictions' own ids, in their order; what is already there is refused by Redis itself.

        Returns how many were new.
        """
        pipeline = self.client.pipeline(transaction=False)
        for id_, shadow in shadows:
            pipeline.xadd(self.key("shadows"), {events.FIELD: events.encode(shadow)}, id=id_)
        return self._run_refusing_repeats(pipeline)

    def follow(self, source: Source, after: str, count: int = 1000, block_ms: int | None = None) -> list[Entry]:
        """Up to `count` entries after an id, oldest first; waits up to `block_ms` for the first."""
        found = cast(Any, self.client.xread({self.key(source): after}, count=count, block=block_ms))
        if not found:
            return []
        entries = next(iter(found.values())) if isinstance(found, dict) else found[0][1]
        return [(_text(id_), fields) for batch in _flat(entries) for id_, fields in [batch]]

    def look_up(self, source: Source, ids: Iterable[str]) -> dict[str, Fields]:
        """Fields by id; ids that are not there are absent.

        Labels mostly come in the order of their predictions: one range brings most of a batch at a tenth of the cost of
        asking for each id. What lies elsewhere is asked for one by one, in a second round trip.
        """
        wanted = dict.fromkeys(ids)
        if not wanted:
            return {}
        first, last = min(wanted, key=events.offset), max(wanted, key=events.offset)
        near = cast(list[tuple[bytes, Fields]], self.client.xrange(self.key(source), first, last, 2 * len(wanted)))
        found = {id_: fields for raw, fields in near if (id_ := raw.decode()) in wanted}
        is_whole = len(near) < 2 * len(wanted)  # the range was read to its end: what is missing is not there
        rest = [] if is_whole else [id_ for id_ in wanted if id_ not in found]
        pipeline = self.client.pipeline(transaction=False)
        for id_ in rest:
            pipeline.xrange(self.key(source), id_, id_, count=1)
        answers = cast(list[list[tuple[bytes, Fields]]], pipeline.execute()) if rest else []
        return found | {id_: entries[0][1] for id_, entries in zip(rest, answers, strict=True) if entries}

    def next_page(self, source: Source, after: int, count: int, block_ms: int | None = None) -> Page:
        """Up to `count` entries beyond an offset, oldest first; waits up to `block_ms` for the first."""
        last = events.offset_id(after) if after > 0 else START
        found = cast(Any, self._raw.xread({self.key(source): last}, count=count, block=block_ms))
        return _page(next(iter(found.values())) if isinstance(found, dict) else found[0][1]) if found else _page([])

    def page(self, source: Source, since: int, until: int, count: int | None = None) -> Page:
        """The first `count` entries from one offset through another."""
        first, last = events.offset_id(max(since, 0)), events.offset_id(until)
        return _page(cast(Any, self._raw.xrange(self.key(source), first, last, count)))

    def pick(self, source: Source, offsets: Collection[int]) -> dict[int, Raw]:
        """Entries by offset; those that are not there are absent.

        Labels mostly come in the order of their predictions: one range brings most of a batch at a tenth of the cost of
        asking for each. What lies elsewhere is asked for one by one, in a second round trip.
        """
        if not offsets:
            return {}
        near = self.page(source, min(offsets), max(offsets), 2 * len(offsets))
        found = dict(zip(*near, strict=True))
        rest = set(offsets) - found.keys() if len(near.offsets) == 2 * len(offsets) else ()
        pipeline = self._raw.pipeline(transaction=False)
        for offset in rest:
            pipeline.xrange(self.key(source), events.offset_id(offset), events.offset_id(offset), count=1)
        for answer in pipeline.execute() if rest else ():
            found.update(zip(*_page(answer), strict=True))
        return found

    def scan(self, source: Source, after: str, until: str = "+", count: int = 1000) -> Iterator[Entry]:
        """Entries after one id through another, oldest first, read in pages."""
        start = f"({after}"
        while page := cast(list[tuple[bytes, Fields]], self.client.xrange(self.key(source), start, until, count)):
            for id_, fields in page:
                yield _text(id_), fields
            start = f"({_text(page[-1][0])}"

    def last_id(self, source: Source) -> str:
        """The newest id ever appended, also after a trim; "0-0" when there is none."""
        return _text(self._info(source).get("last-generated-id", START))

    def added(self, source: Source) -> int:
        """Entries ever appended; a reader's lag is this less what it has read."""
        return int(self._info(source).get("entries-added", 0))

    def _info(self, source: Source) -> dict[str, Any]:
        try:
            return self.client.xinfo_stream(self.key(source))
        except redis.ResponseError as error:
            if "no such key" in str(error):
                return {}
            raise

    def length(self, name: str) -> int:
        return self.client.xlen(self.key(name))

    def bury(self, source: Source, id_: str, fields: Fields, reason: str) -> None:
        """Keeps an unreadable entry, once, under its own id."""
        letter = DeadLetter(source, dict(fields), reason)
        pipeline = self.client.pipeline(transaction=False)
        pipeline.xadd(self.key(f"dead:{source}"), {events.FIELD: events.encode(letter)}, id=id_)
        self._run_refusing_repeats(pipeline)

    def dead_letters(self, source: Source, count: int = 100) -> list[tuple[str, DeadLetter]]:
        """The newest dead letters of a stream, newest first."""
        found = cast(list[tuple[bytes, Fields]], self.client.xrevrange(self.key(f"dead:{source}"), count=count))
        return [(_text(id_), events.decode(DeadLetter, fields)) for id_, fields in found]

    def trim(self, source: Source, before: str) -> int:
        """Drops entries below an id; the caller knows that every reader has passed it. Returns how many."""
        return self.client.xtrim(self.key(source), minid=before, approximate=True)

    def mirror(self, decision: Decision) -> None:
        """Shows a ledger line to readers that have no access to the ledger; kept once per seq."""
        pipeline = self.client.pipeline(transaction=False)
        fields: Any = {events.FIELD: msgspec.json.encode(decision)}
        pipeline.xadd(
            self.key("decisions"), fields, id=f"{decision.seq + 1}-0", maxlen=_DECISIONS_KEPT, approximate=True
        )
        self._run_refusing_repeats(pipeline)

    def decisions(self, count: int = 50) -> list[Decision]:
        """The newest ledger lines, newest first."""
        found = cast(list[tuple[bytes, Fields]], self.client.xrevrange(self.key("decisions"), count=count))
        return [msgspec.json.decode(fields[events.FIELD], type=Decision) for _, fields in found]

    def note_revision(self, version: int, last_feedback_id: str, revision: int) -> None:
        """Remembers that a published revision has learned through a feedback id."""
        pipeline = self.client.pipeline(transaction=False)
        name = self.key(f"revisions:{version}")
        pipeline.xadd(name, {"revision": revision}, id=last_feedback_id, maxlen=_REVISIONS_KEPT, approximate=True)
        self._run_refusing_repeats(pipeline)

    def revision_since(self, version: int, feedback_id: str) -> int | None:
        """The first published revision that has learned a feedback, or None when there is none yet."""
        found = cast(Any, self.client.xrange(self.key(f"revisions:{version}"), feedback_id, "+", count=1))
        return int(found[0][1][b"revision"]) if found else None

    def publishing(self) -> dict[str, str]:
        """What a person said of a learner's revisions: "frozen" (publish none), or "accept" (the next one)."""
        found = cast(dict[bytes, bytes], self.client.hgetall(self.key("publishing")))
        return {learner.decode(): said.decode() for learner, said in found.items()}

    def set_publishing(self, learner: str, said: Literal["frozen", "accept"] | None) -> None:
        """None takes back what was said."""
        if said is None:
            self.client.hdel(self.key("publishing"), learner)
        else:
            self.client.hset(self.key("publishing"), learner, said)

    def set_fact(self, name: str, fact: msgspec.Struct) -> None:
        """Publishes what a process knows; see `contracts.facts`."""
        self.client.hset(self.key("facts"), name, msgspec.json.encode(fact))

    def facts(self) -> dict[str, bytes]:
        """Every published fact, as JSON by name."""
        found = cast(dict[bytes, bytes], self.client.hgetall(self.key("facts")))
        return {name.decode(): value for name, value in found.items()}

    def facts_of(self, group: str, kind: type[Fact]) -> dict[str, Fact]:
        """Facts called ``group:NAME``, by name."""
        found = self.facts()
        return {
            name.partition(":")[2]: msgspec.json.decode(fact, type=kind)
            for name, fact in found.items()
            if name.startswith(f"{group}:")
        }

    def fact(self, name: str, kind: type[Fact]) -> Fact | None:
        """One published fact, or None."""
        found = self.client.hget(self.key("facts"), name)
        return msgspec.json.decode(found, type=kind) if found else None

    def _run_refusing_repeats(self, pipeline: Any) -> int:
        """Runs XADDs with given ids; counts the new ones and lets repeats pass, since a replay brings them."""
        new = 0
        for result in pipeline.execute(raise_on_error=False):
            if not isinstance(result, Exception):
                new += 1
            elif "equal or smaller" not in str(result):
                raise result
        return new


def _page(entries: Sequence[Any]) -> Page:
    if not entries:
        return Page([], [])
    ids, fields = zip(*(_flat(entries) if isinstance(entries[0][0], list | tuple) else entries), strict=True)
    return Page(events.offsets(ids), list(fields))


def _flat(entries: Any) -> Iterator[tuple[bytes, Fields]]:
    """RESP3 answers nest one level deeper than RESP2."""
    for entry in entries:
        if entry and isinstance(entry[0], list | tuple):
            yield from entry
        else:
            yield entry


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
