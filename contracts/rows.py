"""Events as rows of the durable log, built column by column: a batch of 5,000 takes about 10 ms."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from contracts import events
from contracts.events import Feedback, Prediction, Shadow
from contracts.schema import Schema

log = logging.getLogger(__name__)

Build = Callable[[Sequence[int], Sequence[Any]], pa.Table]
_MISFITS = (ValueError, TypeError, OverflowError)  # what pyarrow and Python raise for a value that a column cannot hold
_COLUMN_TYPES = {"float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "category": pa.string()}
_TIME = pa.timestamp("us", tz="UTC")
_SCORES = pa.list_(pa.float64())
_SHADOWS = pa.list_(pa.struct([("version", pa.int64()), ("revision", pa.int64()), ("scores", _SCORES)]))
_LABELS = pa.schema(
    [
        ("offset", pa.int64()),
        ("prediction_offset", pa.int64()),
        ("label", pa.string()),
        ("reporter", pa.string()),
        ("comment", pa.string()),
        ("labeled_at", _TIME),
        ("received_at", _TIME),
    ]
)


def fitting(build: Build, offsets: Sequence[int], rows: Sequence[Any]) -> pa.Table:
    """The rows as a table, without those that fit no column: entries that somebody put into the stream by hand."""
    try:
        return build(offsets, rows)
    except _MISFITS:
        fit = [at for at in range(len(rows)) if _fits(build, offsets[at], rows[at])]
        log.warning("left out of the log rows=%d of=%d", len(rows) - len(fit), len(rows))
        return build([offsets[at] for at in fit], [rows[at] for at in fit])


def _fits(build: Build, offset: int, row: Any) -> bool:
    try:
        build([offset], [row])
    except _MISFITS:
        return False
    return True


def prediction_rows(schema: Schema, offsets: Sequence[int], rows: Sequence[tuple[int, Prediction, Shadow]]) -> pa.Table:
    """One row per prediction; its features stand in columns `x_NAME`."""
    asked = [prediction for _, prediction, _ in rows]
    columns: dict[str, Any] = {
        "offset": pa.array(offsets, pa.int64()),
        "asked_at": _times(offsets),
        "version": pa.array([p.version for p in asked], pa.int64()),
        "revision": pa.array([p.revision for p in asked], pa.int64()),
        "scores": pa.array([p.scores for p in asked], _SCORES),
        "shadows": _shadow_cells([shadow for _, _, shadow in rows]),
        "entity": pa.array([p.entity for p in asked], pa.string()),
    }
    features = schema.features
    by_feature = list(zip(*(p.row for p in asked), strict=True)) if asked else [()] * len(features)
    for feature, cells in zip(features, by_feature, strict=True):
        columns[f"x_{feature.name}"] = pa.array(cells, _COLUMN_TYPES[feature.type])
    return pa.table(columns)


def label_rows(offsets: Sequence[int], rows: Sequence[tuple[int, Feedback]]) -> pa.Table:
    """One row per feedback."""
    given = [feedback for _, feedback in rows]
    asked = events.asked_of(given)
    if None in asked:
        raise ValueError("a label is about no prediction")
    columns = [
        pa.array(offsets, pa.int64()),
        pa.array(asked, pa.int64()),
        pa.array([f.label if isinstance(f.label, str) else repr(float(f.label)) for f in given], pa.string()),
        pa.array([f.reporter for f in given], pa.string()),
        pa.array([f.comment for f in given], pa.string()),
        pa.array([None if f.labeled_at is None else _microseconds(f.labeled_at) for f in given], _TIME),
        _times(offsets),
    ]
    return pa.table(columns, _LABELS)


def _shadow_cells(shadows: Sequence[Shadow]) -> pa.Array:
    """One list of (version, revision, scores) for each shadow."""
    ends = np.cumsum([0, *(len(shadow.scores) for shadow in shadows)])
    scored = [(version, *rest) for shadow in shadows for version, rest in shadow.scores.items()]
    versions, revisions, scores = zip(*scored, strict=True) if scored else ((), (), ())
    cells = [pa.array(versions, pa.int64()), pa.array(revisions, pa.int64()), pa.array(scores, _SCORES)]
    structs = pa.StructArray.from_arrays(cells, fields=list(_SHADOWS.value_type))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), structs, type=_SHADOWS)


def _times(offsets: Sequence[int]) -> pa.Array:
    """When the entries were appended, by Redis's clock."""
    return pa.array((events.many_seconds_at(np.array(offsets, np.int64)) * 1e6).round().astype(np.int64), _TIME)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
