"""Thresholds keep the stated budget where nothing drifts, and find what does."""

import numpy as np
import pytest

from drift import budget
from drift.budget import Clock, Episode, Floats

HOURLY = Clock(season=24, day=24)
PAST = 28 * 24
MONTH = 30 * 24


def stream(seed: int, slots: int, rise_at: int | None = None) -> tuple[Floats, Floats]:
    """Labels and errors by the hour: a daily season, noise that lasts for hours, and a rise of the odds."""
    rng = np.random.default_rng(seed)
    shocks, noise = rng.normal(size=slots) * 0.2, np.zeros(slots)
    for at in range(1, slots):
        noise[at] = 0.7 * noise[at - 1] + shocks[at]
    turn = 2 * np.pi * np.arange(slots) / 24
    n = rng.poisson(60 * (1 + 0.7 * np.sin(turn)))
    odds = -2 + 0.6 * np.sin(turn) + noise + (0.0 if rise_at is None else 1.0 * (np.arange(slots) >= rise_at))
    return n.astype(float), rng.binomial(n, 1 / (1 + np.exp(-odds))).astype(float)


def alarms(n: Floats, total: Floats, allowed: float) -> list[Episode]:
    """In the slots after the past, of which the threshold is made."""
    made = budget.calibrate(n[:PAST], total[:PAST], HOURLY, allowed)
    reached = budget.statistic(n, total, made.reference, made.windows, 0)[PAST:]
    return budget.episodes(reached, made.threshold)


def test_alarms_on_streams_that_stand_still_keep_the_budget() -> None:
    """8 streams for 30 days at 6 a month: 48 are allowed, 35 to 62 hold 95 % of a Poisson variable."""
    found = [len(alarms(*stream(seed, PAST + MONTH), 6.0)) for seed in range(8)]
    assert 30 <= sum(found) <= 66


def test_a_rise_is_found_within_hours_and_counts_once() -> None:
    """The error rate goes from 13 % to 28 %, and stays there."""
    for seed in range(3):
        found = alarms(*stream(seed, PAST + MONTH, rise_at=PAST + 240), 1.0)
        after = [one for one in found if one.begin >= 240]
        assert after[0].begin < 240 + 24
        assert after[-1].end is None
        assert len(after) <= 2


def test_a_rarer_budget_has_a_higher_threshold() -> None:
    """And simulations give at it what is aimed at, below the budget."""
    n, total = stream(1, 112 * 24)
    made = [budget.calibrate(n, total, HOURLY, allowed) for allowed in (8.0, 2.0, 0.5)]
    assert made[0].threshold < made[1].threshold < made[2].threshold
    for one, allowed in zip(made, (8.0, 2.0, 0.5), strict=True):
        assert 0.5 * allowed < one.expected < allowed


def test_a_season_is_no_alarm_and_the_same_hours_out_of_phase_are() -> None:
    """Thresholds know which hour is which, also where the past does not begin with the season."""
    n = np.full(60 * 24, 50.0)
    rate = np.where(np.arange(len(n)) % 24 < 8, 0.4, 0.1)
    total = np.random.default_rng(0).binomial(50, rate).astype(float)
    begin = 5
    made = budget.calibrate(n[begin : PAST + begin], total[begin : PAST + begin], HOURLY, 1.0, phase=begin)
    as_usual = budget.statistic(n, total, made.reference, made.windows, 0)[PAST + begin :]
    shifted = budget.statistic(n, np.roll(total, 8), made.reference, made.windows, 0)[PAST + begin :]
    assert len(budget.episodes(as_usual, made.threshold)) <= 4
    assert shifted.max() > 2 * made.threshold
    assert made.reference.profile[:8].min() > 0.3 > 0.2 > made.reference.profile[8:].max()


def test_a_model_that_never_erred_is_not_alarmed_by_one_error() -> None:
    """Nothing varies in its past, so that any deviation is infinitely many deviations."""
    n, total = np.full(PAST + 100, 20.0), np.zeros(PAST + 100)
    total[PAST + 50] = 1.0
    assert alarms(n, total, 1.0) == []
    total[PAST + 50 : PAST + 54] = 5.0
    assert len(alarms(n, total, 1.0)) == 1


def test_hours_without_labels_are_no_news() -> None:
    """They change no window's statistic, and nothing is divided by zero."""
    n, total = stream(2, PAST + 48)
    n[PAST:] = total[PAST:] = 0.0
    n[100:130] = total[100:130] = 0.0
    made = budget.calibrate(n[:PAST], total[:PAST], HOURLY, 1.0)
    assert np.isfinite(budget.statistic(n, total, made.reference, made.windows, 0)).all()


def test_resampled_streams_keep_the_phase_of_the_season() -> None:
    """Each slot is drawn from one of the same hour of the week, in runs as long as blocks."""
    weekly = Clock(season=168, day=24)
    drawn = budget.resampled(8 * 168, 1_000, weekly, 20, np.random.default_rng(0))
    assert (drawn % 168 == np.arange(1_000) % 168).all()
    follows = (np.diff(drawn, axis=1) % (8 * 168)) == 1
    assert follows.mean() > 0.97
    assert len(np.unique(drawn // 168)) == 8


def test_a_standing_alarm_counts_once() -> None:
    """It ends at half of the threshold, not where it began."""
    reached = np.array([0, 4, 5, 3, 4, 1, 4, 0, 0, 4], float)
    assert budget.episodes(reached, 4.0) == [Episode(1, 5), Episode(6, 7), Episode(9, None)]


def test_too_short_a_past_is_refused() -> None:
    """Two seasons are the least that blocks can be drawn from."""
    with pytest.raises(ValueError, match="fewer than two seasons"):
        budget.calibrate(np.ones(40), np.ones(40), HOURLY, 1.0)
