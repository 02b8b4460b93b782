"""Fits batch learners anew on a window of the log, and enters them as challengers."""

import logging
import time
from importlib.metadata import version as installed
from typing import Any

import msgspec
from prefect import flow
from prefect.artifacts import create_markdown_artifact

from contracts.config import Learner
from contracts.lease import LeaseTaken, held
from contracts.log import Examples
from contracts.releases import Golden, Manifest, Release, sha256
from flows.place import Place, place_named
from learners import batch, parity
from learners.export import NotExportable
from registry.promotion import Barred

log = logging.getLogger(__name__)

GOLDEN_ROWS = 16
PARITY_ROWS = 2_000
PENDING = ("collecting", "promote", "ready")


@flow(name="retrain", flow_run_name="retrain {model}")
def retrain(model: str, learner: str | None = None, window_rows: int | None = None) -> list[str]:
    """Fit the batch learners of one model on the newest labelled predictions and enter them as challengers.

    Args:
        model: name of a table [models.NAME] in tiltyard.toml.
        learner: fit only this one.
        window_rows: fit on so many of the newest labelled predictions, instead of retrain.window_rows.
    """
    place = place_named(model)
    try:
        with held(place.client, model, "retrain"):
            lines = fit_all(place, learner, window_rows)
    except LeaseTaken as error:
        return [str(error)]
    create_markdown_artifact("\n".join(f"- {line}" for line in lines), key=f"retrain-{model}".replace("_", "-"))
    return lines


def fit_all(place: Place, only: str | None = None, window_rows: int | None = None) -> list[str]:
    """One line for each batch learner: the version it became, or why it did not become one.

    Raises registry.versions.Unavailable.
    """
    rules = place.model.retrain
    wanted = {
        name: learner for name, learner in place.model.learners_of("batch").items() if only is None or name == only
    }
    if not wanted:
        return [f"No batch learner {'is configured' if only is None else f'is called {only}'}."]
    examples = place.examples(window_rows or rules.window_rows, time.time())
    if len(examples) < rules.min_rows:
        return [f"{len(examples):,} labelled predictions in the log; {rules.min_rows:,} are needed (retrain.min_rows)."]
    return [_fit(place, name, learner, examples) for name, learner in wanted.items()]


def _fit(place: Place, name: str, learner: Learner, examples: Examples) -> str:
    waiting = _undecided(place, name)
    if waiting is not None:
        return f"{name}: version {waiting} is still collecting its first evidence; not fitted again."
    try:
        fitted = batch.fit(
            learner,
            place.schema,
            examples.rows,
            examples.labels,
            learner.seed,
            place.model.retrain.holdout,
            lambda text: log.info("%s: %s", name, text),
        )
        onnx = batch.export(fitted)
        checked = parity.require_parity(name, onnx, fitted.scores, place.schema, examples.rows[-PARITY_ROWS:])
        return _enter(place, name, fitted, onnx, checked, examples)
    except (batch.CannotFit, NotExportable, Barred) as error:
        place.roles.ledger.append("refused", None, f"{name}: {error}", cause="retrain", numbers={"learner": name})
        return f"{name}: {error}"


def _enter(
    place: Place, name: str, fitted: batch.Fitted, onnx: bytes, checked: parity.Parity, examples: Examples
) -> str:
    """Registers what was fitted and enrols it; the version of the same learner before it leaves the shadow."""
    lineage = {f"delta_{table}": version for table, version in examples.versions.items()}
    window = {
        "first_offset": examples.offsets[0],
        "fitted_through": examples.offsets[fitted.fitted_rows - 1],  # the rest was held out
        "last_offset": examples.offsets[-1],
        "rows": len(examples),
    }
    manifest = _manifest(place, name, fitted, onnx, examples)
    version = place.registry.register(
        onnx,
        manifest,
        params={"algorithm": fitted.learner.named, "seed": fitted.seed, **fitted.learner.params},
        metrics={**fitted.metrics, "parity_max_abs_difference": checked.max_abs_difference},
        tags={**lineage, **window, "code": f"tiltyard {installed('tiltyard')}", "parity_rows": checked.rows},
        estimator=fitted.pipeline,
        key=f"batch:{name}:{fitted.seed}:" + ":".join(str(part) for part in [*lineage.values(), *window.values()]),
    )
    reason = (
        f"{name}, fitted on {fitted.fitted_rows:,} labelled predictions, joins as a challenger "
        f"({_told(fitted.metrics)} on the newest {fitted.held_out_rows:,}, which it never saw)."
    )
    release = Release(msgspec.structs.replace(manifest, version=version), onnx)
    numbers: dict[str, Any] = {"metrics": fitted.metrics, "training_set": lineage | window}
    numbers["parity"] = {"rows": checked.rows, "max_abs_difference": checked.max_abs_difference}
    older = _of_learner(place, name)
    place.roles.enrol(release, reason, cause="retrain", numbers=numbers)
    for one in older:
        if one != version:
            place.roles.retire(one, f"Superseded by version {version}, a newer fit of {name}.", cause="retrain")
    return f"{name}: version {version}. {reason}"


def _manifest(place: Place, name: str, fitted: batch.Fitted, onnx: bytes, examples: Examples) -> Manifest:
    rows = tuple(examples.rows[-GOLDEN_ROWS:])
    return Manifest(
        model=place.name,
        version=-1,
        kind="batch",
        learner=name,
        revision=0,
        schema=place.schema.fingerprint,
        onnx_sha256=sha256(onnx),
        created_at=time.time(),
        since=place.streams.last_id("predictions"),
        golden=Golden(rows, tuple(tuple(scores) for scores in fitted.scores(rows).tolist()), parity.BATCH_TOLERANCE),
    )


def _of_learner(place: Place, name: str) -> list[int]:
    """Versions of a batch learner that shadow now, the one under probation excepted."""
    board = place.releases.board()
    return [
        version
        for version in board.challengers
        if version != board.previous and (found := place.releases.manifest(version)) and found.learner == name
    ]


def _undecided(place: Place, name: str) -> int | None:
    """A version of the learner that a newer one would rob of its chance: replacing each before it has
    `gate.min_matured` pairs would keep every one of them from ever being decided."""
    facts = place.learn_facts()
    decisions = {c.challenger: c.decision for c in facts.comparisons} if facts else {}
    return next((one for one in _of_learner(place, name) if decisions.get(one, "collecting") in PENDING), None)


def _told(metrics: dict[str, float]) -> str:
    name = "accuracy" if "accuracy" in metrics else "mae"
    return f"{name} {metrics[name]:.3f}, {metrics[f'baseline_{name}']:.3f} for the simplest guess"
