"""`tiltyard status`, `models` and `history`: what an instance knows of itself, for people and for programs."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import redis
from rich.console import Console
from rich.table import Table

from contracts import config, streams
from contracts.config import Model
from contracts.events import Decision
from contracts.facts import ComparisonFacts, DriftFacts, LearnFacts, ServingFacts, ShadowFacts, VersionFacts
from contracts.log import Log
from contracts.releases import PRIOR_VERSION, Board, Releases
from contracts.settings import Settings
from contracts.streams import Streams
from serving import page_learners, page_words
from serving.page_facts import Release, Seen
from serving.page_learners import Standing
from tiltyard import instance

_STALE_S = 10.0
_LEARNERS = ("learner", "state", "learned", "behind", "version", "published", "last feedback")
_COSTS = ("learner", "checkpoint", "publishing", "memory", "snapshots", "corrections", "state hash")
_COUNTS = ("orphans", "duplicates", "corrections", "late", "uncovered", "timed_out", "pending", "matured")


def status(state: Path | None, as_json: bool) -> None:
    """Prints what each learner has learned and how the streams flow. Raises ConfigError or redis.RedisError."""
    chosen = instance.find(state)
    found = collect(chosen)
    if as_json:
        print(json.dumps(found))
        return
    console = Console()
    console.print(f"page {chosen.serving_url}/", highlight=False)
    for name, model in found["models"].items():
        console.print(f"\n[bold]{name}[/bold]: {_who_answers(model)}", highlight=False)
        for warning in model["warnings"]:
            console.print(f"! {warning}", style="bold yellow", markup=False, highlight=False)
        for note in model["notes"]:
            console.print(note, markup=False, highlight=False)
        header = ("stream", "entries", "behind", "dead letters")
        for table in (
            _table(_LEARNERS, _learners(model)),
            _table(_COSTS, _costs(model)),
            _table(header, _flows(model)),
        ):
            console.print(table)
            console.print()
        console.print(_labels(model), highlight=False)


def collect(chosen: Settings) -> dict[str, Any]:
    """Everything of `status --json`: `models.NAME` with champion, challengers, learners, streams, labels, processes."""
    models = config.load(chosen.config).models
    with streams.connect(chosen.redis_url) as client:
        return {"at": time.time(), "models": {name: _model(client, name, models[name]) for name in models}}


def _model(client: redis.Redis, name: str, model: Model) -> dict[str, Any]:
    kept, releases, now = Streams(client, name), Releases(client, name), time.time()
    learn, board = kept.fact("learn", LearnFacts), releases.board()
    seen = Seen(
        board=board,
        releases={version: one for version in board.versions if (one := _release(releases, version)) is not None},
        learn=learn,
        decisions=tuple(kept.decisions(200)),
    )
    standing = {one.name: one for one in page_learners.standings(seen, model, now)}
    labels = (*_COUNTS, "examples", "amendments", "journal_bytes", "delay_s", "delays")
    return {
        "champion": board.champion,
        "challengers": list(board.challengers),
        "previous": board.previous,
        "learners": {} if learn is None else {n: _learner(n, seen, standing[n]) for n in learn.learners},
        "warnings": list(page_learners.warnings(name, model, seen, now)),
        "notes": [
            *page_learners.notes(name, seen, now),
            *(f"{one.name}: {one.rebuilding}." for one in standing.values() if one.rebuilding),
        ],
        "streams": _streams(kept, learn),
        "labels": {} if learn is None else {label: getattr(learn, label) for label in labels},
        "processes": _processes(kept, learn),
        "drift": msgspec.to_builtins(kept.fact("watch", DriftFacts)),
    }


def _release(releases: Releases, version: int) -> Release | None:
    one = releases.manifest(version)
    return None if one is None else Release(one.learner, one.kind, one.revision, one.created_at)


def _learner(name: str, seen: Seen, standing: Standing) -> dict[str, Any]:
    """A learner's facts, what is public of it, and the words for both."""
    assert seen.learn is not None
    facts = seen.learn.learners[name]
    release = None if facts.version is None else seen.releases.get(facts.version)
    return {
        **msgspec.to_builtins(facts),
        "behind": page_learners.behind(facts, seen.learn),
        "published_revision": None if release is None else release.revision,
        "published_at": None if release is None else release.created_at,
        "shown": asdict(standing),
    }


def _streams(kept: Streams, learn: LearnFacts | None) -> dict[str, dict[str, int]]:
    """Entries ever appended, entries that their reader has not read yet, and those that nobody could read."""
    added = {source: kept.added(source) for source in ("predictions", "shadows", "feedback")}
    dead = {source: kept.length(f"dead:{source}") for source in added}
    behind = {
        "predictions": added["predictions"] - added["shadows"] - dead["predictions"],
        "feedback": added["feedback"] - (learn.feedback if learn else 0),
        "shadows": 0,
    }
    return {
        source: {"added": added[source], "lag": max(0, behind[source]), "dead_letters": dead[source]}
        for source in added
    }


def _processes(kept: Streams, learn: LearnFacts | None) -> dict[str, Any]:
    """Seconds since each process was heard of."""
    now, facts = time.time(), kept.facts()
    shadow = kept.fact("shadow", ShadowFacts)
    serving = [msgspec.json.decode(fact, type=ServingFacts) for n, fact in facts.items() if n.startswith("serving:")]
    return {
        "serving": [{**msgspec.to_builtins(one), "silent_s": now - one.at} for one in serving],
        "shadow": None if shadow is None else {**msgspec.to_builtins(shadow), "silent_s": now - shadow.at},
        "learn": None if learn is None else {"silent_s": now - learn.at},
    }


def _who_answers(model: dict[str, Any]) -> str:
    champion = model["champion"]
    who = {None: "nobody answers yet", PRIOR_VERSION: "the prior answers"}.get(champion, f"version {champion} answers")
    challengers = ", ".join(str(version) for version in model["challengers"]) or "nobody"
    silent = [
        f"{name} has been silent for {told['silent_s']:.0f} s"
        for name, told in model["processes"].items()
        if isinstance(told, dict) and told["silent_s"] > _STALE_S
    ]
    return "; ".join([who, f"in shadow: {challengers}", *silent])


def _learners(model: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, learner in model["learners"].items():
        shown = learner["shown"]
        state = ", ".join(shown["states"])
        version = "none yet" if learner["version"] is None else str(learner["version"])
        published = f"{shown['published']}, {shown['published_note']}".removesuffix(", ")
        yield name, state, shown["learned"], shown["behind"], version, published, learner["last_feedback_id"]


def _costs(model: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, learner in model["learners"].items():
        yield name, *(learner["shown"][cost.replace(" ", "_")] for cost in _COSTS[1:])


def _flows(model: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, told in model["streams"].items():
        yield name, str(told["added"]), str(told["lag"]), str(told["dead_letters"])


def _labels(model: dict[str, Any]) -> str:
    labels = model["labels"]
    if not labels:
        return "The learn flow has not been heard of."
    told = ", ".join(f"{name.replace('_', ' ')} {page_words.count(labels[name])}" for name in _COUNTS)
    journal = f"{page_words.count(labels['examples'])} examples ({page_words.size(labels['journal_bytes'])})"
    told += f"\njournal: {journal}, {page_words.count(labels['amendments'])} amended"
    if labels["delay_s"] is None:
        return told
    median, p90, p99 = (page_words.duration(delay) for delay in labels["delay_s"])
    return f"{told}\nlabel delay: half within {median}, 90 % within {p90}, 99 % within {p99}"


def models(state: Path | None, as_json: bool) -> None:
    """Prints champion and challengers of each model with their evidence. Raises ConfigError or redis.RedisError."""
    chosen = instance.find(state)
    known = config.load(chosen.config).models
    with streams.connect(chosen.redis_url) as client:
        found = {name: _versions(client, name, model) for name, model in known.items()}
    if as_json:
        print(json.dumps(found))
        return
    console = Console()
    for name, versions in found.items():
        console.print(f"[bold]{name}[/bold] {known[name].title}", highlight=False)
        header = ("version", "role", "learner", "revision", "labelled", "loss", "accuracy", "against the champion")
        console.print(_table(header, (_version_row(one) for one in versions)))


def _versions(client: redis.Redis, name: str, model: Model) -> list[dict[str, Any]]:
    kept, releases = Streams(client, name), Releases(client, name)
    board, learn = releases.board(), kept.fact("learn", LearnFacts)
    known = {one.version: one for one in learn.versions} if learn else {}
    against = {one.challenger: one for one in learn.comparisons if one.champion == board.champion} if learn else {}
    return [_version(releases, board, version, known.get(version), against.get(version)) for version in board.versions]


def _version(
    releases: Releases, board: Board, version: int, known: VersionFacts | None, against: ComparisonFacts | None
) -> dict[str, Any]:
    manifest = releases.manifest(version)
    role = "champion" if version == board.champion else "previous" if version == board.previous else "challenger"
    return {
        "version": version,
        "role": role,
        "learner": manifest.learner if manifest else None,
        "kind": manifest.kind if manifest else None,
        "revision": manifest.revision if manifest else None,
        "created_at": manifest.created_at if manifest else None,
        "n": known.n if known else 0,
        "loss": known.loss if known else None,
        "accuracy": known.accuracy if known else None,
        "decision": against.decision if against else None,
        "reason": against.reason if against else None,
        "gain": against.gain if against else None,
        "log_e": against.log_e if against else None,
        "needed": against.needed if against else None,
        "pairs": against.n if against else 0,
    }


def _version_row(one: dict[str, Any]) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4f}"

    return (
        str(one["version"]), one["role"], str(one["learner"]), str(one["revision"]), str(one["n"]),
        number(one["loss"]), number(one["accuracy"]), one["reason"] or "",
    )  # fmt: skip


def history(state: Path | None, model: str | None, limit: int | None, as_json: bool) -> bool:
    """Prints the ledger; False when its chain of hashes is broken. Needs nothing but the state folder."""
    from registry.ledger import Ledger

    chosen = instance.find(state)
    known = config.load(chosen.config)
    chain = True
    shown: list[Decision] = []
    with streams.connect(chosen.redis_url) as client:
        for name in [model] if model else known.models:
            log = Log(chosen.log_folder, name, known.model(name).schema)
            ledger = Ledger(log, Streams(client, name))
            shown += ledger.read()
            broken = ledger.verify()
            chain = chain and broken is None
            if not as_json and broken is not None:
                print(f"{name}: the chain of hashes is broken at line {broken}: somebody changed the ledger's files")
    shown.sort(key=lambda line: (line.at, line.seq))
    shown = shown[-limit:] if limit else shown
    if as_json:
        print(json.dumps({"chain_holds": chain, "decisions": msgspec.to_builtins(shown)}))
    else:
        for line in shown:
            print(_line(line))
        print(f"{len(shown)} lines; the chain of hashes {'holds' if chain else 'is BROKEN'}")
    return chain


def _line(line: Decision) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.at))
    version = "" if line.version is None else f" version {line.version}"
    return f"{at}  {line.model} {line.seq}  {line.kind}{version} ({line.cause}): {line.reason}"


def _table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in header:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    return shown
