"""What a run was worth: served answers against what else one could have done with the same labels at the same time.

Everything is computed from the durable log and the ledger. Versions are judged by their scores as logged at the
question. The two baselines are fitted here, on labels that had come back by the moment of fitting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts import events
from contracts.config import Model
from contracts.events import Decision
from contracts.log import Examples, Log
from contracts.schema import Schema
from learners import batch

STRETCHES = 5
"""Columns of the comparison."""
_REFITS = 8
"""The retrained baseline is fitted so often at most, or every `retrain.min_rows` labels where that is rarer."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Line:
    """One way to answer, with its mean quality in each stretch; NaN where it gave no answer."""

    name: str
    n: int
    quality: float
    """Accuracy, or the mean absolute error, over the rows it answered."""
    stretches: tuple[float, ...]

    def told(self) -> dict[str, Any]:
        return {"n": self.n, "quality": _plain(self.quality), "stretches": [_plain(value) for value in self.stretches]}


@dataclass(frozen=True)
class Compared:
    """Every way to answer, over the same rows."""

    measure: str
    """accuracy or mean absolute error."""
    rows: int
    bounds: tuple[int, ...]
    served: Line
    never_updated: Line
    retrained: Line
    refits: int
    learners: tuple[Line, ...]


def compare(log: Log, model: Model, names: dict[int, str]) -> Compared:
    """The comparison over all labelled predictions in the log; `names` are the learners of versions.

    Raises learners.batch.CannotFit, and ValueError when the log is empty.
    """
    examples = log.examples()
    if not len(examples):
        raise ValueError("no labelled prediction is in the log")
    quality = _Quality(log.schema, examples.labels)
    bounds = tuple(int(at) for at in np.linspace(0, len(examples), STRETCHES + 1))
    known_at = _known_at(log, examples)
    every = max(model.retrain.min_rows, len(examples) // _REFITS)
    frozen, _ = _fitted(model, log.schema, examples, known_at, quality, every=None)
    nightly, refits = _fitted(model, log.schema, examples, known_at, quality, every=every)
    return Compared(
        measure="mean absolute error" if log.schema.label.is_regression else "accuracy",
        rows=len(examples),
        bounds=bounds,
        served=_line("served", _served(examples, quality), bounds),
        never_updated=_line("never updated", frozen, bounds),
        retrained=_line(f"refitted every {every} labels", nightly, bounds),
        refits=refits,
        learners=tuple(
            _line(name, _of_learner(examples, quality, {v for v, n in names.items() if n == name}), bounds)
            for name in dict.fromkeys(names.values())
        ),
    )


def by_version(log: Log, names: dict[int, str]) -> dict[int, dict[str, Any]]:
    """What each version answered itself: learner, n and quality."""
    examples = log.examples()
    quality = _Quality(log.schema, examples.labels)
    served, answered_by = _served(examples, quality), np.array(examples.answered_by)
    found = {}
    for version in dict.fromkeys(examples.answered_by):
        mine = served[answered_by == version]
        found[version] = {"learner": names.get(version, "prior"), "n": len(mine), "quality": float(mine.mean())}
    return found


def promotions(lines: Sequence[Decision]) -> list[dict[str, Any]]:
    """Promotions and rollbacks that evidence decided, oldest first."""
    kinds = ("promoted", "rolled_back")
    return [_told(line) for line in lines if line.kind in kinds and line.cause == "gate"]


def bootstraps(lines: Sequence[Decision]) -> list[dict[str, Any]]:
    """How the first version came to answer, without evidence."""
    return [_told(line) for line in lines if line.kind in ("prior", "bootstrap")]


def _told(line: Decision) -> dict[str, Any]:
    numbers = {name: value for name, value in line.numbers.items() if name != "board"}
    told = {"at": line.at, "kind": line.kind, "version": line.version, "reason": line.reason, "cause": line.cause}
    return {**told, "numbers": numbers}


class _Quality:
    """Right or wrong (1.0, 0.0), or the absolute error, of scores for rows of a log."""

    def __init__(self, schema: Schema, labels: Sequence[str | float]):
        self.schema = schema
        classes = schema.label.class_texts
        truth = labels if schema.label.is_regression else [classes.index(str(label)) for label in labels]
        self._truth = np.array(truth, np.float64)

    def of(self, at: Ints, scores: Floats) -> Floats:
        """`at` are row numbers int64[n], scores float64[n, k]. The first of equally probable classes is answered."""
        if self.schema.label.is_regression:
            return np.asarray(np.abs(scores[:, 0] - self._truth[at]))
        return np.asarray(scores.argmax(axis=1) == self._truth[at], np.float64)


def _served(examples: Examples, quality: _Quality) -> Floats:
    scores = np.array([examples.scores[i][version] for i, version in enumerate(examples.answered_by)])
    return quality.of(np.arange(len(examples)), scores)


def _of_learner(examples: Examples, quality: _Quality, versions: set[int]) -> Floats:
    """Quality where the learner's newest version that scored did so; NaN elsewhere."""
    found = {i: max(mine) for i, scores in enumerate(examples.scores) if (mine := versions & scores.keys())}
    result = np.full(len(examples), np.nan)
    if found:
        at = np.array(list(found), np.int64)
        result[at] = quality.of(at, np.array([examples.scores[i][version] for i, version in found.items()]))
    return result


def _known_at(log: Log, examples: Examples) -> Floats:
    """Epoch seconds at which each row's first label had come back: float64[n]."""
    table = log.rows("labels")
    first: dict[int, int] = {}
    for offset, of in zip(table["offset"].to_pylist(), table["prediction_offset"].to_pylist(), strict=True):
        first.setdefault(of, offset)
    return np.array([events.seconds_of(events.offset_id(first[offset])) for offset in examples.offsets])


def _fitted(
    model: Model,
    schema: Schema,
    examples: Examples,
    known_at: Floats,
    quality: _Quality,
    *,
    every: int | None,
) -> tuple[Floats, int]:
    """Quality of a batch learner fitted once, or every so many labels; before its first fit the prior answers."""
    learner = next(iter(model.learners_of("batch").values()))
    asked_at = np.array([events.seconds_of(events.offset_id(offset)) for offset in examples.offsets])
    order = np.argsort(known_at, kind="stable")
    counts = range(model.retrain.min_rows, len(examples), every or len(examples))
    prior = np.tile(np.array(schema.label.prior_scores), (len(examples), 1))
    result = quality.of(np.arange(len(examples)), prior)
    refits = 0
    for count in counts:
        since = known_at[order[count - 1]]
        at = np.flatnonzero(asked_at > since)
        if not len(at):
            break
        window = np.sort(order[max(0, count - model.retrain.window_rows) : count])
        fitted = batch.fit(
            learner,
            schema,
            [examples.rows[i] for i in window],
            [examples.labels[i] for i in window],
            learner.seed,
            1e-9,  # one row held out, the least: the baselines get every label that there is
            lambda text: None,
        )
        result[at] = quality.of(at, fitted.scores([examples.rows[i] for i in at]))
        refits += 1
    return result, refits


def _line(name: str, quality: Floats, bounds: tuple[int, ...]) -> Line:
    def mean(part: Floats) -> float:
        part = part[~np.isnan(part)]
        return float(part.mean()) if len(part) else float("nan")

    stretches = tuple(mean(quality[a:b]) for a, b in pairwise(bounds))
    return Line(name, int((~np.isnan(quality)).sum()), mean(quality), stretches)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
