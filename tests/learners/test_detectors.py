"""River's detectors hear of a champion's losses, and warn where they rise."""

import pickle

import numpy as np

from learners.detectors import Detectors

NAMES = ("adwin", "page_hinkley", "kswin")
TENURE = (1, 5)


def losses(rates: list[float]) -> list[float]:
    rng = np.random.default_rng(0)
    return [float(rng.binomial(20, rate)) / 20 for rate in rates]


def test_each_finds_a_rise() -> None:
    """And nothing is found before it; River's default of Page-Hinkley needs a summed excess of 50 to alarm."""
    detectors = Detectors()
    detectors.follow(TENURE, NAMES[:2], losses([0.1] * 500))
    assert detectors.ago(TENURE) == {}
    detectors.follow(TENURE, NAMES, losses([0.4] * 500))
    assert {"adwin", "page_hinkley"} <= detectors.ago(TENURE).keys()


def test_a_loss_that_falls_is_no_warning_of_adwin() -> None:
    """It finds either change; here only one is news."""
    detectors = Detectors()
    detectors.follow(TENURE, ("adwin",), losses([0.4] * 500 + [0.1] * 500))
    assert detectors.ago(TENURE) == {}


def test_another_tenure_begins_anew() -> None:
    """What was found of a former champion is gone."""
    detectors = Detectors()
    detectors.follow(TENURE, ("adwin",), losses([0.1] * 300 + [0.6] * 300))
    assert detectors.ago(TENURE)
    assert detectors.ago((2, 9)) == {}
    detectors.follow((2, 9), ("adwin",), [0.1])
    assert (detectors.fed, detectors.ago((2, 9))) == (1, {})


def test_a_stored_state_goes_on_as_if_never_stored() -> None:
    """Also within KSWIN, which draws at random."""
    whole, stored = Detectors(), Detectors()
    means = losses([0.1] * 300 + [0.3] * 100)
    whole.follow(TENURE, NAMES, means)
    for begin in range(0, 400, 90):
        stored.follow(TENURE, NAMES, means[begin : begin + 90])
        stored = pickle.loads(pickle.dumps(stored))
    assert (stored.fed, stored.fired, stored.estimate("adwin")) == (whole.fed, whole.fired, whole.estimate("adwin"))
