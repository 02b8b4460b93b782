"""The two windows: the champion's past against the newest rows, never the same row twice."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from contracts import events
from contracts.drift_rules import Drift
from contracts.events import Prediction, Shadow
from contracts.log import Log
from contracts.schema import Feature, Label, Schema
from drift.windows import TooFewRows, choose, read

SCHEMA = Schema((Feature("x", "float"), Feature("c", "category", optional=True)), Label("binary", (False, True)))
RULES = Drift(reference_rows=10, current_rows=4, min_rows=3)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path, "m", SCHEMA)


def append(log: Log, first: int, last: int) -> None:
    """Predictions at `first` to `last` seconds, whose x is their number."""
    log.append_predictions(
        [
            (events.span(i), Prediction(0, 0, (0.5, 0.5), (float(i), None if i % 2 else "a"), "f"), Shadow())
            for i in range(first, last + 1)
        ]
    )


def test_the_reference_is_what_the_champion_was_made_from(log: Log) -> None:
    """Its newest rows up to `since`; the current window holds the newest rows of the log."""
    append(log, 1, 20)
    append(log, 21, 30)
    found = read(log, "20000-0", RULES)
    assert found.before_champion
    assert found.reference.columns["x"] == [float(i) for i in range(11, 21)]
    assert found.current.columns["x"] == [27.0, 28.0, 29.0, 30.0]
    assert found.current.columns["c"] == [None, "a", None, "a"]
    assert (found.reference.rows, found.reference.first_at, found.reference.last_at) == (10, 11.0, 20.0)
    assert (found.current.rows, found.current.first_at, found.current.last_at) == (4, 27.0, 30.0)


def test_a_caption_says_what_is_compared_with_what(log: Log) -> None:
    """Rows, times and where the reference comes from."""
    append(log, 1, 130)
    assert read(log, "100000-0", RULES).caption == (
        "Reference: 10 rows of 1970-01-01 00:01 to 1970-01-01 00:01 UTC, what the champion was made from. "
        "Current: 4 rows of 1970-01-01 00:02 to 1970-01-01 00:02 UTC, the newest."
    )
    assert "the oldest of the log" in read(log, "0-0", RULES).caption


def test_a_champion_that_began_with_the_log_has_the_oldest_rows_for_reference(log: Log) -> None:
    """An online learner is enrolled before the first prediction."""
    append(log, 1, 30)
    found = read(log, "0-0", RULES)
    assert not found.before_champion
    assert found.reference.columns["x"] == [float(i) for i in range(1, 11)]
    assert found.current.columns["x"] == [27.0, 28.0, 29.0, 30.0]


def test_a_window_that_is_too_small_says_how_many_rows_there_are_and_are_needed(log: Log) -> None:
    """Before the first row, with too few, and right after a promotion."""
    with pytest.raises(TooFewRows, match="reference window has 0 rows and needs 3"):
        read(log, "0-0", RULES)
    append(log, 1, 5)
    with pytest.raises(TooFewRows, match="current window has 2 rows and needs 3") as caught:
        read(log, "0-0", RULES)
    assert (caught.value.window, caught.value.rows, caught.value.needed) == ("current", 2, 3)
    with pytest.raises(TooFewRows, match="current window has 1 rows"):
        read(log, "4000-0", RULES)
    append(log, 6, 6)
    assert read(log, "0-0", RULES).reference.columns["x"] == [1.0, 2.0, 3.0]


@given(
    rows=st.integers(0, 60),
    seen=st.integers(0, 60),
    reference=st.integers(1, 30),
    current=st.integers(1, 30),
    least=st.integers(1, 20),
)
def test_windows_never_share_a_row_and_are_never_larger_than_asked(
    rows: int, seen: int, reference: int, current: int, least: int
) -> None:
    """The reference comes first, both lie in the log, and both have at least min_rows or the answer is TooFewRows."""
    offsets = np.array([events.offset(f"{i + 1}-0") for i in range(rows)], np.int64)
    rules = Drift(reference_rows=reference, current_rows=current, min_rows=least)
    try:
        _, first, second = choose(offsets, events.offset(f"{seen}-0"), rules)
    except TooFewRows as error:
        event(f"too few: {error.window}")
        return
    assert 0 <= first.start < first.stop <= second.start < second.stop == rows
    assert least <= len(first) <= reference
    assert least <= len(second) <= current
