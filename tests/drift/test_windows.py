"""The two windows: the champion's past, or another, against the newest rows; never the same row twice."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from contracts import events
from contracts.drift_rules import Drift, Period
from drift.windows import Offsets, Origin, TooFewRows, choose, newest, thinned, told

RULES = Drift(reference_rows=10, current_rows=4, min_rows=3)
DAY = 86_400


def at(*seconds: float) -> Offsets:
    return np.array([events.span(second) for second in seconds], np.int64)


def asked(offsets: Offsets) -> list[float]:
    """Seconds at which they were asked."""
    return [events.seconds_at(int(offset)) for offset in offsets]


def made_from(first: float, last: float, fitted_through: float | None = None) -> Origin:
    through = None if fitted_through is None else events.span(fitted_through)
    return Origin(events.span(first), events.span(last), through)


def test_the_reference_is_all_that_the_champion_was_made_from() -> None:
    """From its first row through its last; the current window holds the newest rows of the log."""
    found = choose(at(*range(1, 31)), made_from(3, 20), RULES)
    assert (found.kind, found.is_lasting) == ("training", True)
    assert asked(found.reference) == list(range(3, 21))
    assert asked(found.current) == [27, 28, 29, 30]


def test_a_champion_that_began_with_the_log_has_the_oldest_rows_for_reference() -> None:
    """An online learner is enrolled before the first prediction."""
    found = choose(at(*range(1, 31)), Origin(), RULES)
    assert (found.kind, found.is_lasting) == ("oldest", False)
    assert asked(found.reference) == list(range(1, 11))
    assert asked(found.current) == [27, 28, 29, 30]
    assert found.origin == "the oldest of the log"


def test_a_window_that_is_too_small_says_how_many_rows_there_are_and_are_needed() -> None:
    """Before the first row, with too few, and right after a promotion."""
    with pytest.raises(TooFewRows, match="reference window has 0 rows and needs 3"):
        choose(at(), Origin(), RULES)
    with pytest.raises(TooFewRows, match="current window has 2 rows and needs 3") as caught:
        choose(at(1, 2, 3, 4, 5), Origin(), RULES)
    assert (caught.value.window, caught.value.rows, caught.value.needed) == ("current", 2, 3)
    with pytest.raises(TooFewRows, match="current window has 1 rows"):
        choose(at(1, 2, 3, 4, 5), made_from(1, 4), RULES)
    assert asked(choose(at(1, 2, 3, 4, 5, 6), Origin(), RULES).reference) == [1, 2, 3]


def test_a_period_is_what_was_asked_from_one_moment_up_to_another() -> None:
    """The end is no part of it; the current window begins behind it at the earliest."""
    moments = [datetime.fromtimestamp(second, UTC) for second in (5, 9)]
    rules = Drift(reference=Period(start=moments[0], end=moments[1]), current_rows=4, min_rows=3)
    found = choose(at(*range(1, 12)), Origin(), rules)
    assert (found.kind, found.is_lasting) == ("period", True)
    assert asked(found.reference) == [5, 6, 7, 8]
    assert asked(found.current) == [9, 10, 11, 11][:3]
    with pytest.raises(TooFewRows, match="reference window has 0 rows"):
        choose(at(*range(20, 40)), Origin(), rules)


def test_a_season_is_the_same_hours_of_past_days() -> None:
    """Ten days of one question an hour: the newest three hours against those of the four days before."""
    hours = at(*(3_600 * hour for hour in range(1, 241)))
    rules = Drift(reference="season", current_rows=3, min_rows=3)
    found = choose(hours, Origin(), rules, season="1d")
    assert [second / 3_600 for second in asked(found.current)] == [238, 239, 240]
    days_before = [240 - 24 * back for back in (4, 3, 2, 1)]
    assert [second / 3_600 for second in asked(found.reference)] == [
        last - i for last in days_before for i in (2, 1, 0)
    ]
    assert found.origin == "the same hours of past seasons"
    assert not found.is_lasting


def test_a_daily_cycle_drifts_against_a_day_and_not_against_the_same_hours() -> None:
    """What the option is for: a value that follows the clock."""
    rng = np.random.default_rng(0)
    seconds = np.arange(0, 10 * DAY + 6 * 3_600, 60.0)
    values = np.sin(2 * np.pi * seconds / DAY) + rng.normal(0, 0.1, len(seconds))
    by_offset = dict(zip(at(*seconds).tolist(), values.tolist(), strict=True))
    rules = Drift(current_span="6h", season="1d")

    def gap(found: Drift, origin: Origin) -> float:
        windows = choose(at(*seconds), origin, found)
        means = [np.mean([by_offset[int(one)] for one in side]) for side in (windows.reference, windows.current)]
        return abs(float(means[0] - means[1]))

    assert gap(rules, made_from(0, 9 * DAY)) > 0.5
    assert gap(Drift(reference="season", current_span="6h", season="1d"), Origin()) < 0.05


def test_a_current_window_by_time_is_the_newest_stretch_in_a_sample() -> None:
    """An hour of it, drawn at random where there are more rows than wanted, the same ones each time."""
    rules = Drift(current_rows=100, current_span="1h")
    assert asked(newest(at(*range(0, 7_200, 60)), rules)) == list(range(3_600, 7_200, 60))
    busy = at(*range(7_200))
    found = newest(busy, rules)
    assert len(found) == 100
    assert min(asked(found)) >= 3_600
    assert (found == newest(busy, rules)).all()
    assert len(newest(at(), rules)) == 0


def test_a_sample_does_not_keep_step_with_a_cycle() -> None:
    """Every tenth row is of one kind: so are about a tenth of a hundredth of all rows."""
    drawn = thinned(np.arange(100_000), 1_000)
    assert len(set(drawn.tolist())) == 1_000
    assert 70 < np.sum(drawn % 10 == 0) < 130


def test_a_window_is_told_with_its_rows_and_times() -> None:
    """And with how many they were drawn from."""
    assert told(at(0, 60)) == "2 rows of 1970-01-01 00:00 to 1970-01-01 00:01 UTC"
    assert told(at(0, 60), 5_000).startswith("2 of 5,000 rows of")


@given(
    rows=st.integers(0, 60),
    first=st.integers(0, 60),
    seen=st.integers(0, 60),
    reference=st.integers(1, 30),
    current=st.integers(1, 30),
    least=st.integers(1, 20),
    span=st.sampled_from([None, "1s", "7s"]),
    kind=st.sampled_from(["training", "season"]),
)
def test_windows_never_share_a_row_and_are_never_larger_than_asked(
    rows: int, first: int, seen: int, reference: int, current: int, least: int, span: str | None, kind: str
) -> None:
    """The reference comes first, both lie in the log, and both have at least min_rows or the answer is TooFewRows."""
    offsets = at(*range(1, rows + 1))
    rules = Drift(
        reference=kind,  # type: ignore[arg-type]  # drawn from the literals
        season="5s",
        reference_rows=reference,
        current_rows=current,
        current_span=span,
        min_rows=least,
    )
    try:
        found = choose(offsets, made_from(first, seen), rules)
    except TooFewRows as error:
        event(f"too few: {error.window}")
        return
    event(found.kind)
    assert found.reference[-1] < found.current[0]
    assert found.current[-1] == offsets[-1] or span is not None
    assert np.isin(np.concatenate([found.reference, found.current]), offsets).all()
    assert len(set(found.reference.tolist())) == len(found.reference) >= least
    assert least <= len(found.current) <= current
