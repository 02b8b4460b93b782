"""The Delta tables: whole appends, exactly once."""

from pathlib import Path

import pytest

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


def rows(*milliseconds: int) -> list[tuple[str, Prediction, Shadow]]:
    return [
        (f"{ms}-0", Prediction(1, 0, (0.4, 0.6), (None if ms == 3 else 0.5, "a", ms, True), "f"), SHADOW)
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
    log.append_labels([("5-0", Feedback("1-0", "true")), ("6-0", Feedback("3-0", "true", "ann", "why", 5.5))])
    log.append_labels([("7-0", Feedback("3-0", "false"))])
    found = log.examples()
    assert found.labels == ["true", "false"]
    assert found.rows == [(0.5, "a", 1, True), (None, "a", 3, True)]
    assert found.scores[0] == {1: (0.4, 0.6), 2: (1.0, 0.0)}
    assert found.versions == {"predictions": 0, "labels": 1}
    assert log.examples(last=1).rows == found.rows[1:]
    assert log.examples(since=events.offset("1-0")).rows == found.rows[1:]
    assert log.examples(until=events.offset("2-0")).rows == found.rows[:1]


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
    grown.append_predictions([("2-0", Prediction(1, 0, (0.4, 0.6), (1.0, "a", 1, True, 9.0), "g"), Shadow())])
    assert grown.features(last=5)["z"] == [None, 9.0]
