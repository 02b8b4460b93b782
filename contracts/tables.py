"""One Delta table of the durable log: appended to exactly once, read whole, and erased from for good.

Delta stores an application transaction with each append but does not refuse a repeated one, so a writer reads the last
offset back first. Writers exclude each other by a lock beside the table, since what a crash or an erasure leaves behind
is removed at once, and must not be a file that another writer is about to commit.
"""

import fcntl
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import deltalake
import pyarrow as pa
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyarrow.parquet import filters_to_expression

_TRIES = 10
_PAUSE_S = 0.02
_LOG_KEPT = {"delta.logRetentionDuration": "interval 30 days"}
_LOG_DROPPED = {"delta.logRetentionDuration": "interval 0 seconds"}

Filters = Sequence[tuple[str, str, int | list[int]]]
Found = TypeVar("Found")


class Table:
    """Rows in ascending order of their `offset`. `statistics` names the columns whose bounds Delta's own log may hold.

    No other column's may be there: a smallest and a largest value are values, and outlive the rows that had them.
    """

    def __init__(self, folder: Path, name: str, statistics: Sequence[str] = ("offset",)):
        self.folder, self.name = folder, name
        self._path = str(folder / name)
        self._configuration = {"delta.dataSkippingStatsColumns": ",".join(statistics)}
        self._kept: deltalake.DeltaTable | None = None

    def position(self) -> int:
        """Offset of the last row ever written, erased ones included; -1 before the first."""
        delta = _beside_erasures(self._newest)
        found = delta.transaction_version(self.name) if delta else None
        return -1 if found is None else int(found)

    def append(self, offsets: Sequence[int], rows: Callable[[int], pa.Table]) -> int:
        """Appends what lies beyond `position`: `rows(i)`, all rows from the i-th on. Returns how many that was.

        `offsets` are all rows', ascending.
        """
        if not offsets:
            return 0
        with self._writing():
            first = bisect_right(offsets, self.position())
            if first == len(offsets):
                return 0
            fresh = rows(first)
            deltalake.write_deltalake(
                self._kept or self._path,
                fresh,
                mode="append",
                schema_mode="merge",
                configuration=None if self._kept else self._configuration,
                commit_properties=deltalake.CommitProperties(
                    app_transactions=[deltalake.Transaction(self.name, offsets[-1])]
                ),
            )
            return int(fresh.num_rows)

    def read(self, columns: list[str] | None = None, filters: Filters | None = None) -> tuple[int, pa.Table] | None:
        """(Delta version, rows in no order) of the newest version; None before the first append.

        Columns that the table does not have yet are left out.
        """
        return _beside_erasures(lambda: self._read(columns, filters))

    def count(self, filters: Filters) -> int:
        """Rows that pass; reads no other columns than theirs, nor files whose bounds rule them out."""
        return _beside_erasures(lambda: self._count(filters))

    def compact(self, above_files: int) -> bool:
        """Merges small files once there are many; tells whether it did."""
        with self._writing():
            delta = self._open()
            if delta is None or len(delta.file_uris()) <= above_files:
                return False
            delta.optimize.compact()
            return True

    def erase(self, column: str, values: Sequence[int]) -> int:
        """Removes the rows whose column has one of the values, and every older file and log entry; returns how many.

        Afterwards no file of the table holds anything of them, and no older version can be read. Repeating an erasure
        that was interrupted completes it.
        """
        with self._writing():
            delta = self._open()
            if delta is None:
                return 0
            # A merge names no value in Delta's log, and takes as long for 100,000 values as for one.
            removed = (
                delta.merge(
                    pa.table({"erased": pa.array(sorted(set(values)), pa.int64())}),
                    predicate=f"kept.{column} = source.erased",
                    source_alias="source",
                    target_alias="kept",
                )
                .when_matched_delete()
                .execute()
            )
            delta.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
            delta.alter.set_table_properties(self._configuration | _LOG_DROPPED)
            delta.create_checkpoint()
            delta.cleanup_metadata()
            delta.alter.set_table_properties(_LOG_KEPT)
            return int(removed["num_target_rows_deleted"])

    def _read(self, columns: list[str] | None, filters: Filters | None) -> tuple[int, pa.Table] | None:
        delta = self._open()
        if delta is None:
            return None
        known = {field.name for field in delta.schema().fields}
        chosen = None if columns is None else [name for name in columns if name in known]
        return delta.version(), delta.to_pyarrow_table(columns=chosen, filters=filters)

    def _count(self, filters: Filters) -> int:
        delta = self._newest()
        if delta is None:
            return 0
        return int(delta.to_pyarrow_dataset().count_rows(filter=filters_to_expression(filters)))

    def _newest(self) -> deltalake.DeltaTable | None:
        """The table as it is now; reading what was added since the last time is much cheaper than reading it all."""
        try:
            if self._kept is not None:
                self._kept.update_incremental()
        except DeltaError:
            self._kept = None  # an erasure has dropped the log entries in between
        if self._kept is None:
            self._kept = self._open()
        return self._kept

    def _open(self) -> deltalake.DeltaTable | None:
        try:
            return deltalake.DeltaTable(self._path)
        except TableNotFoundError:
            return None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self.folder / f"{self.name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough while a forked child holds it open
            os.close(file)


def _beside_erasures(read: Callable[[], Found]) -> Found:
    """What is found, looked for again when an erasure has just removed a file that was to be read."""
    for _ in range(_TRIES - 1):
        try:
            return read()
        except (FileNotFoundError, DeltaError):
            time.sleep(_PAUSE_S)
    return read()
