"""`tiltyard models` and `history`: who answers and who challenges, and every decision, for people and for programs."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import redis
from rich.console import Console
from rich.table import Table

from contracts import config, streams
from contracts.config import Model
from contracts.events import Decision
from contracts.facts import ComparisonFacts, LearnFacts, VersionFacts
from contracts.log import Log
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


def table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Table:
    """Rows under a header, without lines."""
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in header:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    return shown
