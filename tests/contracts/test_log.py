"""The Delta tables: whole appends, exactly once."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import deltalake
import pytest
from msgspec import structs

from contracts import events
from contracts.config import Config, parse
from contracts.events import Feedback, Prediction, Shadow
from contracts.log import Log

SHADOW = Shadow({2: (7, (1, 0))})
CONFIG = """
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float?", c = "category", n = "int", b = "bool"}
learners = {linear = {algorithm = "linear"}}
"""


@pytest.fixture
def config() -> Config:
    return parse(CONFIG)


@pytest.fixture
def log(tmp_path: Path, config: Config) -> Log:
    return Log(tmp_path, "m", config.model("m").schema)


def at(ms: int) -> int:
    return events.offset(f"{ms}-0")


def rows(*milliseconds: int) -> list[tuple[int, Prediction, Shadow]]:
    return [
        (at(ms), Prediction(1, 0, (0.4, 0.6), (None if ms == 3 else 0.5, "a", ms, True), "f"), SHADOW)
        for ms in milliseconds
    ]


def test_a_repeated_append_writes_nothing_twice(log: Log) -> None:
    """Overlapping batches, as a crash between write and checkpoint produces them, leave each row once."""
    assert log.append_predictions(rows(1, 2, 3)) == 3
    assert log.append_predictions(rows(2, 3, 4)) == 1
    assert log.append_predictions(rows(1, 4)) == 0
    assert log.rows("predictions")["offset"].to_pylist() == [events.offset(f"{ms}-0") for ms in (1, 2, 3, 4)]
    assert log.position("predictions") == events.offset("4-0")


def test_examples_join_the_newest_label_and_every_score(log: Log) -> None:
    """Unlabelled predictions are left out; a correction replaces the label; scores are as logged."""
    assert len(log.examples()) == 0
    log.append_predictions(rows(1, 2, 3))
    log.append_labels([(at(5), Feedback("1-0", "true")), (at(6), Feedback("3-0", "true", "ann", "why", 5.5))])
    log.append_labels([(at(7), Feedback("3-0", "false"))])
    found = log.examples()
    assert found.labels == ["true", "false"]
    assert found.rows == [(0.5, "a", 1, True), (None, "a", 3, True)]
    assert found.scores[0] == {1: (0.4, 0.6), 2: (1.0, 0.0)}
    assert found.versions == {"predictions": 0, "labels": 1}
    assert log.examples(last=1).rows == found.rows[1:]
    assert log.examples(since=events.offset("1-0")).rows == found.rows[1:]
    assert log.examples(until=events.offset("2-0")).rows == found.rows[:1]


def test_the_labels_of_some_predictions_are_those_of_examples(log: Log) -> None:
    """The newest counts; without one there is none, or the first class where that is what a time-out means."""
    assert (log.labels_of([at(1)]), log.labelled().tolist()) == ({}, [])
    log.append_predictions(rows(1, 2, 3))
    log.append_labels([(at(5), Feedback("3-0", "true")), (at(6), Feedback("1-0", "true"))])
    log.append_labels([(at(7), Feedback("3-0", "false"))])
    assert log.labels_of([at(2), at(3)]) == {at(3): "false"}
    assert log.labels_of([at(1), at(2), at(3)], "first", at(3)) == {at(1): "true", at(2): "false", at(3): "true"}
    assert log.labelled().tolist() == [at(1), at(3)]


def test_many_small_files_are_merged_without_losing_a_row_or_the_position(log: Log) -> None:
    """Compaction changes files, not content, and a repeated append stays refused."""
    for ms in range(1, 8):
        log.append_predictions(rows(ms))
    before = log.rows("predictions")
    assert log.compact("predictions", above_files=3)
    assert log.rows("predictions") == before
    assert log.append_predictions(rows(7)) == 0
    assert not log.compact("predictions", above_files=3)


def test_a_new_feature_column_joins_an_old_table(log: Log, tmp_path: Path) -> None:
    """A schema may grow: old rows have null in the new column."""
    log.append_predictions(rows(1))
    wider = parse(CONFIG.replace('b = "bool"', 'b = "bool", z = "float?"')).model("m").schema
    grown = Log(tmp_path, "m", wider)
    grown.append_predictions([(at(2), Prediction(1, 0, (0.4, 0.6), (1.0, "a", 1, True, 9.0), "g"), Shadow())])
    assert grown.features(last=5)["z"] == [None, 9.0]


def test_an_old_table_without_entities_gets_the_column(log: Log) -> None:
    """Its rows are about nobody; new ones are found by whom they are about."""
    log.append_predictions(rows(1, 2))
    path = str(log.folder / "predictions")
    old = deltalake.DeltaTable(path).to_pyarrow_table().drop_columns(["entity"])
    deltalake.write_deltalake(path, old, mode="overwrite", schema_mode="overwrite")
    assert log.offsets_of("ann") == []
    fresh = [
        (offset, structs.replace(asked, entity=who), SHADOW)
        for (offset, asked, _), who in zip(rows(3, 4), ("ann", "bob"), strict=True)
    ]
    assert log.append_predictions(fresh) == 2
    assert log.offsets_of("ann") == [events.offset("3-0")]
    assert log.rows("predictions")["entity"].to_pylist() == [None, None, "ann", "bob"]


@pytest.mark.parametrize(
    "change", [{"row": ("text", "a", 1, True)}, {"row": (0.5,)}, {"row": (0.5, "a", 2**63, True)}, {"version": 2**63}]
)
def test_an_entry_that_no_column_holds_is_left_out_alone(log: Log, change: dict[str, Any]) -> None:
    """Serving refuses such values; what somebody puts into the stream by hand stops neither the batch nor the log."""
    first, middle, last = rows(1, 2, 4)
    bad = (middle[0], structs.replace(middle[1], **change), middle[2])
    assert log.append_predictions([first, bad, last]) == 2
    assert log.append_predictions([first, bad, last]) == 0
    assert log.append_predictions([(at(5), *bad[1:])]) == 0
    assert log.position("predictions") == events.offset("5-0")
    assert log.rows("predictions")["x_n"].to_pylist() == [1, 4]


@pytest.mark.parametrize("moment", [1e300, float("nan"), 1e14])
def test_a_label_from_beyond_the_calendar_is_left_out_alone(log: Log, moment: float) -> None:
    """As above, for labels."""
    assert log.append_labels([(at(5), Feedback("1-0", "a")), (at(6), Feedback("1-0", "b", labeled_at=moment))]) == 1
    assert log.rows("labels")["label"].to_pylist() == ["a"]


def test_times_and_nested_scores_are_kept_exactly(log: Log) -> None:
    """Milliseconds of the id, microseconds of the report, no shadows and several."""
    asked = rows(1)[0][1]
    shadows = [Shadow(), Shadow({2: (7, (1.0, 0.0)), 9: (0, (0.1, 0.9))}), Shadow({3: (1, ())})]
    log.append_predictions([(events.offset(f"176380000000{i}-{i}"), asked, shadow) for i, shadow in enumerate(shadows)])
    log.append_labels([(at(1763800000123), Feedback("1763800000000-0", 1.5, None, None, 1763800000.000123))])
    table, (label,) = log.rows("predictions"), log.rows("labels").to_pylist()
    assert table["shadows"].to_pylist() == [
        [],
        [{"version": 2, "revision": 7, "scores": [1.0, 0.0]}, {"version": 9, "revision": 0, "scores": [0.1, 0.9]}],
        [{"version": 3, "revision": 1, "scores": []}],
    ]
    assert [moment.timestamp() for moment in table["asked_at"].to_pylist()] == [
        1763800000.0,
        1763800000.001,
        1763800000.002,
    ]
    assert (label["label"], label["labeled_at"].timestamp()) == ("1.5", 1763800000.000123)
    assert label["received_at"].timestamp() == 1763800000.123


def _append_all(folder: Path, writer: int) -> int:
    log = Log(folder, "m", parse(CONFIG).model("m").schema)
    return sum(log.append_predictions(rows(*range(ms, ms + 5))) for ms in range(1, 51, 5))


def test_writers_that_should_not_be_two_still_write_each_row_once(tmp_path: Path, config: Config) -> None:
    """Position and append are one step between processes, and a kept position is never an old one."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:  # deltalake does not survive a fork
        written = sum(pool.map(_append_all, [tmp_path] * 2, range(2)))
    assert written == 50
    found = Log(tmp_path, "m", config.model("m").schema).offsets()
    assert list(found) == [events.offset(f"{ms}-0") for ms in range(1, 51)]
