"""The rollback detector."""

import math

import numpy as np
import pytest

from registry.rollback import Detector
from tests.registry import harness


def test_batches_singles_and_restarts_give_the_same_bytes():
    """State that goes through JSON at any moment, and events in any batches, end in the same state."""
    rng = np.random.default_rng(0)
    for values in (rng.uniform(-1, 1, 2_500), rng.choice([-1.0, 0.0, 1.0], 2_500)):
        singly, batched = Detector(tau=0.01), Detector(tau=0.01)
        for z in values:
            singly.add(z)
        for part in np.array_split(values, 37):
            batched.add_many(part)
            batched = Detector.from_json(batched.to_json())
        assert singly.to_json() == batched.to_json()
        assert singly.log_r == batched.log_r


def test_the_vectorised_harness_alarms_when_the_detector_does():
    """The simulations rest on this."""
    rng = np.random.default_rng(1)
    z = harness.draw(rng, 8, 0.10, 0.05, 3_000)
    for row, expected in zip(z, harness.alarmed_at(z), strict=True):
        detector = Detector()
        detector.add_many(row)
        assert (detector.alarmed_at or math.inf) == expected


def test_an_alarm_stays_when_the_evidence_falls_again():
    """The loop that looks may come later than the loop that counts."""
    detector = Detector()
    assert not detector.alarm
    detector.add_many([1.0] * 30)
    at, peak = detector.alarmed_at, detector.peak
    assert at is not None
    assert detector.alarm
    detector.add_many([-1.0] * 200)
    assert detector.log_r < math.log(1_000)
    read = Detector.from_json(detector.to_json())
    assert (read.alarm, read.alarmed_at, read.peak) == (True, at, peak)


def test_a_version_that_turns_worse_is_noticed_within_a_thousand_events():
    """Equal for 3,000 events, then 3 points worse: median delay at most 1,000, hardly ever an alarm before."""
    rng = np.random.default_rng(2)
    z = np.hstack([harness.draw(rng, 150, 0.03, 0.03, 3_000), harness.draw(rng, 150, 0.045, 0.015, 3_000)])
    at = harness.alarmed_at(z)
    assert harness.share(at <= 3_000) <= 0.03
    assert np.median(at[at > 3_000]) - 3_000 <= 1_000


@pytest.mark.parametrize("wrong", [math.nan, 1.0001, -1.0001])
def test_a_difference_out_of_range_is_refused_and_changes_nothing(wrong):
    """As with evidence: never clamped."""
    detector = Detector()
    detector.add(0.25)
    before = detector.to_json()
    for attempt in (detector.add, lambda z: detector.add_many([0.1, z])):
        with pytest.raises(ValueError, match="not in"):
            attempt(wrong)
    assert detector.to_json() == before


def test_thresholds_and_states_that_make_no_sense_are_refused():
    """A threshold of 1 alarms at once, and sums over other stakes mean nothing."""
    with pytest.raises(ValueError, match="exceed 1"):
        Detector(threshold=1.0)
    with pytest.raises(ValueError, match="reads 'v1' only"):
        Detector.from_json('{"grid": "v9"}')


def test_the_state_is_small():
    """It travels in every checkpoint."""
    detector = Detector()
    detector.add_many(np.random.default_rng(3).uniform(-1, 1, 10_000))
    assert len(detector.to_json()) <= 2_048
