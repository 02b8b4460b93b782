"""What the page knows of one model: everything that processes have published, read in two round trips."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import redis
from redis.asyncio import Redis

from contracts import approvals, events, streams
from contracts.alarm_facts import AlarmFacts
from contracts.approvals import Approval, Requests
from contracts.events import Decision
from contracts.facts import DriftFacts, GuardFacts, LearnFacts, ServingFacts, ShadowFacts
from contracts.releases import PRIOR_VERSION, Board, Kind

SOURCES: tuple[streams.Source, ...] = ("predictions", "shadows", "feedback")
DECISIONS_READ = 200

Fact = TypeVar("Fact", bound=msgspec.Struct)


class Release(msgspec.Struct, frozen=True):
    """What of a manifest the page shows; the rest is not decoded."""

    learner: str
    kind: Kind
    revision: int
    created_at: float = 0.0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one moment. Facts are None until their process has published one."""

    board: Board = Board()
    releases: dict[int, Release] = {}
    learn: LearnFacts | None = None
    shadow: ShadowFacts | None = None
    watch: DriftFacts | None = None
    alarm: AlarmFacts | None = None
    guard: GuardFacts | None = None
    serving: tuple[ServingFacts, ...] = ()
    decisions: tuple[Decision, ...] = ()
    """Newest first."""
    requests: tuple[Decision, ...] = ()
    """What asked a person and was not answered, at the last look of the gate; `decisions` may be newer."""
    approvals: dict[str, Approval] = {}
    """What people said and no flow has done yet, by id."""
    added: dict[str, int] = {}
    last_ids: dict[str, str] = {}
    dead: dict[str, int] = {}
    unreadable: tuple[str, ...] = ()
    """Names of what was published and cannot be understood, as after an update of only some processes."""

    def learner(self, version: int) -> str:
        """The name of the learner behind a version; "?" when nothing published tells."""
        if version == PRIOR_VERSION:
            return "prior"
        if version in self.releases:
            return self.releases[version].learner
        learn = self.learn
        known = {} if learn is None else {facts.version: facts.learner for facts in learn.versions}
        return known.get(version, "?")


async def read(client: Redis, models: Sequence[str]) -> dict[str, Seen]:
    """What is known of each model. Raises redis.RedisError or OSError when Redis is away."""
    pipeline = client.pipeline(transaction=False)
    for model in models:
        _ask(pipeline, model)
    answers = await pipeline.execute(raise_on_error=False)
    per_model = len(answers) // len(models)
    found = {model: _answers(answers[i * per_model : (i + 1) * per_model]) for i, model in enumerate(models)}
    return {model: _with_releases(seen, await _releases(client, model, seen.board)) for model, seen in found.items()}


def _ask(pipeline: Any, model: str) -> None:
    pipeline.get(streams.key(model, "board"))
    pipeline.hgetall(streams.key(model, "facts"))
    pipeline.xrevrange(streams.key(model, "decisions"), count=DECISIONS_READ)
    pipeline.xrange(streams.key(model, "approvals"))
    for source in SOURCES:
        pipeline.xinfo_stream(streams.key(model, source))
        pipeline.xlen(streams.key(model, f"dead:{source}"))


def _answers(answers: Sequence[Any]) -> Seen:
    board, facts, decisions, said, *rest = [_unless_missing(answer) for answer in answers]
    infos, dead = dict(zip(SOURCES, rest[::2], strict=True)), dict(zip(SOURCES, rest[1::2], strict=True))
    unreadable: list[str] = []
    known = {name.decode(errors="replace"): value for name, value in (facts or {}).items()}
    return Seen(
        board=_decoded("board", board, Board, unreadable) or Board(),
        learn=_decoded("learn", known.get("learn"), LearnFacts, unreadable),
        shadow=_decoded("shadow", known.get("shadow"), ShadowFacts, unreadable),
        watch=_decoded("watch", known.get("watch"), DriftFacts, unreadable),
        alarm=_decoded("alarm", known.get("alarm"), AlarmFacts, unreadable),
        guard=_decoded("guard", known.get("guard"), GuardFacts, unreadable),
        serving=_processes(known, unreadable),
        decisions=_decisions(decisions or (), unreadable),
        requests=(_decoded("requests", known.get("requests"), Requests, unreadable) or Requests()).lines,
        approvals=approvals.readable(said or ()),
        added={source: int((info or {}).get("entries-added", 0)) for source, info in infos.items()},
        last_ids={
            source: _text((info or {}).get("last-generated-id", streams.START)) for source, info in infos.items()
        },
        dead={source: int(count or 0) for source, count in dead.items()},
        unreadable=tuple(unreadable),
    )


def _unless_missing(answer: Any) -> Any:
    """A stream that nobody has written to is no error."""
    if isinstance(answer, redis.ResponseError) and "no such key" in str(answer):
        return None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _decoded(name: str, data: bytes | None, kind: type[Fact], unreadable: list[str]) -> Fact | None:
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        unreadable.append(name)
        return None


def _processes(known: Mapping[str, bytes], unreadable: list[str]) -> tuple[ServingFacts, ...]:
    names = sorted(name for name in known if name.startswith("serving:"))
    found = (_decoded(name, known[name], ServingFacts, unreadable) for name in names)
    return tuple(fact for fact in found if fact is not None)


def _decisions(entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]], unreadable: list[str]) -> tuple[Decision, ...]:
    found = [
        _decoded(f"decision {_text(id_)}", fields.get(events.FIELD, b""), Decision, unreadable)
        for id_, fields in entries
    ]
    return tuple(decision for decision in found if decision is not None)


async def _releases(client: Redis, model: str, board: Board) -> dict[int, Release]:
    if not board.versions:
        return {}
    pipeline = client.pipeline(transaction=False)
    for version in board.versions:
        pipeline.hget(streams.key(model, f"release:{version}"), "manifest")
    manifests = await pipeline.execute()
    found = {
        version: _decoded(f"release {version}", manifest, Release, [])
        for version, manifest in zip(board.versions, manifests, strict=True)
    }
    return {version: release for version, release in found.items() if release is not None}


def _with_releases(seen: Seen, releases: dict[int, Release]) -> Seen:
    return msgspec.structs.replace(seen, releases=releases)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
