"""The champion's error where labels are still to come, watched by the hour like the measured loss."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contracts import events
from contracts.tables import Table
from drift import estimate, watching
from drift.budget import Clock
from drift.watching import Hours, Watched
from flows.place import Place
from registry.slots import SLOT_S

ROWS = 500_000
"""Newest answers that are looked at."""
CALIBRATED_ON = 20_000
LEAST = 500
"""Labelled answers below which a calibration is mostly chance."""
_COVERED = 0.95


@dataclass(frozen=True)
class Guess:
    """`validity` says when to believe it, or why there is none."""

    found: Watched | None
    validity: str


def watched(place: Place, version: int, origin: int, clock: Clock, share: float, now: float) -> Guess:
    """The estimated share of wrong answers of a version that reigns since the slot `origin`, up to `now`."""
    if place.schema.label.is_regression:
        return Guess(None, "errors of values cannot be estimated without labels")
    offsets, scores = answers(place, version)
    if not len(offsets):
        return Guess(None, "the champion has answered nothing yet")
    slot_of = (events.many_seconds_at(offsets) // SLOT_S).astype(np.int64)
    until, first = int(now // SLOT_S), int(slot_of[0])
    empty = Hours(first, np.zeros(max(until - first, 0)), np.zeros(max(until - first, 0)))
    reference = watching.reference_of(empty, first, origin, clock, share)
    if reference is None:
        return Guess(None, f"not enough past for an estimate: {watching.missing(empty, clock, share)}")
    in_reference = np.flatnonzero(slot_of < reference[1])[-CALIBRATED_ON:]
    labels = place.labels_of(offsets[in_reference].tolist(), now)
    known = [at for at in in_reference.tolist() if int(offsets[at]) in labels]
    if len(known) < LEAST:
        return Guess(None, f"{len(known)} of {LEAST} labelled answers to calibrate an estimate on")
    texts = place.schema.label.class_texts
    truth = np.array([texts.index(str(labels[int(offsets[at])])) for at in known])
    sure = scores.max(axis=1)
    estimator = estimate.fit(sure[known], scores[known].argmax(axis=1) != truth)
    slots = slot_of - first, until - first
    errors, counts = (_by_slot(*slots, weights) for weights in (estimator.errors(sure), np.ones(len(sure))))
    found = watching.look(Hours(first, counts, errors), reference, clock, share)
    covered = estimator.covered(sure[slot_of >= until - max(found.window, 1)])
    outside = (
        "" if covered >= _COVERED else f"; {1 - covered:.0%} of the newest answers are unlike any of the reference"
    )
    return Guess(found, f"calibrated on {len(known):,} labelled answers; {estimate.VALIDITY}{outside}")


def answers(place: Place, version: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Offsets, ascending, and probabilities float64[n, classes] of the newest answers of a version."""
    classes = len(place.schema.label.class_texts)
    found = Table(place.log.folder, "predictions").read(["offset", "scores"], [("version", "=", version)])
    if found is None or not found[1].num_rows:
        return np.array([], np.int64), np.empty((0, classes))
    rows = found[1].sort_by("offset")
    rows = rows.slice(max(0, rows.num_rows - ROWS)).combine_chunks()
    flat = rows["scores"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return rows["offset"].to_numpy(), flat.reshape(-1, classes)


def _by_slot(slot_of: npt.NDArray[np.int64], slots: int, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Summed weights of each slot that is over, float64[slots]."""
    return np.bincount(slot_of, weights, slots + 1)[:slots].astype(np.float64)
