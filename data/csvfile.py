"""A CSV file as typed rows in their order. A bad row is counted with its line number and skipped."""

import csv
import difflib
import gzip
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from contracts.schema import BadInput, Feature, Label, Schema, Task
from data.columns import Column, cell_value, guess, guess_label

LOOK_AHEAD = 10_000
"""Rows from whose cells the types are guessed."""
_KEPT = 20
_MOST_LINES = 50
"""A cell may hold line breaks, within this many lines."""


class BadFile(ValueError):
    """The file cannot be used at all; the message says why and what to do."""


@dataclass(frozen=True)
class BadRow:
    """A row that was skipped."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


@dataclass
class BadRows:
    """Rows skipped so far: how many, and the first few."""

    count: int = 0
    first: list[BadRow] = field(default_factory=list)

    def add(self, line: int, reason: str) -> None:
        self.count += 1
        if len(self.first) < _KEPT:
            self.first.append(BadRow(line, reason))


@dataclass(frozen=True)
class Guess:
    """What the first rows of a file say about it."""

    label: Label
    columns: tuple[Column, ...]
    """Every column but the label and the timestamp."""
    rows: int
    """How many were looked at."""
    whole: bool
    """Whether that was the whole file."""

    @property
    def features(self) -> tuple[Feature, ...]:
        return tuple(feature for column in self.columns if (feature := column.feature) is not None)

    @property
    def schema(self) -> Schema:
        return Schema(self.features, self.label)


def look(
    path: Path,
    label_column: str,
    *,
    timestamp_column: str = "timestamp",
    rows: int = LOOK_AHEAD,
    task: Task | None = None,
) -> Guess:
    """Types and label as the first `rows` rows have them; rows of another width are passed over.

    Raises BadFile when there is no such file, column or row.
    """
    with _open(path) as (header, lines):
        _need_column(path, header, label_column)
        found = list(islice(lines, rows + 1))
    cells = [row for _, row in found[:rows] if len(row) == len(header)]
    if not cells:
        raise BadFile(f"{path}: no row below the header has its {len(header)} cells")
    by_name = {name: [row[i] for row in cells] for i, name in enumerate(header) if name}
    try:
        label = guess_label(label_column, by_name[label_column], task)
    except BadInput as error:
        raise BadFile(f"{path}: column {error}") from None
    left_out = (label_column, timestamp_column)
    columns = tuple(guess(name, texts) for name, texts in by_name.items() if name not in left_out)
    looked = Guess(label, columns, len(cells), whole=len(found) <= rows)
    if not looked.features:
        raise BadFile(f"{path}: there is no feature beside {label_column}")
    return looked


def read(path: Path, label_column: str, schema: Schema, bad: BadRows) -> Iterator[tuple[dict[str, Any], Any]]:
    """(features, label) of each good row, as JSON carries them; missing cells are absent. Bad rows go to `bad`.

    Raises BadFile when a column of the schema is not there.
    """
    with _open(path) as (header, lines):
        _need_column(path, header, label_column)
        for feature in schema.features:
            _need_column(path, header, feature.name)
        at = {name: i for i, name in enumerate(header)}
        for line, cells in lines:
            try:
                if not cells:
                    raise ValueError("has a quote that is not closed, or text after one")
                if len(cells) != len(header):
                    raise ValueError(f"has {len(cells)} cells, the header has {len(header)}")
                yield _features(cells, at, schema), _label(cells[at[label_column]], schema.label)
            except ValueError as error:
                bad.add(line, str(error))


def count_rows(path: Path) -> int:
    """Lines below the header, which is the number of rows where no cell holds a line break."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    lines, last = 0, b"\n"
    with opener(path, "rb") as file:
        try:
            while chunk := file.read(1 << 20):
                lines, last = lines + chunk.count(b"\n"), chunk[-1:]
        except (OSError, EOFError):
            pass  # a damaged end: reading the rows says so, with the line
    return max(0, lines - 1 + (last != b"\n"))


def _features(cells: list[str], at: dict[str, int], schema: Schema) -> dict[str, Any]:
    features = {}
    for feature in schema.features:
        text = cells[at[feature.name]]
        if _is_damaged(text):
            raise ValueError(f"{feature.name}: is not UTF-8 text")
        try:
            value = cell_value(text, feature.type)
        except ValueError as error:
            raise ValueError(f"{feature.name}: {error}") from None
        if value is not None:
            features[feature.name] = value
        elif not feature.optional:
            raise ValueError(f"{feature.name}: is missing")
    return features


def _label(text: str, label: Label) -> str | float:
    if text == "":
        raise ValueError("the label is missing")
    return label.decode(text) if label.is_regression else text


@contextmanager
def _open(path: Path) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
    """The header and the numbered rows of a file. Raises BadFile."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        # A byte that is no UTF-8 becomes a lone surrogate, which marks its row as bad instead of ending the file.
        with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            first = file.readline()
            delimiter = max(",;\t|", key=first.count)
            header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
            _check_header(path, header)
            yield header, _lines(file, delimiter)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _lines(file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of their first line. A row that cannot be read comes without cells.

    An unclosed quote costs its own line only: the lines that it would swallow are read again as rows.
    """
    ahead: deque[str] = deque()
    number = 1
    while True:
        while len(ahead) < _MOST_LINES and (line := file.readline()):
            ahead.append(line)
        if not ahead:
            return
        cells, taken = _row(ahead, delimiter)
        for _ in range(taken):
            ahead.popleft()
        if cells != [""]:
            yield number + 1, cells
        number += taken


def _row(ahead: Sequence[str], delimiter: str) -> tuple[list[str], int]:
    """The first row's cells, and how many lines it takes."""
    if '"' not in ahead[0]:
        return [cell.strip() for cell in ahead[0].split(delimiter)], 1
    taken = quotes = 0
    for line in ahead:
        taken, quotes = taken + 1, quotes + line.count('"')
        if quotes % 2 == 0:
            break
    else:
        return [], 1
    try:
        cells = next(csv.reader(list(ahead)[:taken], delimiter=delimiter, strict=True))
    except csv.Error:
        return [], 1
    return [cell.strip() for cell in cells], taken


def _check_header(path: Path, header: list[str]) -> None:
    if not any(header):
        raise BadFile(f"{path}: is empty; the first line must name the columns")
    if any(_is_damaged(name) for name in header):
        raise BadFile(f"{path}: the header is not UTF-8 text; save the file as UTF-8")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise BadFile(f"{path}: the header names {', '.join(twice)} twice")


def _is_damaged(text: str) -> bool:
    """Whether bytes that are no UTF-8 stand in it."""
    return not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text)


def _need_column(path: Path, header: list[str], name: str) -> None:
    if name not in header:
        close = difflib.get_close_matches(name, header, n=1, cutoff=0.5)
        hint = f'; did you mean "{close[0]}"?' if close else f"; there are {', '.join(filter(None, header))}"
        raise BadFile(f'{path}: there is no column "{name}"{hint}')
