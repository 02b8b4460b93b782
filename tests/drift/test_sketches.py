"""What is kept of a window: a sample of its rows, what all of them held, and nothing that was erased."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from contracts import events
from contracts.events import Prediction, Shadow
from contracts.log import Log
from contracts.schema import Feature, Label, Schema
from drift.sketches import kept, of

SCHEMA = Schema(
    (Feature("x", "float", optional=True), Feature("c", "category", optional=True), Feature("b", "bool")),
    Label("binary", (False, True)),
)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """1,000 rows at a second each: x is the second, or missing every tenth time; version 2 shadows every second row."""
    log = Log(tmp_path, "m", SCHEMA)
    log.append_predictions(
        [
            (
                events.span(i),
                Prediction(1, 0, (0.4, 0.6), (None if i % 10 == 0 else float(i), f"c{i % 7}", i % 2 == 0), "f"),
                Shadow({2: (3, (0.1, 0.9))} if i % 2 else {}),
            )
            for i in range(1_000)
        ]
    )
    return log


def test_a_sketch_is_a_sample_and_knows_what_all_rows_held(log: Log) -> None:
    """Ranges, missing shares and categories are those of the window, however small the sample is."""
    window = log.offsets()[100:900]
    found = of(log, window, 50, None)
    assert (len(found.offsets), found.rows) == (50, 800)
    assert np.isin(found.offsets, window).all()
    profile = found.profiles
    assert (profile["x"].low, profile["x"].high, profile["x"].missing) == (101, 899, 0.1)
    assert profile["c"].categories is not None
    assert sum(profile["c"].categories.values()) == 800
    assert profile["b"].categories == {"true": 400, "false": 400}
    assert found.columns(SCHEMA)["x"] == [
        None if events.seconds_at(int(at)) % 10 == 0 else events.seconds_at(int(at)) for at in found.offsets
    ]
    assert found.scores() == [None] * 50


def test_scores_are_those_of_one_version_whether_it_answered_or_shadowed(log: Log) -> None:
    """None where it did neither."""
    window = log.offsets()[:10]
    assert of(log, window, 10, 1).scores() == [[0.4, 0.6]] * 10
    assert of(log, window, 10, 2).scores() == [None, [0.1, 0.9]] * 5
    assert of(log, window, 10, 3).scores() == [None] * 10


def test_rows_between_the_pieces_of_a_window_are_no_part_of_it(log: Log) -> None:
    """As between past seasons."""
    offsets = log.offsets()
    window = np.concatenate([offsets[10:20], offsets[500:510]])
    found = of(log, window, 100, None)
    assert found.offsets.tolist() == window.tolist()
    assert (found.profiles["x"].low, found.profiles["x"].high) == (11, 509)
    assert sum((found.profiles["b"].categories or {}).values()) == 20


def test_a_kept_sketch_is_read_again_and_made_anew_where_it_is_no_more_one(log: Log, tmp_path: Path) -> None:
    """The same rows and figures from the file; a damaged file, or one with an erased row, is replaced."""
    folder, window = tmp_path / "references", log.offsets()[:800]
    made = kept(folder, log, window, 50, 1)
    (path,) = folder.iterdir()
    written = path.stat().st_mtime_ns
    again = kept(folder, log, window, 50, 1)
    assert path.stat().st_mtime_ns == written
    assert (again.table, again.rows, again.profiles) == (made.table, made.rows, made.profiles)
    path.write_bytes(b"damaged")
    assert kept(folder, log, window, 50, 1).table == made.table
    gone = int(made.offsets[20])
    log.erase([gone])
    left = window[window != gone]
    assert kept(folder, log, left, 50, 1).rows == 799
    assert gone not in pq.read_table(path)["offset"].to_pylist()


def test_rows_erased_while_they_were_read_are_not_kept(log: Log, tmp_path: Path) -> None:
    """A sketch of rows that the log has no more is used once, and leaves no file."""
    window = log.offsets()[:800]
    log.erase([int(window[3])])
    kept(tmp_path / "references", log, window, 50, 1)
    assert not list((tmp_path / "references").iterdir())


def test_a_disk_that_is_full_keeps_nothing_and_stops_nothing(log: Log, tmp_path: Path) -> None:
    """The sketch is made again next time."""
    (tmp_path / "references").write_text("a file where a folder should be")
    assert kept(tmp_path / "references", log, log.offsets(), 50, 1).rows == 1_000


def test_a_column_of_too_many_categories_is_not_told_apart(tmp_path: Path) -> None:
    """Of 12,000 names none is remembered: new ones would be no news."""
    schema = Schema((Feature("c", "category"),), Label("binary", (0, 1)))
    log = Log(tmp_path, "m", schema)
    log.append_predictions(
        [(events.span(i), Prediction(1, 0, (0.5, 0.5), (f"user{i}",), "f"), Shadow()) for i in range(12_000)]
    )
    assert of(log, log.offsets(), 100, None).profiles["c"].categories is None
    assert len(of(log, log.offsets()[:9_000], 100, None).profiles["c"].categories or {}) == 9_000
