"""What a batch learner is fitted on: the windows of [models.NAME.retrain].windows, each tried on the newest labels."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from contracts import events
from contracts.alarm_facts import AlarmFacts
from contracts.config import Learner, Model
from contracts.log import Examples
from contracts.retrain_rules import Window
from flows.place import Place
from learners import batch
from registry.losses import Loss, loss_named

_ALL = sys.maxsize
Progress = Callable[[str], None]


class Tried(NamedTuple):
    """A fit, what it was fitted on, and how its window did beside the others."""

    fitted: batch.Fitted
    examples: Examples
    window: Window
    losses: dict[Window, float]
    """Mean loss on the newest labels, of a fit on what is older in each window; empty where there was no choice."""
    seconds: float
    """CPU time of all this."""


def fit(place: Place, learner: Learner, newest: Examples, windows: Sequence[Window], progress: Progress) -> Tried:
    """The learner fitted on a window; `newest` is the window "last". Raises ConfigError and batch.CannotFit."""
    began = time.process_time()
    if len(windows) == 1:
        ((window, examples),) = _read(place, newest, windows).items()
        fitted = _fit(place, learner, examples, place.model.retrain.holdout, progress)
        return Tried(fitted, examples, window, {}, time.process_time() - began)
    held = max(1, round(len(newest) * place.model.retrain.holdout))
    loss, fits, losses = loss_of(place.model), dict[Window, batch.Fitted](), dict[Window, float]()
    found = _read(place, newest, windows, held)
    for window, examples in found.items():
        progress(f"trying the window {window}, {len(examples)} rows")
        fits[window] = _fit(place, learner, examples, held / len(examples), progress)
        scores = fits[window].scores(newest.rows[-held:])
        losses[window] = float(np.nanmean(loss.of(scores, columns(place, newest.labels[-held:]))))
    best = min(losses, key=lambda window: losses[window])
    fitted = batch.refit(fits[best], found[best].rows, found[best].labels, progress)
    return Tried(fitted, found[best], best, losses, time.process_time() - began)


def loss_of(model: Model) -> Loss:
    """The model's loss of single predictions, unclipped unless the gate clips it; of a ranking, Brier's."""
    clip = model.gate.clip
    if clip is None and model.loss in ("absolute", "squared"):
        clip = sys.float_info.max
    return loss_named("brier" if model.loss == "auc" else model.loss, clip, model.gate.costs)


def columns(place: Place, labels: Sequence[str | float]) -> np.ndarray:
    """Labels as losses take them, float64[n]: class indices or values."""
    label = place.schema.label
    return np.array([float(one) if label.is_regression else label.index(str(one)) for one in labels], np.float64)


def _fit(place: Place, learner: Learner, examples: Examples, holdout: float, progress: Progress) -> batch.Fitted:
    return batch.fit(learner, place.schema, examples.rows, examples.labels, learner.seed, holdout, progress)


def _read(place: Place, newest: Examples, windows: Sequence[Window], held: int = 0) -> dict[Window, Examples]:
    """The windows, in order of time, each with the newest `held` rows at its end; "last" where no other has enough."""
    if tuple(windows) == ("last",):
        return {"last": newest}
    every = place.examples(_ALL, time.time())
    every = every if len(every) >= len(newest) else newest  # an erasure came in between
    older = len(every) - held
    found: dict[Window, Examples] = {}
    for window in windows:
        kept = _kept(place, window, every, older, len(newest) - held)
        if window == "last":
            found[window] = newest
        elif len(kept) + held >= place.model.retrain.min_rows:
            found[window] = _taken(every, [*kept, *range(older, len(every))])
    return found or {"last": newest}


def _kept(place: Place, window: Window, every: Examples, older: int, last: int) -> Sequence[int]:
    """Which of the first `older` rows a window has."""
    if window == "drift":
        facts = place.streams.fact("alarm", AlarmFacts)
        since = None if facts is None else facts.since
        return [] if since is None else [i for i in range(older) if every.offsets[i] >= events.span(since)]
    if window == "reservoir" and older > last:
        return [int(i) for i in np.sort(np.random.default_rng(older).choice(older, last, replace=False))]
    return range(older)


def _taken(every: Examples, at: Sequence[int]) -> Examples:
    return Examples(
        [every.rows[i] for i in at],
        [every.labels[i] for i in at],
        [every.offsets[i] for i in at],
        [every.answered_by[i] for i in at],
        [every.scores[i] for i in at],
        every.versions,
    )
