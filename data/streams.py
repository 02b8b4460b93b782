"""Streams to replay, by name or from a CSV file: features and label of each row, in order."""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.schema import Schema, Task
from data import bundled, csvfile
from data.csvfile import BadFile, BadRows

Row = tuple[dict[str, Any], Any]
"""Features by name, without the missing ones, and the label."""


@dataclass(frozen=True)
class Stream:
    """Rows in order, with what must be known to ask about them. Iterating starts anew each time."""

    name: str
    description: str
    provenance: str
    """Where the rows come from, and whether anybody ever measured them."""
    schema: Schema
    rows: Callable[[], Iterator[Row]] = field(repr=False)
    length: int
    """Rows, bad ones included."""
    real: bool = True
    """False when a program made the rows up."""
    bad_rows: BadRows = field(default_factory=BadRows)
    """Rows that were skipped, with their lines and reasons; filled by iterating."""

    @property
    def task(self) -> Task:
        return self.schema.label.task

    def __iter__(self) -> Iterator[Row]:
        return self.rows()


def names() -> list[str]:
    """Every stream that needs no file."""
    return sorted(bundled.CATALOGUE)


def stream(
    source: str | Path,
    label_column: str | None = None,
    *,
    schema: Schema | None = None,
    timestamp_column: str = "timestamp",
    task: Task | None = None,
) -> Stream:
    """A named stream, or the rows of a .csv or .csv.gz file.

    A file's types are those of `schema` where it is given (replaying for a configured model), else guessed from
    its first rows; its timestamp column is left out, since the order of the rows is the time. Raises BadFile.
    """
    if str(source) in bundled.CATALOGUE:
        return _bundled(str(source))
    path = Path(source).expanduser()
    if path.is_file():
        return _csv(path, label_column, schema, timestamp_column, task)
    close = difflib.get_close_matches(str(source), names(), n=1)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    raise BadFile(f'"{source}" is neither a file nor one of {", ".join(names())}{hint}')


def _bundled(name: str) -> Stream:
    entry = bundled.CATALOGUE[name]
    return Stream(
        name=name,
        description=entry.description,
        provenance=entry.provenance,
        schema=bundled.schema(name),
        rows=lambda: bundled.rows(name),
        length=entry.length,
        real=entry.real,
    )


def _csv(
    path: Path, label_column: str | None, schema: Schema | None, timestamp_column: str, task: Task | None
) -> Stream:
    if label_column is None:
        raise BadFile(f"{path}: name the column to predict with --label-column")
    if schema is None:
        schema = csvfile.look(path, label_column, timestamp_column=timestamp_column, task=task).schema
    bad = BadRows()
    return Stream(
        name=path.name,
        description=f"{path.name}, column {label_column}",
        provenance=f"Rows of {path.name} in the order in which they stand there.",
        schema=schema,
        rows=lambda: csvfile.read(path, label_column, schema, bad),
        length=csvfile.count_rows(path),
        bad_rows=bad,
    )
