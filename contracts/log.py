"""The durable log: append-only Delta tables per model, written exactly once, read by everything that looks back.

* ``predictions``: one row per prediction, features as served in columns ``x_NAME``, every version's scores, and the
  keyed hash of whom it is about;
* ``labels``: one row per feedback, every revision of a label with who said so and when;
* ``ledger``: one row per decision.

Rows carry the stream offset of their entry (`contracts.events.offset`); what is not beyond the last one is not written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts import tables, tape
from contracts.events import Feedback, Prediction, Shadow
from contracts.rows import fitting, label_rows, prediction_rows
from contracts.schema import Schema, Value
from contracts.votes import Rule, Votes

Table = Literal["predictions", "labels", "ledger"]

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


@dataclass(frozen=True)
class Erased:
    """Rows that an erasure removed."""

    predictions: int
    labels: int


class Log:
    """One model's tables in a folder. Readers see whole appends only."""

    def __init__(self, folder: Path, model: str, schema: Schema):
        self.folder, self.schema = folder / model, schema
        self._tables: dict[Table, tables.Table] = {
            "predictions": tables.Table(self.folder, "predictions"),
            "labels": tables.Table(self.folder, "labels", ("offset", "prediction_offset")),
            "ledger": tables.Table(self.folder, "ledger"),
        }

    def position(self, table: Table) -> int:
        """Offset of the last row written, erased ones included; -1 before the first."""
        return self._tables[table].position()

    def append_predictions(self, rows: Sequence[tuple[int, Prediction, Shadow]]) -> int:
        """Appends what lies beyond `position`; returns how many rows that was. Rows come by ascending offset."""
        offsets = [offset for offset, _, _ in rows]
        build = partial(prediction_rows, self.schema)
        return self._tables["predictions"].append(offsets, lambda first: fitting(build, offsets[first:], rows[first:]))

    def append_labels(self, rows: Sequence[tuple[int, Feedback]]) -> int:
        """Appends what lies beyond `position`; returns how many rows that was. Rows come by ascending offset."""
        offsets = [offset for offset, _ in rows]
        return self._tables["labels"].append(offsets, lambda first: fitting(label_rows, offsets[first:], rows[first:]))

    def append_ledger(self, seq: int, hash_: str, line: str) -> int:
        """Appends line `seq`, unless it is there. The caller holds the ledger's lease."""
        rows = pa.Table.from_pylist([{"offset": seq, "hash": hash_, "line": line}], _LEDGER)
        return self._tables["ledger"].append([seq], lambda _: rows)

    def ledger(self) -> list[str]:
        """Every line of the ledger, in order."""
        found = self._tables["ledger"].read(["offset", "line"])
        return [] if found is None else [str(line) for line in found[1].sort_by("offset")["line"].to_pylist()]

    def rows(self, table: Table) -> pa.Table:
        """Everything in a table in offset order; empty before the first append."""
        found = self._tables[table].read()
        return pa.table({"offset": pa.array([], pa.int64())}) if found is None else found[1].sort_by("offset")

    def examples(
        self,
        last: int | None = None,
        since: int = -1,
        until: int | None = None,
        rule: Rule = "latest",
        negative_before: int = -1,
    ) -> Examples:
        """Labelled predictions with offset above `since` and up to `until`; the newest `last` of them.

        Several labels for one count by the rule. Below the offset `negative_before`, a prediction without a label is
        one of the first class.
        """
        labels = self._tables["labels"].read(["offset", "prediction_offset", "label"])
        predictions = self._tables["predictions"].read(filters=[("offset", ">", since)])
        if predictions is None or labels is None:
            return Examples([], [], [], [], [], {})
        given, table = self._labels_by(rule, labels[1]), predictions[1]
        if until is not None:
            table = table.filter(pc.less_equal(table["offset"], until))
        is_labelled = pc.is_in(table["offset"], pa.array(list(given), pa.int64()))
        table = table.filter(pc.or_(is_labelled, pc.less(table["offset"], negative_before))).sort_by("offset")
        if last is not None and table.num_rows > last:
            table = table.slice(table.num_rows - last)
        return self._examples(table, given, {"predictions": predictions[0], "labels": labels[0]})

    def offsets(self) -> npt.NDArray[np.int64]:
        """Offsets of all logged predictions, ascending: int64[n]."""
        found = self._tables["predictions"].read(["offset"])
        return np.array([], np.int64) if found is None else np.sort(found[1]["offset"].to_numpy())

    def offsets_of(self, entity: str) -> list[int]:
        """Offsets of the logged predictions about an entity (`contracts.entities.masked`), ascending."""
        found = self._tables["predictions"].read(["offset", "entity"])
        if found is None or "entity" not in found[1].column_names:
            return []
        table = found[1]
        return [int(offset) for offset in sorted(table.filter(pc.equal(table["entity"], entity))["offset"].to_pylist())]

    def labelled(self) -> npt.NDArray[np.int64]:
        """Offsets of all predictions that have a label, ascending: int64[n]."""
        found = self._tables["labels"].read(["prediction_offset"])
        return np.array([], np.int64) if found is None else np.unique(found[1]["prediction_offset"].to_numpy())

    def labels_of(
        self, offsets: Sequence[int], rule: Rule = "latest", negative_before: int = -1
    ) -> dict[int, str | float]:
        """The label that counts of each of these predictions, as `examples` has it, by offset; absent without one."""
        found = tape.at(self._tables["labels"], ["offset", "prediction_offset", "label"], "prediction_offset", offsets)
        given = {} if found is None else self._labels_by(rule, found)
        negative = next(iter(self.schema.label.class_texts), "")
        return {at: negative for at in offsets if at < negative_before} | given

    def features(self, last: int, before: int | None = None, since: int = -1) -> dict[str, list[Value]]:
        """Feature columns of the newest `last` predictions, labelled or not, above `since` and below `before`."""
        names = self.schema.names
        bounds = [("offset", ">", since)] + ([] if before is None else [("offset", "<", before)])
        found = self._tables["predictions"].read(["offset", *(f"x_{name}" for name in names)], bounds)
        if found is None:
            return {name: [] for name in names}
        table = found[1].sort_by("offset")
        table = table.slice(max(0, table.num_rows - last))
        return {name: table.column(f"x_{name}").to_pylist() for name in names}

    def compact(self, table: Table, above_files: int = 64) -> bool:
        """Merges small files once there are many; tells whether it did."""
        return self._tables[table].compact(above_files)

    def erase(self, prediction_offsets: Sequence[int]) -> Erased:
        """Removes predictions and their labels from the tables and from disk; older versions cannot be read any more.

        Appends wait meanwhile. What was interrupted is completed by doing it again; `position` stays, so that nothing
        erased is appended again.
        """
        labels = self._tables["labels"].erase("prediction_offset", prediction_offsets)
        return Erased(self._tables["predictions"].erase("offset", prediction_offsets), labels)

    def _labels_by(self, rule: Rule, labels: pa.Table) -> dict[int, str | float]:
        """The label that counts, by prediction offset."""
        table = labels.sort_by("offset")
        number: Callable[[Any], str | float] = float if self.schema.label.is_regression else str
        cells = zip(table["prediction_offset"].to_pylist(), map(number, table["label"].to_pylist()), strict=True)
        if rule == "latest":
            return dict(cells)
        votes: dict[int, Votes] = {}
        for at, label in cells:
            if (known := votes.get(at)) is None:
                votes[at] = Votes.of(label)
            else:
                known.add(label)
        return {at: one.label(rule) for at, one in votes.items()}

    def _examples(self, table: pa.Table, given: dict[int, str | float], versions: dict[str, int]) -> Examples:
        columns = [table.column(f"x_{name}").to_pylist() for name in self.schema.names]
        offsets = table.column("offset").to_pylist()
        answered_by = table.column("version").to_pylist()
        own, others = table.column("scores").to_pylist(), table.column("shadows").to_pylist()
        scores = [
            {version: tuple(mine), **{s["version"]: tuple(s["scores"]) for s in shadows}}
            for version, mine, shadows in zip(answered_by, own, others, strict=True)
        ]
        negative = next(iter(self.schema.label.class_texts), "")
        labels = [given.get(at, negative) for at in offsets]
        return Examples(list(zip(*columns, strict=True)), labels, offsets, answered_by, scores, versions)
