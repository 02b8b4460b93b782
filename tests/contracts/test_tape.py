"""The log read back in order, a slice at a time."""

from pathlib import Path

import pyarrow as pa
import pytest

from contracts import tape
from contracts.tables import Table

FIRST = 1_700_000_000_000 << 20
OFFSETS = [FIRST + (n << 20) for n in range(2_000)] + [FIRST + (9_000_000 << 20) + n for n in range(500)]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """In appends of 500; a long silence before the last one, which fell into one millisecond."""
    made = Table(tmp_path, "predictions")
    for begin in range(0, len(OFFSETS), 500):
        rows = OFFSETS[begin : begin + 500]
        made.append(rows, lambda first, rows=rows: pa.table({"offset": pa.array(rows[first:], pa.int64())}))
    return made


@pytest.mark.parametrize("compacted", [False, True])
def test_slices_are_in_order_whole_and_small(table: Table, compacted: bool) -> None:
    """Also after the files of the table were merged, in whatever order."""
    if compacted:
        assert table.compact(2)
    found = list(tape.slices(table, None, -1, 2**62, rows=300))
    assert pa.concat_tables(found)["offset"].to_pylist() == OFFSETS
    assert max(piece.num_rows for piece in found) <= 300


def test_slices_begin_after_one_offset_and_end_with_another(table: Table) -> None:
    """As offsets of the log are given everywhere else."""
    found = list(tape.slices(table, ["offset"], OFFSETS[10], OFFSETS[20]))
    assert [piece["offset"].to_pylist() for piece in found] == [OFFSETS[11:21]]
    assert not list(tape.slices(table, None, OFFSETS[-1], 2**62))


def test_rows_are_found_by_their_values(table: Table) -> None:
    """However far apart; what is not there is left out."""
    found = tape.at(table, ["offset"], "offset", [OFFSETS[-1], 5, OFFSETS[3]])
    assert found is not None
    assert found["offset"].to_pylist() == [OFFSETS[3], OFFSETS[-1]]
    assert tape.at(table, ["offset"], "offset", []) is None
    assert tape.at(table, ["offset"], "offset", [5]) is None


def test_an_empty_log_has_no_slices(tmp_path: Path) -> None:
    """Before the first append."""
    assert not list(tape.slices(Table(tmp_path, "labels"), None, -1, 2**62))
