"""The judgement on distances: pure, and said in one sentence."""

import pytest

from contracts.drift_rules import Drift
from drift.verdict import JENSEN_SHANNON, MISSING, WASSERSTEIN, Column, judge


def column(name: str, distance: float, threshold: float = 0.1, method: str = WASSERSTEIN) -> Column:
    return Column(name, method, distance, threshold)


def test_the_farthest_columns_are_named_first_in_units_of_their_thresholds() -> None:
    """0.5 against a threshold of 0.1 is farther than 0.9 against 0.5."""
    verdict = judge([column("a", 0.02), column("b", 0.9, 0.5, JENSEN_SHANNON), column("c", 0.5)], Drift(share=0.7))
    assert verdict.drifted == ("c", "b")
    assert verdict.share == pytest.approx(2 / 3)
    assert not verdict.alarm
    assert verdict.sentence == "2 of 3 columns moved: c (0.50 against 0.10), b (0.90 against 0.50)"


def test_the_alarm_begins_at_the_configured_share() -> None:
    """Half of the columns is enough for `share = 0.5`."""
    columns = [column("a", 0.3), column("b", 0.0)]
    assert judge(columns, Drift(share=0.5)).alarm
    assert not judge(columns, Drift(share=0.51)).alarm


def test_many_moved_columns_are_counted_and_the_three_farthest_named() -> None:
    """The sentence stays readable with a hundred columns."""
    verdict = judge([column(f"c{i}", i / 100) for i in range(100)], Drift())
    assert len(verdict.drifted) == 90
    assert verdict.sentence.startswith("90 of 100 columns moved; most: c99 (0.99 against 0.10), c98")
    assert verdict.sentence.count("against") == 3


def test_an_unmoved_world_names_the_column_nearest_to_its_threshold() -> None:
    """ "Nothing moved" still says how near it was, and a distance at the threshold has moved."""
    assert judge([column("a", 0.04)], Drift()).sentence == "None of 1 column moved; nearest: a (0.04 against 0.10)"
    assert judge([column("a", 0.1)], Drift()).drifted == ("a",)


def test_missing_values_are_said_to_be_the_reason() -> None:
    """A sensor that stopped reads differently from one that moved."""
    assert "a (missing values, 0.83 against 0.10)" in judge([column("a", 0.83, method=MISSING)], Drift()).sentence


def test_no_column_is_a_callers_mistake() -> None:
    """A share of nothing has no meaning."""
    with pytest.raises(ValueError, match="no column"):
        judge([], Drift())
