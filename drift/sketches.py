"""A window read from the log at bounded cost: a sample of its rows, and what of all rows a sample cannot tell.

The sketch of a reference that stays the same is kept as one Parquet file, so that a training set of millions of rows is
gone through once. It is made anew when the log no longer has exactly its rows, as after an erasure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts import tape
from contracts.log import Log
from contracts.schema import Schema, Value
from contracts.tables import Table
from drift import shelf
from drift.columns import text
from drift.windows import Offsets, thinned

_DISTINCT = 10_000
"""Categories of a column that are told apart; a column of more is one of names, where new ones are no news."""
_META = b"tiltyard"
_SCORES = pa.list_(pa.float64())
_SCORED = ("version", "scores", "shadows")
_KEPT = 2  # files: the reference, and the part of it that the champion was not fitted on


class Profile(msgspec.Struct, frozen=True):
    """What all rows of a window say of one column."""

    missing: float
    """Share of rows."""
    low: float | None = None
    high: float | None = None
    """Smallest and largest number; None without one."""
    categories: dict[str, int] | None = None
    """Rows by value; None for numbers, and beyond 10,000 values."""


class _Meta(msgspec.Struct, frozen=True):
    rows: int
    profiles: dict[str, Profile]


@dataclass(frozen=True)
class Sketch:
    """A sample of a window. `table` has columns offset, x_NAME, and scores: one version's as logged, or null."""

    table: pa.Table
    rows: int
    """In the window, of which the table is a sample."""
    profiles: dict[str, Profile]

    @cached_property
    def offsets(self) -> Offsets:
        return np.asarray(self.table["offset"].to_numpy(), np.int64)

    def columns(self, schema: Schema) -> dict[str, list[Value]]:
        return {name: self.table[f"x_{name}"].to_pylist() for name in schema.names}

    def examples(self, schema: Schema) -> list[tuple[Value, ...]]:
        """The rows in schema order."""
        return list(zip(*self.columns(schema).values(), strict=True))

    def scores(self) -> list[list[float] | None]:
        found: list[list[float] | None] = self.table["scores"].to_pylist()
        return found


def of(source: Log, chosen: Offsets, most: int, version: int | None) -> Sketch:
    """The sketch of a window of at least one row: at most so many of its rows, with what a version scored on them.

    Goes through the log a slice at a time.
    """
    schema, sample, counting = source.schema, thinned(chosen, most), _Counting(source.schema)
    names = ["offset", *(f"x_{name}" for name in schema.names), *(() if version is None else _SCORED)]
    pieces = []
    for first, last in _runs(chosen):
        for piece in tape.slices(Table(source.folder, "predictions"), names, first - 1, last):
            counting.add(piece.filter(_among(piece["offset"].to_numpy(), chosen)))
            pieces.append(_scored(piece.filter(_among(piece["offset"].to_numpy(), sample)), schema, version))
    return Sketch(pa.concat_tables(pieces, promote_options="default"), len(chosen), counting.profiles())


def kept(folder: Path, source: Log, chosen: Offsets, most: int, version: int | None) -> Sketch:
    """The sketch kept in a folder where that still is one of these rows; else a new one, kept where the disk allows."""
    path = folder / f"{version}-{chosen[0]}-{chosen[-1]}-{most}-{source.schema.fingerprint}.parquet"
    found = _read(path)
    if found is not None and found.rows == len(chosen) and np.isin(found.offsets, chosen).all():
        return found
    made = of(source, chosen, most, version)
    meta = {_META: msgspec.json.encode(_Meta(made.rows, made.profiles))}
    sink = pa.BufferOutputStream()
    pq.write_table(made.table.replace_schema_metadata(meta), sink, compression="zstd")
    shelf.keep(path, sink.getvalue().to_pybytes(), _KEPT)
    if not np.isin(chosen, source.offsets()).all():
        path.unlink(missing_ok=True)  # rows were erased meanwhile
    return made


def _read(path: Path) -> Sketch | None:
    try:
        table = pq.read_table(path)
        meta = msgspec.json.decode(table.schema.metadata[_META], type=_Meta)
    except (OSError, pa.ArrowException, msgspec.DecodeError, KeyError, TypeError):
        return None  # not there, damaged, or of another version
    return Sketch(table.replace_schema_metadata(None), meta.rows, meta.profiles)


def _among(offsets: Offsets, chosen: Offsets) -> pa.Array:
    """Which of the offsets are among ascending ones."""
    at = np.minimum(np.searchsorted(chosen, offsets), len(chosen) - 1)
    return pa.array(chosen[at] == offsets)


def _runs(chosen: Offsets) -> list[tuple[int, int]]:
    """At most 64 stretches that hold them all, without the widest gaps: past seasons lie far apart."""
    wide = np.flatnonzero(np.diff(chosen) > (int(chosen[-1]) - int(chosen[0])) // 64)
    starts, stops = [0, *(wide + 1)], [*wide, len(chosen) - 1]
    return [(int(chosen[start]), int(chosen[stop])) for start, stop in zip(starts, stops, strict=True)]


def _scored(rows: pa.Table, schema: Schema, version: int | None) -> pa.Table:
    """The rows with one version's scores in place of everybody's."""
    table = rows.select(["offset", *(f"x_{name}" for name in schema.names)])
    scores: Sequence[list[float] | None] = [None] * rows.num_rows
    if version is not None:
        cells = zip(*(rows[name].to_pylist() for name in _SCORED), strict=True)
        scores = [
            own if by == version else next((one["scores"] for one in others or () if one["version"] == version), None)
            for by, own, others in cells
        ]
    return table.append_column("scores", pa.array(scores, _SCORES))


class _Counting:
    """Profiles of columns that come in pieces."""

    def __init__(self, schema: Schema):
        self.schema, self.rows = schema, 0
        self._missing = dict.fromkeys(schema.names, 0)
        self._ranges: dict[str, tuple[float, float]] = {}
        self._known: dict[str, dict[str, int] | None] = {
            feature.name: {} for feature in schema.features if feature.type in ("category", "bool")
        }

    def add(self, piece: pa.Table) -> None:
        self.rows += piece.num_rows
        for name in self.schema.names:
            column = piece[f"x_{name}"]
            self._missing[name] += column.null_count
            if name not in self._known:
                bounds = pc.min_max(column).as_py()
                if bounds["min"] is not None:
                    low, high = self._ranges.get(name, (bounds["min"], bounds["max"]))
                    self._ranges[name] = min(low, bounds["min"]), max(high, bounds["max"])
            elif (known := self._known[name]) is not None:
                for one in pc.value_counts(column.drop_null()).to_pylist():
                    known[text(one["values"])] = known.get(text(one["values"]), 0) + one["counts"]
                if len(known) > _DISTINCT:
                    self._known[name] = None

    def profiles(self) -> dict[str, Profile]:
        found = {}
        for name in self.schema.names:
            low, high = self._ranges.get(name, (None, None))
            found[name] = Profile(self._missing[name] / max(1, self.rows), low, high, self._known.get(name))
        return found
