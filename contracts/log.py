"""The durable log: append-only Delta tables per model, written exactly once, read by everything that looks back.

* ``predictions``: one row per prediction, features as served in columns ``x_NAME``, every version's scores;
* ``labels``: one row per feedback, every revision of a label with who said so and when;
* ``ledger``: one row per decision.

Rows carry the stream offset of their entry (`contracts.events.offset`). Delta stores an application transaction with
each append but does not refuse a repeated one, so the one writer of a table reads the last offset back first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import deltalake
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import TableNotFoundError

from contracts import events
from contracts.events import Feedback, Prediction, Shadow
from contracts.schema import Schema, Value

Table = Literal["predictions", "labels", "ledger"]

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
_LEDGER = pa.schema([("offset", pa.int64()), ("hash", pa.string()), ("line", pa.string())])


@dataclass(frozen=True)
class Examples:
    """Labelled predictions in prediction order, each with its newest label.

    `scores[i]` maps each version that scored row i, the answering one included, to its scores as logged.
    """

    rows: list[tuple[Value, ...]]
    labels: list[str | float]
    offsets: list[int]
    answered_by: list[int]
    scores: list[dict[int, tuple[float, ...]]]
    versions: dict[str, int]
    """Delta version of each table that this was read at: the lineage of a training set."""

    def __len__(self) -> int:
        return len(self.rows)

    def last(self, count: int) -> "Examples":
        cut = slice(max(0, len(self) - count), None)
        return Examples(
            self.rows[cut], self.labels[cut], self.offsets[cut], self.answered_by[cut], self.scores[cut], self.versions
        )


class Log:
    """One model's tables in a folder. Readers see whole appends only."""

    def __init__(self, folder: Path, model: str, schema: Schema):
        self.folder, self.schema = folder / model, schema

    def position(self, table: Table) -> int:
        """Offset of the last row written; -1 before the first."""
        delta = self._open(table)
        found = delta.transaction_version(table) if delta else None
        return -1 if found is None else int(found)

    def append_predictions(self, rows: Sequence[tuple[str, Prediction, Shadow]]) -> int:
        """Appends what lies beyond `position`; returns how many rows that was. Rows come in id order."""
        names, features = self.schema.names, self.schema.features
        fresh = self._beyond("predictions", rows)
        columns: dict[str, Any] = {
            "offset": pa.array([events.offset(id_) for id_, _, _ in fresh], pa.int64()),
            "asked_at": pa.array([_time(id_) for id_, _, _ in fresh], _TIME),
            "version": pa.array([p.version for _, p, _ in fresh], pa.int64()),
            "revision": pa.array([p.revision for _, p, _ in fresh], pa.int64()),
            "scores": pa.array([list(p.scores) for _, p, _ in fresh], _SCORES),
            "shadows": pa.array([_shadow_cells(shadow) for _, _, shadow in fresh], _SHADOWS),
        }
        for i, feature in enumerate(features):
            cells = [p.row[i] for _, p, _ in fresh]
            columns[f"x_{names[i]}"] = pa.array(cells, _COLUMN_TYPES[feature.type])
        return self._append("predictions", pa.table(columns))

    def append_labels(self, rows: Sequence[tuple[str, Feedback]]) -> int:
        """Appends what lies beyond `position`; returns how many rows that was. Rows come in id order."""
        fresh = self._beyond("labels", rows)
        cells = [
            {
                "offset": events.offset(id_),
                "prediction_offset": events.offset(f.prediction_id),
                "label": f.label if isinstance(f.label, str) else repr(float(f.label)),
                "reporter": f.reporter,
                "comment": f.comment,
                "labeled_at": None if f.labeled_at is None else datetime.fromtimestamp(f.labeled_at, UTC),
                "received_at": _time(id_),
            }
            for id_, f in fresh
        ]
        return self._append("labels", pa.Table.from_pylist(cells, _LABELS))

    def append_ledger(self, seq: int, hash_: str, line: str) -> int:
        """Appends line `seq`, unless it is there. The caller holds the ledger's lease."""
        if seq <= self.position("ledger"):
            return 0
        return self._append("ledger", pa.Table.from_pylist([{"offset": seq, "hash": hash_, "line": line}], _LEDGER))

    def ledger(self) -> list[str]:
        """Every line of the ledger, in order."""
        delta = self._open("ledger")
        if delta is None:
            return []
        table = delta.to_pyarrow_table(columns=["offset", "line"]).sort_by("offset")
        return [str(line) for line in table.column("line").to_pylist()]

    def rows(self, table: Table) -> pa.Table:
        """Everything in a table in offset order; empty before the first append."""
        delta = self._open(table)
        return delta.to_pyarrow_table().sort_by("offset") if delta else pa.table({"offset": pa.array([], pa.int64())})

    def examples(self, last: int | None = None, since: int = -1, until: int | None = None) -> Examples:
        """Labelled predictions with offset above `since` and up to `until`; the newest `last` of them."""
        predictions, labels = self._open("predictions"), self._open("labels")
        if predictions is None or labels is None:
            return Examples([], [], [], [], [], {})
        versions = {"predictions": predictions.version(), "labels": labels.version()}
        newest = _newest_labels(labels)
        table = predictions.to_pyarrow_table(filters=[("offset", ">", since)] if since >= 0 else None)
        if until is not None:
            table = table.filter(pc.less_equal(table["offset"], until))
        table = table.filter(pc.is_in(table["offset"], pa.array(list(newest), pa.int64()))).sort_by("offset")
        if last is not None and table.num_rows > last:
            table = table.slice(table.num_rows - last)
        return self._examples(table, newest, versions)

    def offsets(self) -> npt.NDArray[np.int64]:
        """Offsets of all logged predictions, ascending: int64[n]."""
        delta = self._open("predictions")
        if delta is None:
            return np.array([], np.int64)
        return np.sort(delta.to_pyarrow_table(columns=["offset"])["offset"].to_numpy())

    def features(self, last: int, before: int | None = None, since: int = -1) -> dict[str, list[Value]]:
        """Feature columns of the newest `last` predictions, labelled or not, above `since` and below `before`."""
        delta = self._open("predictions")
        names = self.schema.names
        if delta is None:
            return {name: [] for name in names}
        bounds = [("offset", ">", since)] + ([] if before is None else [("offset", "<", before)])
        table = delta.to_pyarrow_table(columns=["offset", *(f"x_{name}" for name in names)], filters=bounds)
        table = table.sort_by("offset")
        table = table.slice(max(0, table.num_rows - last))
        return {name: table.column(f"x_{name}").to_pylist() for name in names}

    def compact(self, table: Table, above_files: int = 64) -> bool:
        """Merges small files once there are many; tells whether it did."""
        delta = self._open(table)
        if delta is None or len(delta.file_uris()) <= above_files:
            return False
        delta.optimize.compact()
        return True

    def _examples(self, table: pa.Table, newest: dict[int, str], versions: dict[str, int]) -> Examples:
        columns = [table.column(f"x_{name}").to_pylist() for name in self.schema.names]
        offsets = table.column("offset").to_pylist()
        answered_by = table.column("version").to_pylist()
        own, others = table.column("scores").to_pylist(), table.column("shadows").to_pylist()
        scores = [
            {version: tuple(mine), **{s["version"]: tuple(s["scores"]) for s in shadows}}
            for version, mine, shadows in zip(answered_by, own, others, strict=True)
        ]
        number = float if self.schema.label.is_regression else str
        labels = [number(newest[at]) for at in offsets]
        return Examples(list(zip(*columns, strict=True)), labels, offsets, answered_by, scores, versions)

    def _beyond(self, table: Table, rows: Sequence[Any]) -> list[Any]:
        position = self.position(table)
        return [row for row in rows if events.offset(row[0]) > position]

    def _append(self, table: Table, rows: pa.Table) -> int:
        if rows.num_rows == 0:
            return 0
        last = int(pc.max(rows["offset"]).as_py())
        properties = deltalake.CommitProperties(app_transactions=[deltalake.Transaction(table, last)])
        deltalake.write_deltalake(
            str(self.folder / table), rows, mode="append", schema_mode="merge", commit_properties=properties
        )
        return int(rows.num_rows)

    def _open(self, table: Table) -> deltalake.DeltaTable | None:
        try:
            return deltalake.DeltaTable(str(self.folder / table))
        except TableNotFoundError:
            return None


def _newest_labels(labels: deltalake.DeltaTable) -> dict[int, str]:
    """Newest label by prediction offset."""
    table = labels.to_pyarrow_table(columns=["offset", "prediction_offset", "label"]).sort_by("offset")
    return dict(zip(table["prediction_offset"].to_pylist(), table["label"].to_pylist(), strict=True))


def _shadow_cells(shadow: Shadow) -> list[dict[str, Any]]:
    return [
        {"version": version, "revision": revision, "scores": list(scores)}
        for version, (revision, scores) in shadow.scores.items()
    ]


def _time(id_: str) -> datetime:
    return datetime.fromtimestamp(events.seconds_of(id_), UTC)
