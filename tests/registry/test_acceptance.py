"""Operating characteristics of the gate that show in seconds; the slower ones are in `test_acceptance_soak`."""

import numpy as np
import pytest

from tests.registry.harness import EIGHTY, TWENTY, crossed_at, disagreements, draw, log_e, log_msprt, share

REPS, EVENTS = 1_000, 10_000


def rare_expensive_mistakes(rng: np.random.Generator, reps: int, events: int) -> np.ndarray:
    """Equal on average: the challenger is a little better nearly always and loses everything in 3 of 1,000."""
    often = 0.003 / 0.997
    return np.where(rng.random((reps, events)) < 0.003, -1.0, often).astype(np.float32)


def brier_of_equals(rng: np.random.Generator) -> np.ndarray:
    """Two equally noisy estimates of the true probability, under Brier loss."""
    p = rng.beta(2, 2, (REPS, EVENTS))
    first, second = (np.clip(p + 0.1 * rng.standard_normal(p.shape), 0, 1) for _ in range(2))
    label = rng.random(p.shape) < p
    return ((first - label) ** 2 - (second - label) ** 2).astype(np.float32)


@pytest.mark.parametrize("disagreeing", [0.015, 0.06, 0.15])
def test_an_equal_challenger_is_hardly_ever_promoted_however_often_one_looks(disagreeing):
    """A/A, a look after every event: at most 4.5 % at E >= 20 and 2 % at E >= 80 (in theory 5 % and 1.25 %)."""
    d, _ = disagreements(np.random.default_rng(0), REPS, disagreeing / 2, disagreeing / 2, EVENTS)
    highest = log_e(d).max(axis=1)
    assert share(highest >= TWENTY) <= 0.045
    assert share(highest >= EIGHTY) <= 0.02


def test_rare_expensive_mistakes_do_not_fool_it():
    """The same bound where a mixture SPRT, blind to what it has not yet seen, promotes in most runs."""
    d = rare_expensive_mistakes(np.random.default_rng(1), REPS, EVENTS)
    highest = log_e(d).max(axis=1)
    assert share(highest >= TWENTY) <= 0.045
    assert share(highest >= EIGHTY) <= 0.02
    assert share(log_msprt(d).max(axis=1) >= TWENTY) >= 0.25


def test_equal_probabilities_under_brier_loss_are_hardly_ever_promoted():
    """The same bound for real-valued differences."""
    highest = log_e(brier_of_equals(np.random.default_rng(2))).max(axis=1)
    assert share(highest >= TWENTY) <= 0.045
    assert share(highest >= EIGHTY) <= 0.02


def test_a_challenger_that_only_catches_up_is_not_promoted():
    """One point worse for half the time, then one better: the average advantage is never above 0."""
    advantage = np.repeat([-0.01, 0.01], EVENTS // 2)
    d = draw(np.random.default_rng(3), REPS, 0.03 + advantage / 2, 0.03 - advantage / 2, EVENTS)
    assert share(log_e(d).max(axis=1) >= TWENTY) <= 0.02


@pytest.mark.parametrize(
    ("better", "worse", "events", "at_twenty", "at_eighty"),
    [
        (0.02, 0.01, 40_000, (2_800, 5_900), 4_000),
        (0.04, 0.02, 20_000, (1_450, 2_950), 1_950),
        (0.10, 0.05, 8_000, (560, 1_200), 780),
    ],
)
def test_a_better_challenger_is_promoted_soon(better, worse, events, at_twenty, at_eighty):
    """Events to promotion at E >= 20 (median, 90th percentile) and at E >= 80 (median), 500 comparisons."""
    d, at = disagreements(np.random.default_rng(4), 500, better, worse, events)
    evidence = log_e(d)
    first, four = (events_at(evidence, at, threshold) for threshold in (TWENTY, EIGHTY))
    assert np.median(first) <= at_twenty[0]
    assert np.quantile(first, 0.9) <= at_twenty[1]
    assert np.median(four) <= at_eighty


def events_at(evidence: np.ndarray, at: np.ndarray, threshold: float) -> np.ndarray:
    """The number of the event at which each row crosses, where only disagreements were simulated."""
    crossed = crossed_at(evidence, threshold)
    found = np.isfinite(crossed)
    events = np.full(len(evidence), np.inf)
    events[found] = at[found, crossed[found].astype(int) - 1]
    return events
