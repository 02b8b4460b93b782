"""`tiltyard models`: who answers and who challenges, for people and for programs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from rich.console import Console
from rich.table import Table

from contracts import config, streams
from contracts.config import Model
from contracts.facts import ComparisonFacts, LearnFacts, VersionFacts
from contracts.releases import Board, Releases
from contracts.streams import Streams
from tiltyard import instance


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
        console.print(table(header, (_version_row(one) for one in versions)))


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


def table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Table:
    """Rows under a header, without lines."""
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in header:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    return shown
