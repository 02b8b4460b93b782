"""The judgement on distances: pure, and said in one sentence."""

import pytest

from contracts.drift_rules import Drift
from drift.verdict import JENSEN_SHANNON, MISSING, WASSERSTEIN, Column, judge, shares_of


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


def test_columns_are_weighted_by_what_the_champion_goes_by() -> None:
    """A column that it ignores comes last, however far it moved; the sentence says how much of it has moved."""
    columns = [column("ignored", 5.0), column("trusted", 0.2), column("still", 0.0)]
    shares = {"ignored": 0.0, "trusted": 0.6, "still": 0.4}
    verdict = judge(columns, Drift(), shares, ["the champion's answers moved"])
    assert verdict.drifted == ("trusted", "ignored")
    assert verdict.sentence == (
        "2 of 3 columns moved, with 60% of the champion's permutation importance: trusted (0.20 against 0.10), "
        "ignored (5.00 against 0.10); the champion's answers moved"
    )
    calm = judge([column("far", 0.09), column("trusted", 0.01)], Drift(), {"far": 0.0, "trusted": 1.0})
    assert calm.sentence == "None of 2 columns moved; nearest: far (0.09 against 0.10)"


def test_shares_of_importance_are_of_what_shuffling_adds() -> None:
    """Less than nothing is chance; a champion that goes by nothing has no shares."""
    assert shares_of({"a": 0.3, "b": 0.1, "c": -0.2}) == pytest.approx({"a": 0.75, "b": 0.25, "c": 0.0})
    assert shares_of({"a": 0.0, "b": -0.1}) == {}
