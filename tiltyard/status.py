"""`tiltyard status`: how each learner stands, who answers, and whether the streams flow."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import redis
from rich.console import Console

from contracts import config, streams
from contracts.config import Model
from contracts.facts import DriftFacts, GuardFacts, LearnFacts, ServingFacts, ShadowFacts
from contracts.log import Log
from contracts.releases import PRIOR_VERSION, Releases
from contracts.settings import Settings
from contracts.streams import Streams
from registry.ledger import Ledger
from serving import page_learners, page_words
from serving.page_facts import Release, Seen
from serving.page_learners import Standing
from tiltyard import approvals, instance
from tiltyard.report import table

_STALE_S = 10.0
_LEARNERS = ("learner", "state", "learned", "behind", "version", "published", "last feedback")
_COSTS = ("learner", "checkpoint", "publishing", "memory", "snapshots", "corrections", "state hash")
_STREAMS = ("stream", "entries", "behind", "dead letters")
_COUNTS = ("orphans", "duplicates", "corrections", "late", "uncovered", "timed_out", "pending", "matured")


def show(state: Path | None, as_json: bool) -> None:
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
        for warning in [*model["requests"], *model["warnings"]]:
            console.print(f"! {warning}", style="bold yellow", markup=False, highlight=False)
        for note in model["notes"]:
            console.print(note, markup=False, highlight=False)
        told = ((_LEARNERS, _learners(model)), (_COSTS, _costs(model)), (_STREAMS, _flows(model)))
        for header, rows in told:
            console.print(table(header, rows))
            console.print()
        console.print(_labels(model), highlight=False)


def collect(chosen: Settings) -> dict[str, Any]:
    """Everything of `status --json`: `models.NAME` with champion, challengers, learners, streams, labels, processes."""
    models = config.load(chosen.config).models
    with streams.connect(chosen.redis_url) as client:
        return {"at": time.time(), "models": {name: _model(chosen, client, name, models[name]) for name in models}}


def _model(chosen: Settings, client: redis.Redis, name: str, model: Model) -> dict[str, Any]:
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
        "requests": _requests(chosen, kept, name, model),
        "warnings": [
            *page_learners.warnings(name, model, seen, now),
            *(line.reason for line in seen.decisions if line.kind == "deleted" and line.version in board.versions),
            *_of_champion(kept, learn),
        ],
        "notes": [
            *page_learners.notes(name, seen, now),
            *(f"{one.name}: {one.rebuilding}." for one in standing.values() if one.rebuilding),
        ],
        "streams": _streams(kept, learn),
        "labels": {} if learn is None else {label: getattr(learn, label) for label in labels},
        "processes": _processes(kept, learn),
        "drift": msgspec.to_builtins(kept.fact("watch", DriftFacts)),
    }


def _of_champion(kept: Streams, learn: LearnFacts | None) -> Iterator[str]:
    """Why the champion should perhaps not answer, while it does."""
    guard = kept.fact("guard", GuardFacts)
    if guard is not None and guard.alert:
        yield guard.alert
    watch = learn.champion if learn is not None else None
    if watch is not None and watch.worse_than_itself_at is not None and watch.limit is not None:
        yield (
            f"The champion does worse than it did: its loss is above the {watch.limit:.1%} of its range that its first "
            "labels allow, and nobody else is shown to be better."
        )


def _requests(chosen: Settings, kept: Streams, name: str, model: Model) -> list[str]:
    """What waits for a person; from the ledger itself, which also knows what is older than the page shows."""
    if model.gate.approval == "automatic":
        return []
    return approvals.open_requests(name, Ledger(Log(chosen.log_folder, name, model.schema), kept).read())


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
    shadow, guard = kept.fact("shadow", ShadowFacts), kept.fact("guard", GuardFacts)
    serving = [msgspec.json.decode(fact, type=ServingFacts) for n, fact in facts.items() if n.startswith("serving:")]
    return {
        "serving": [{**msgspec.to_builtins(one), "silent_s": now - one.at} for one in serving],
        "shadow": None if shadow is None else {**msgspec.to_builtins(shadow), "silent_s": now - shadow.at},
        "learn": None if learn is None else {"silent_s": now - learn.at},
        "guard": None if guard is None else {**msgspec.to_builtins(guard), "silent_s": now - guard.at},
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
