"""Learners that are fitted anew on a window of the log, and their graphs."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships no types

from contracts.config import Learner
from contracts.schema import Label, Schema, Value
from learners import batch_export, batch_zoo, catalogue
from learners.metrics import baseline, measure

Rows = Sequence[Sequence[Value]]


class CannotFit(Exception):
    """A window of the log is not enough to fit this learner on; the versions there are stay."""

    def __init__(self, reason: str):
        super().__init__(f"cannot fit: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Fitted:
    """A scikit-learn pipeline fitted on the older part of a window, and how well it did on the newer part."""

    learner: Learner
    schema: Schema
    pipeline: Any
    seed: int
    fitted_rows: int
    """The oldest rows of the window, which it was fitted on."""
    held_out_rows: int
    """The newest, which it never saw: `metrics` and parity come from them."""
    metrics: dict[str, float]
    """accuracy, log_loss and brier, or mae and rmse; each also as baseline_*, of the majority or the mean."""

    @property
    def present(self) -> tuple[int, ...]:
        """Indices of the classes it was fitted on; none for a value."""
        return () if self.schema.label.is_regression else tuple(int(i) for i in self.pipeline.classes_)

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """Classes that the fitted rows did not have: their probability is always 0."""
        texts = self.schema.label.class_texts
        return tuple(text for i, text in enumerate(texts) if i not in self.present)

    def scores(self, rows: Rows) -> np.ndarray:
        """float64[n, k]: class probabilities in class order, or values, as scikit-learn computes them."""
        return _scores(self.pipeline, self.schema, rows)


def fit(
    learner: Learner,
    schema: Schema,
    rows: Rows,
    labels: Sequence[str | float],
    seed: int,
    holdout: float,
    progress: Callable[[str], None],
) -> Fitted:
    """The learner fitted on all but the newest `holdout` share of rows, which are in order of time.

    Rows hold values in schema order, labels are as stored. Raises ConfigError and CannotFit.
    """
    held = max(1, round(len(rows) * holdout))
    kept = len(rows) - held
    _refuse_thin(schema.label, rows[:kept], labels[:kept])
    targets = _targets(schema.label, labels)
    pipeline = catalogue.build_batch(learner, schema, seed)
    progress(f"fitting {learner.named} on {kept} rows, the newest {held} held out")
    try:
        _fit_quietly(pipeline, batch_zoo.table(schema, rows[:kept]), targets[:kept], progress)
        progress(f"measuring on the newest {held} rows")
        scores = _scores(pipeline, schema, rows[kept:])
    except Exception as error:  # whatever a learner of one's own raises
        raise CannotFit(f"{type(error).__name__}: {error}") from error
    metrics = measure(schema.label, scores, targets[kept:])
    metrics |= baseline(schema.label, targets[:kept], targets[kept:])
    fitted = Fitted(learner, schema, pipeline, seed, kept, held, metrics)
    if fitted.absent_classes:
        progress(f"not in the window, so with probability 0: {', '.join(fitted.absent_classes)}")
    return fitted


def refit(fitted: Fitted, rows: Rows, labels: Sequence[str | float], progress: Callable[[str], None]) -> Fitted:
    """The same learner, fitted on all of these rows. `metrics` and `held_out_rows` stay those of the fit before, which
    held out the newest: nothing is left to measure this one with. Raises ConfigError and CannotFit."""
    learner, schema = fitted.learner, fitted.schema
    _refuse_thin(schema.label, rows, labels)
    pipeline = catalogue.build_batch(learner, schema, fitted.seed)
    progress(f"fitting {learner.named} on all {len(rows)} rows")
    try:
        _fit_quietly(pipeline, batch_zoo.table(schema, rows), _targets(schema.label, labels), progress)
    except Exception as error:  # whatever a learner of one's own raises
        raise CannotFit(f"{type(error).__name__}: {error}") from error
    return Fitted(learner, schema, pipeline, fitted.seed, len(rows), fitted.held_out_rows, fitted.metrics)


def export(fitted: Fitted) -> bytes:
    """The fitted pipeline as an ONNX graph, in double: thresholds and sums are scikit-learn's own."""
    return bytes(batch_export.to_onnx(fitted.pipeline, fitted.schema).SerializeToString())


def _refuse_thin(label: Label, rows: Rows, labels: Sequence[str | float]) -> None:
    if len(rows) < 2:
        raise CannotFit(f"the window leaves {len(rows)} rows to fit on; wait for more labels")
    if all(value is None for row in rows for value in row):
        raise CannotFit(f"all features of the {len(rows)} rows to fit on are missing")
    if not label.is_regression and len(set(labels)) < 2:
        raise CannotFit(f'all {len(rows)} rows to fit on have the class "{labels[0]}"; wait for another one')


def _targets(label: Label, labels: Sequence[str | float]) -> np.ndarray:
    """Class indices int64[n], or values float64[n]."""
    if label.is_regression:
        return np.asarray(labels, np.float64)
    return np.array([label.index(str(text)) for text in labels], np.int64)


def _fit_quietly(pipeline: Any, table: Any, targets: np.ndarray, progress: Callable[[str], None]) -> None:
    """Warnings, such as one of a solver that did not converge, go to `progress`."""
    with warnings.catch_warnings(record=True) as caught, _one_thread():
        warnings.simplefilter("always")
        pipeline.fit(table, targets)
    for text in dict.fromkeys(str(warning.message).split("\n")[0] for warning in caught):
        progress(f"warning: {text}")


def _scores(pipeline: Any, schema: Schema, rows: Rows) -> np.ndarray:
    table = batch_zoo.table(schema, rows)
    with _one_thread():
        if schema.label.is_regression:
            return np.asarray(pipeline.predict(table), np.float64)[:, np.newaxis]
        scores = np.zeros((len(rows), schema.label.width))
        scores[:, pipeline.classes_] = pipeline.predict_proba(table)
        return scores


def _one_thread() -> Any:
    """Beside a server on two busy cores, OpenMP's spinning threads made fits of half a second last twenty."""
    return _thread_pools().limit(limits=1)


@cache
def _thread_pools() -> ThreadpoolController:
    """Looked up once: a look-up walks every shared library of the process."""
    return ThreadpoolController()
