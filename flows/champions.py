"""What a drift report asks of the champion: what it was made from, how it answers, how good it is, what it goes by."""

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from contracts import events
from contracts.config import Model
from contracts.quantities import seconds
from contracts.releases import PRIOR_VERSION, Board, Manifest
from contracts.schema import Value
from drift import quality, shelf, sketches, windows
from drift.quality import Labelled
from drift.report import Champion
from drift.sketches import Sketch
from drift.windows import Offsets, Origin
from flows.place import Place
from learners import importance
from learners.importance import Importance, Loss, Score
from learners.metrics import measure
from registry.losses import loss_named

log = logging.getLogger(__name__)

_KEPT = 32  # files of importance, of some hundred bytes

Scores = Sequence[list[float] | None]
"""One version's, by row; None where it has none, or was fitted on the row."""


@dataclass(frozen=True)
class Reigning:
    """The version that answers and what it was made from; None where that is nobody, or the prior."""

    version: int | None
    manifest: Manifest | None
    origin: Origin


@dataclass(frozen=True)
class Judged:
    """Rows of a window with a version's scores float64[n, k], and class indices or values float64[n]."""

    rows: list[tuple[Value, ...]]
    scores: np.ndarray
    targets: np.ndarray


def reigning(place: Place) -> Reigning:
    """The champion of this moment."""
    board = place.releases.board()
    manifest = place.releases.manifest(board.champion) if board.champion else None
    version = None if board.champion == PRIOR_VERSION else board.champion
    return Reigning(version, manifest, Origin() if manifest is None else _origin(place, board, manifest))


def _origin(place: Place, board: Board, manifest: Manifest) -> Origin:
    """A batch version's is its training set, an online one's all that it was asked before it became champion."""
    if manifest.kind == "online":
        return Origin(last=events.offset(board.since), fitted_through=-1)
    for line in reversed(place.roles.ledger.read()):
        training = line.numbers.get("training_set")
        if line.kind == "enrolled" and line.version == manifest.version and training:
            return Origin(training["first_offset"], training["last_offset"], training.get("fitted_through"))
    return Origin(last=events.offset(manifest.since))


def unseen(origin: Origin, reference: Offsets) -> Offsets:
    """The rows of a reference that the champion was not fitted on."""
    through = origin.last if origin.fitted_through is None else origin.fitted_through
    return reference[reference > through]


def known(
    place: Place, champion: Reigning, reference: Sketch | None, current: Sketch, after: int, now: float
) -> Champion:
    """What the report says of the champion. `reference` holds rows that it was not fitted on; None where none are.

    Scores are as logged. A batch version also scores the rows that were held out when it was fitted: it is frozen, and
    gives what it would have given then. Its quality now is that of the newest matured labels beyond the offset `after`.
    """
    if champion.version is None or champion.manifest is None:
        return Champion()
    score, rules = _scorer(place, champion.version), place.model.drift
    before = _scored(place, reference, score if champion.manifest.kind == "batch" else None)
    lately = _newest_matured(place, champion.version, after, now)
    windows_ = [
        _judged(place, reference, before, now),
        _judged(place, lately, lately.scores() if lately else (), now),
    ]
    notes = tuple(_too_few(windows_, rules.min_rows))
    given = [[one for one in side if one is not None] for side in (before, current.scores())]
    name, loss = _loss_of(place.model)
    return Champion(
        answers=(np.array(given[0]), np.array(given[1])) if min(map(len, given)) >= rules.min_rows else None,
        quality=None if notes else quality.quality(name, *(_losses(place, one, loss) for one in windows_)),
        importance=_importance(place, champion.manifest, score, windows_, name, loss),
        notes=notes,
    )


def _scorer(place: Place, version: int) -> Score | None:
    release = place.releases.fetch(version)
    return None if release is None else importance.scorer(release)


def _scored(place: Place, sketch: Sketch | None, score: Score | None) -> Scores:
    """Scores as logged, and those of `score` where nothing was."""
    found = [] if sketch is None else sketch.scores()
    missing = [i for i, scores in enumerate(found) if scores is None]
    if score is not None and sketch is not None and missing:
        rows = sketch.examples(place.schema)
        answers = score(place.schema.tensors([rows[i] for i in missing])).tolist()
        for i, scores in zip(missing, answers, strict=True):
            found[i] = scores
    return found


def _newest_matured(place: Place, version: int, after: int, now: float) -> Sketch | None:
    """The current window of what has matured: labels that come quickly are not like those that come late."""
    until, rules = events.span(now - seconds(place.model.gate.maturity)), place.model.drift
    is_timed = place.model.labels.on_timeout == "negative"
    candidates = place.log.offsets() if is_timed else place.log.labelled()
    chosen = windows.newest(candidates[(candidates > after) & (candidates <= until)], rules)
    return sketches.of(place.log, chosen, rules.current_rows, version) if len(chosen) else None


def _judged(place: Place, sketch: Sketch | None, scores: Scores, now: float) -> Judged:
    """The rows that have both scores and a label that counts."""
    label, width = place.schema.label, place.schema.label.width
    if sketch is None:
        return Judged([], np.empty((0, width)), np.empty(0))
    offsets, labels = sketch.offsets.tolist(), place.labels_of(sketch.offsets.tolist(), now)
    at = [i for i, scored in enumerate(scores) if scored is not None and offsets[i] in labels]
    if not label.is_regression:
        at = [i for i in at if labels[offsets[i]] in label.class_texts]  # classes may have been renamed since
    rows, found = sketch.examples(place.schema), [labels[offsets[i]] for i in at]
    targets = [float(one) if label.is_regression else label.index(str(one)) for one in found]
    return Judged([rows[i] for i in at], np.array([scores[i] for i in at]).reshape(-1, width), np.array(targets, float))


def _too_few(found: Sequence[Judged], needed: int) -> Iterator[str]:
    for window, one in zip(("reference", "current window"), found, strict=True):
        if len(one.rows) < needed:
            yield (
                f"How good the champion is cannot be compared: of the {window}, {len(one.rows):,} rows have both a "
                f"matured label and its scores, and {needed:,} are needed (drift.min_rows)."
            )


def _losses(place: Place, found: Judged, loss: Loss) -> Labelled:
    label = place.schema.label
    losses = loss(found.scores, found.targets)
    targets = found.targets if label.is_regression else found.targets.astype(np.int64)
    return Labelled(losses[np.isfinite(losses)], measure(label, found.scores, targets))


def _loss_of(model: Model) -> tuple[str, Loss]:
    """The model's loss, unclipped unless the gate clips it; a ranking has no loss of single rows: Brier's, there."""
    name, clip = "brier" if model.loss == "auc" else model.loss, None
    if name in ("absolute", "squared"):
        clip = model.gate.clip or sys.float_info.max
    return name, loss_named(name, clip, model.gate.costs).of


def _importance(
    place: Place, manifest: Manifest, score: Score | None, found: Sequence[Judged], name: str, loss: Loss
) -> dict[str, tuple[float, float]]:
    """On the reference: a column that has broken since would not matter on the current window.

    Kept for each version, of an online one until it has learned twice as much.
    """
    rows = next((one for one in found if len(one.rows) >= place.model.drift.min_rows), None)
    if score is None or rows is None:
        return {}
    folder = place.reference_folder
    path = folder / f"{manifest.version}-{manifest.revision.bit_length()}-{name}-{manifest.schema}.json"
    kept = _read(path)
    if kept is None:
        kept = importance.permutation_importance(score, place.schema, rows.rows, rows.targets, loss)
        log.info("importance measured version=%d rows=%d repeats=%d", manifest.version, kept.rows, kept.repeats)
        shelf.keep(path, msgspec.json.encode(kept), _KEPT)
    return kept.columns


def _read(path: Path) -> Importance | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Importance)
    except (OSError, msgspec.DecodeError):
        return None
