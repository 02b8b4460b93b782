"""The end of a demo: what happened, whether it was all that should, and `summary.json`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from contracts import streams
from contracts.config import Config
from contracts.events import Decision
from contracts.facts import DriftFacts, LearnFacts
from contracts.log import Log
from contracts.releases import Releases
from contracts.settings import Settings
from contracts.streams import Streams
from data.record import Result
from data.streams import Stream
from learners.batch import CannotFit
from registry.ledger import Ledger
from tiltyard import summary as worth
from tiltyard.supervisor import Supervisor

FILE = "summary.json"
_LEAST = 0.99


def summary(
    chosen: Settings,
    models: Config,
    stream: Stream,
    result: Result,
    supervisor: Supervisor,
    wanted: int,
    is_default: bool,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Everything that `summary.json` holds but the time that it took. Raises redis.RedisError."""
    name, model = next(iter(models.models.items()))
    log = Log(chosen.log_folder, name, model.schema)
    with streams.connect(chosen.redis_url) as client:
        kept = Streams(client, name)
        ledger = Ledger(log, kept)
        lines, chain_holds = ledger.read(), ledger.verify() is None
        learn, drift = kept.fact("learn", LearnFacts), kept.fact("watch", DriftFacts)
        added = {source: kept.added(source) for source in ("predictions", "shadows", "feedback")}
        names = _names(Releases(client, name), learn)
    try:
        compared = worth.compare(log, model, names)
        versions = worth.by_version(log, names)
    except (CannotFit, ValueError) as error:
        say(f"Nothing can be compared: {error}")
        compared, versions = None, {}
    promotions = worth.promotions(lines)
    told: dict[str, Any] = {
        "stream": stream.name,
        "description": stream.description,
        "provenance": stream.provenance,
        "real": stream.real,
        "measure": compared.measure if compared else None,
        "predictions": result.answered,
        "feedback": sum(result.feedback.values()),
        "accuracy": result.accuracy,
        "mean_loss": result.mean_loss,
        "versions": {str(version): numbers for version, numbers in versions.items()},
        "promotions": promotions,
        "bootstrap": worth.bootstraps(lines),
        "rows": compared.rows if compared else 0,
        "stretches": compared.bounds if compared else [],
        "served": compared.served.told() if compared else None,
        "baselines": _baselines(compared),
        "learners": {line.name: line.told() for line in compared.learners} if compared else {},
        "label_delay_s": _delay(learn),
        "restarts": {n: running.restarts for n, running in supervisor.running.items() if running.restarts},
        "replay": result.summary(),
        "drift": drift.sentence or drift.waiting if drift else None,
        "links": _links(chosen, name, drift),
        "state": str(chosen.state),
        "decisions": len(lines),
    }
    told["checks"] = checks(result, wanted, learn, added, log, lines, chain_holds, promotions, is_default)
    told["complete"] = all(check["ok"] for check in told["checks"])
    return told


def checks(
    result: Result,
    wanted: int,
    learn: LearnFacts | None,
    added: dict[str, int],
    log: Log,
    lines: list[Decision],
    chain_holds: bool,
    promotions: list[dict[str, Any]],
    is_default: bool,
) -> list[dict[str, Any]]:
    """What the loop should have done, and whether it did."""
    accepted = sum(count for status, count in result.feedback.items() if status not in ("unknown", "refused"))
    learned, joined = (learn.feedback, learn.joined) if learn else (0, 0)
    covered = 1 - learn.uncovered / max(1, joined) if learn else 0.0
    logged_share = 1 - result.unlogged / max(1, result.answered)
    logged = {table: log.rows(table).num_rows for table in ("predictions", "labels")}
    found = [
        (f"every one of {wanted:,} rows was asked", result.asked == wanted, f"{result.asked:,}"),
        ("every question was answered", result.answered == result.asked, f"{result.answered:,}"),
        # Answers go on without the log, by design; here it was there, save for a moment on a busy machine.
        ("answers were logged before they were given", logged_share >= _LEAST, f"{result.unlogged:,} were not"),
        ("every label was accepted", accepted == result.answered - result.unlogged, f"{accepted:,}"),
        ("every accepted label was learned", learned == added["feedback"] == joined, f"{joined:,}"),
        (
            "challengers were asked every question too",
            added["shadows"] == added["predictions"],
            f"{added['shadows']:,}",
        ),
        ("labels waited for the shadow scores", covered >= _LEAST, f"{covered:.1%}"),
        (
            "the durable log has it all",
            logged == _expected(added),
            f"{logged['predictions']:,} and {logged['labels']:,}",
        ),
        ("the ledger's chain of hashes holds", chain_holds, f"{len(lines)} lines"),
    ]
    if is_default:
        promoted = [one for one in promotions if one["kind"] == "promoted"]
        found.append(("evidence has decided a promotion", bool(promoted), f"{len(promoted)}"))
    return [{"what": what, "ok": bool(ok), "found": told} for what, ok, told in found]


def write(state: Path, told: dict[str, Any]) -> None:
    (state / FILE).write_text(json.dumps(msgspec.to_builtins(told), indent=2) + "\n")


def _expected(added: dict[str, int]) -> dict[str, int]:
    return {"predictions": added["predictions"], "labels": added["feedback"]}


def _names(releases: Releases, learn: LearnFacts | None) -> dict[int, str]:
    """The learner of each version, in the order of versions."""
    names = {version.version: version.learner for version in learn.versions} if learn else {}
    for version in releases.board().versions:
        if manifest := releases.manifest(version):
            names[version] = manifest.learner
    return {version: names[version] for version in sorted(names) if version and names[version] != "?"}


def _baselines(compared: worth.Compared | None) -> dict[str, Any]:
    if compared is None:
        return {}
    retrained = {**compared.retrained.told(), "what": compared.retrained.name, "refits": compared.refits}
    return {"never_updated": compared.never_updated.told(), "nightly_retrain": retrained}


def _delay(learn: LearnFacts | None) -> dict[str, float] | None:
    if learn is None or learn.delay_s is None:
        return None
    return dict(zip(("median", "p90", "p99"), learn.delay_s, strict=True))


def _links(chosen: Settings, name: str, drift: DriftFacts | None) -> dict[str, str]:
    links = {
        "page": f"{chosen.serving_url}/",
        "api": f"{chosen.serving_url}/docs",
        "mlflow": f"{chosen.mlflow_url}/#/models/{name}",
        "prefect": f"{chosen.prefect_url.removesuffix('/api')}/runs",
    }
    if drift is not None and drift.report:
        links["drift report"] = f"{chosen.serving_url}/reports/{name}/{drift.report}"
    return links
