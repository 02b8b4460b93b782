"""The durable log in offset order, a slice at a time: what is in memory is bounded, however long the log is."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from contracts.tables import Filters, Table

ROWS = 20_000  # of one slice, about: some tens of MB with wide features
_PARTS = 64


def slices(table: Table, columns: list[str] | None, after: int, until: int, rows: int = ROWS) -> Iterator[pa.Table]:
    """Rows with offsets above `after` and up to `until`, in order, about so many at a time; no slice is empty.

    Spans that hold more are divided evenly by time. Columns that the table does not have are left out.
    """
    spans = [(after, min(until, table.position()))]
    while spans:
        begin, end = spans.pop()
        found = table.count(_between(begin, end)) if end > begin else 0
        if found > rows and end - begin > 1:
            step = max(1, (end - begin) // min(_PARTS, -(-found // rows) + 1))
            spans += reversed([(at, min(at + step, end)) for at in range(begin, end, step)])
        elif found and (read := table.read(columns, _between(begin, end))) is not None:
            yield read[1].sort_by("offset")


def at(table: Table, columns: list[str] | None, name: str, values: Sequence[int]) -> pa.Table | None:
    """Rows whose column has one of the values, in offset order; None where there are none."""
    if not values:
        return None
    wanted = sorted(values)
    read = table.read(columns, [(name, ">=", wanted[0]), (name, "<=", wanted[-1]), (name, "in", wanted)])
    return None if read is None or not read[1].num_rows else read[1].sort_by("offset")


def _between(after: int, until: int) -> Filters:
    return [("offset", ">", after), ("offset", "<=", until)]
