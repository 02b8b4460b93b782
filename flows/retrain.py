"""Fits batch learners anew on a window of the log, and enters them as challengers."""

import logging
import time
from collections.abc import Sequence
from importlib.metadata import version as installed
from typing import Any

import msgspec
from prefect import flow
from prefect.artifacts import create_markdown_artifact

from contracts.config import Learner
from contracts.fits import FitFacts, LearnerFits, RetrainFacts
from contracts.lease import LeaseTaken, held
from contracts.log import Examples
from contracts.releases import Golden, Manifest, Release, sha256
from contracts.retrain_rules import Window
from flows import announcing, candidates, deployments, due
from flows.lasting import told_while_it_lasts
from flows.place import Place, place_named
from learners import batch, parity
from learners.export import NotExportable
from registry.promotion import Barred

log = logging.getLogger(__name__)

GOLDEN_ROWS = 16
PARITY_ROWS = 2_000
PENDING = ("collecting", "promote", "ready")


@flow(name="retrain", flow_run_name="retrain {model}", **deployments.PATIENT)
def retrain(
    model: str,
    learner: str | None = None,
    window: Window | None = None,
    window_rows: int | None = None,
    now: bool = False,
) -> list[str]:
    """Fit the batch learners of one model that are due, and enter them as challengers.

    Args:
        model: Name of a table [models.NAME] in tiltyard.toml.
        learner: Fit only this batch learner; empty for all of them.
        window: Fit on this window: "last" (the newest labelled predictions), "all", "drift" (those since the last
            alarm) or "reservoir" (drawn from all); empty for the best of retrain.windows.
        window_rows: Fit on so many labelled predictions, instead of retrain.window_rows.
        now: Fit whether or not a fit is due by retrain.when.
    """
    place = place_named(model)
    try:
        with held(place.client, model, "retrain"):
            lines = fit_all(place, learner, window_rows, window, now)
    except LeaseTaken as error:
        return [str(error)]
    announcing.announce(place)
    create_markdown_artifact("\n".join(f"- {line}" for line in lines), key=f"retrain-{model}".replace("_", "-"))
    return lines


def fit_all(
    place: Place,
    only: str | None = None,
    window_rows: int | None = None,
    window: Window | None = None,
    now: bool = False,
) -> list[str]:
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
    windows = rules.windows if window is None else (window,)
    return [_look(place, name, learner, examples, windows, now) for name, learner in wanted.items()]


def _look(place: Place, name: str, learner: Learner, examples: Examples, windows: Sequence[Window], now: bool) -> str:
    """Fits one learner if it is due; makes known what was decided."""
    facts = place.streams.fact("retrain", RetrainFacts)
    learners = {} if facts is None else facts.learners
    found = due.look(place, name, examples, learners.get(name, LearnerFits()))
    known, line = found.known, f"{name}: {found.sentence}"
    if found.is_due or now:
        line, fit = _fit(place, name, learner, examples, windows)
        if fit is not None:
            through, _ = due.seen(known, examples)
            # Nobody forecast what a fit would save that was asked for by hand.
            before = found.fitting if found.is_due else msgspec.structs.replace(known, awaited=None)
            known = due.entered(before, msgspec.structs.replace(fit, through=through))
    known = msgspec.structs.replace(known, sentence=found.sentence)
    place.streams.set_fact("retrain", RetrainFacts(at=time.time(), learners={**learners, name: known}))
    log.info("looked learner=%s due=%s outcome=%s", name, found.is_due, line)
    return line


def _fit(
    place: Place, name: str, learner: Learner, newest: Examples, windows: Sequence[Window]
) -> tuple[str, FitFacts | None]:
    """What became of it, and the fit, where it became a version."""
    waiting = _undecided(place, name)
    if waiting is not None:
        return f"{name}: version {waiting} is still collecting its first evidence; not fitted again.", None
    try:
        with told_while_it_lasts(f"{name}: fitting"):
            tried = candidates.fit(place, learner, newest, windows, lambda text: log.info("%s: %s", name, text))
        fitted = tried.fitted
        onnx = batch.export(fitted)
        checked = parity.require_parity(name, onnx, fitted.scores, place.schema, tried.examples.rows[-PARITY_ROWS:])
        version, line = _enter(place, name, tried, onnx, checked)
    except (batch.CannotFit, NotExportable, Barred) as error:
        place.roles.ledger.append("refused", None, f"{name}: {error}", cause="retrain", numbers={"learner": name})
        return f"{name}: {error}", None
    rows, last = fitted.fitted_rows, newest.offsets[-1]
    return line, FitFacts(version=version, through=0, offset=last, rows=rows, seconds=tried.seconds, at=time.time())


def _enter(place: Place, name: str, tried: candidates.Tried, onnx: bytes, checked: parity.Parity) -> tuple[int, str]:
    """Registers what was fitted and enrols it; the version of the same learner before it leaves the shadow."""
    fitted, examples = tried.fitted, tried.examples
    lineage = {f"delta_{table}": version for table, version in examples.versions.items()}
    window: dict[str, Any] = {
        "first_offset": examples.offsets[0],
        "fitted_through": examples.offsets[fitted.fitted_rows - 1],  # the rest was held out
        "last_offset": examples.offsets[-1],
        "rows": len(examples),
    }
    if tried.losses:
        window["window"] = tried.window
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
        f"({_told(fitted.metrics)} on the newest {fitted.held_out_rows:,}, "
        f"{_chosen(tried) if tried.losses else 'which it never saw'})."
    )
    release = Release(msgspec.structs.replace(manifest, version=version), onnx)
    numbers: dict[str, Any] = {"metrics": fitted.metrics, "training_set": lineage | window}
    numbers["parity"] = {"rows": checked.rows, "max_abs_difference": checked.max_abs_difference}
    numbers["seconds"] = tried.seconds
    if tried.losses:
        numbers["windows"] = tried.losses
    older = _of_learner(place, name)
    place.roles.enrol(release, reason, cause="retrain", numbers=numbers)
    for one in older:
        if one != version:
            place.roles.retire(one, f"Superseded by version {version}, a newer fit of {name}.", cause="retrain")
    return version, f"{name}: version {version}. {reason}"


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


def _chosen(tried: candidates.Tried) -> str:
    """Which window won, by what loss, before it was fitted on those too."""
    losses = ", ".join(f"{window} {loss:.4g}" for window, loss in tried.losses.items())
    return f'before they were fitted on too; the window "{tried.window}" did best there: {losses}'


def _told(metrics: dict[str, float]) -> str:
    name = "accuracy" if "accuracy" in metrics else "mae"
    return f"{name} {metrics[name]:.3f}, {metrics[f'baseline_{name}']:.3f} for the simplest guess"
