"""Operating characteristics of the gate that take a minute or more."""

import math

import numpy as np
import pytest

from tests.registry.harness import (
    EIGHTY,
    TWENTY,
    alarmed_at,
    crossed_at,
    draw,
    log_e,
    log_msprt,
    share,
    z_statistic,
)
from tests.registry.test_acceptance import rare_expensive_mistakes

pytestmark = pytest.mark.soak


def test_the_harness_really_peeks():
    """A plain paired z-test, looked at after every event from the 30th on, promotes an equal challenger in a third."""
    z = z_statistic(draw(np.random.default_rng(0), 1_000, 0.03, 0.03, 20_000))
    assert share(z[:, 29:].max(axis=1) >= 1.645) >= 0.35


def test_rare_expensive_mistakes_at_length():
    """2,000 runs of 20,000 events: at most 2.5 % at E >= 20, where a mixture SPRT has 25 % and more."""
    promoted, contrast = [], []
    for seed in range(8):
        d = rare_expensive_mistakes(np.random.default_rng(seed), 250, 20_000)
        promoted.append(share(log_e(d).max(axis=1) >= TWENTY))
        contrast.append(share(log_msprt(d).max(axis=1) >= TWENTY))
    assert np.mean(promoted) <= 0.025
    assert np.mean(contrast) >= 0.25


@pytest.mark.parametrize("amplitude", [0.0, 0.02])
def test_the_band_holds_the_running_average_at_all_times(amplitude):
    """Each side of the 95 % band is ever missed by the true running average in at most 4.5 % of 1,000 runs."""
    events = 20_000
    advantage = 0.01 + amplitude * np.sin(2 * np.pi * np.arange(events) / 5_000)
    average = np.cumsum(advantage) / np.arange(1, events + 1)
    d = draw(np.random.default_rng(1), 1_000, 0.05 + advantage / 2, 0.05 - advantage / 2, events)
    below = share(log_e(d, average).max(axis=1) >= TWENTY)
    above = share(log_e(-d, -average).max(axis=1) >= TWENTY)
    assert max(below, above) <= 0.045


def test_a_challenger_that_turns_good_is_promoted_later_and_not_before():
    """One point worse for 5,000 events, two better afterwards: the average decides, and it decides for it."""
    advantage = np.repeat([-0.01, 0.02], [5_000, 15_000])
    d = draw(np.random.default_rng(2), 500, 0.03 + advantage / 2, 0.03 - advantage / 2, 20_000)
    at = crossed_at(log_e(d), TWENTY)
    assert share(at < 5_000) <= 0.01
    assert share(np.isfinite(at)) >= 0.98
    assert np.median(at) <= 12_500


def test_whole_cycles_make_a_season_harmless():
    """±4 points in turn, zero on average: decided at whole cycles at most 2 %, at any time nearly always."""
    cycle, events = 4_000, 20_000
    advantage = np.where(np.arange(events) % cycle < cycle // 2, 0.04, -0.04)
    d = draw(np.random.default_rng(3), 1_000, 0.06 + advantage / 2, 0.06 - advantage / 2, events)
    assert share(log_e(d, every=cycle).max(axis=1) >= TWENTY) <= 0.02
    assert share(log_e(d, every=10).max(axis=1) >= TWENTY) >= 0.90


def test_rollback_is_fast_and_seldom_false():
    """Equal for 3,000 events, then 3 points worse: median 1,000, 90th percentile 1,700, false before at most 2 %."""
    rng = np.random.default_rng(4)
    at = alarmed_at(np.hstack([draw(rng, 500, 0.03, 0.03, 3_000), draw(rng, 500, 0.045, 0.015, 6_000)]))
    delay = at[at > 3_000] - 3_000
    assert share(at <= 3_000) <= 0.02
    assert np.median(delay) <= 1_000
    assert np.quantile(delay, 0.9) <= 1_700


def test_rollback_leaves_good_versions_alone():
    """Over a probation of 20,000 events: equal at most 13 % false alarms, 2 points better at most 1 %."""
    rng = np.random.default_rng(5)
    assert share(np.isfinite(alarmed_at(draw(rng, 500, 0.03, 0.03, 20_000)))) <= 0.13
    assert share(np.isfinite(alarmed_at(draw(rng, 500, 0.02, 0.04, 20_000)))) <= 0.01


def test_eight_useless_challengers_share_one_alpha():
    """With slots = 8 any of them is promoted in at most 4 % of 2,000 tenures; without sharing in 10 % and more."""
    rng = np.random.default_rng(6)
    shared, unshared = [], []
    for _ in range(20):
        highest = np.max([log_e(d, every=10).max(axis=1) for d in _sharing_a_champion(rng, 100, 20_000, 8)], axis=0)
        shared.append(share(highest >= math.log(160)))
        unshared.append(share(highest >= TWENTY))
    assert np.mean(shared) <= 0.04
    assert np.mean(unshared) >= 0.10


def _sharing_a_champion(rng: np.random.Generator, reps: int, events: int, challengers: int) -> list[np.ndarray]:
    """Differences against a champion that errs on 10 %; each challenger repeats 70 % of its errors and has as many."""
    champion = rng.random((reps, events), dtype=np.float32) < 0.10
    made = []
    for _ in range(challengers):
        chance = np.where(champion, 0.7, 0.3 * 0.10 / 0.90).astype(np.float32)
        errs = rng.random((reps, events), dtype=np.float32) < chance
        made.append(champion.astype(np.int8) - errs.astype(np.int8))
    return made


def test_four_slots_keep_their_promise_with_the_default_rules():
    """E >= 80 from the 500th event on, four equal challengers: at most 5 % of tenures promote any."""
    rng = np.random.default_rng(7)
    promoted = []
    for _ in range(10):
        drawn = _sharing_a_champion(rng, 100, 20_000, 4)
        at = np.min([crossed_at(log_e(d, every=10), EIGHTY, every=10, least=500) for d in drawn], axis=0)
        promoted.append(share(np.isfinite(at)))
    assert np.mean(promoted) <= 0.05
