"""From when a threshold holds, and which hours it is made of."""

import numpy as np
import pytest

from drift import watching
from drift.budget import Clock
from drift.watching import Hours

HOURLY = Clock(season=24, day=24)
FIRST = 470_000


def hours(days: int, rate: float = 5.0) -> Hours:
    n = np.full(days * 24, 50.0)
    return Hours(FIRST, n, np.random.default_rng(0).poisson(rate, len(n)).astype(float))


def test_rarer_false_alarms_need_a_longer_past() -> None:
    """Four weeks are the least, 112 days the most; a season of a week needs six of them."""
    needed = {allowed: watching.enough(HOURLY, allowed) // 24 for allowed in (10.0, 1.0, 0.5, 0.25, 0.1)}
    assert needed == {10.0: 28, 1.0: 28, 0.5: 56, 0.25: 112, 0.1: 112}
    assert watching.enough(Clock(season=168, day=24), 1.0) == 6 * 168


def test_the_reference_ends_where_the_reign_begins_and_moves_on_monthly() -> None:
    """With a past from the shadow it ends there; without one, once there is enough."""
    reign = FIRST + 40 * 24
    at = {
        days: watching.reference_of(hours(days), FIRST, reign, HOURLY, 1.0) for days in (20, 40, 41, 69, 71, 101, 200)
    }
    assert at[20] is at[40] is None
    assert at[41] == at[69] == (FIRST, reign)
    assert at[71] == (FIRST, reign + 30 * 24)
    assert at[200] == (FIRST + (190 - 112) * 24, reign + 150 * 24)
    assert watching.reference_of(hours(29), FIRST, FIRST, HOURLY, 1.0) == (FIRST, FIRST + 28 * 24)


def test_hours_that_are_no_longer_kept_are_no_reference() -> None:
    """What remains is too short a past."""
    whole = hours(40)
    cut = whole.part(FIRST + 20 * 24, whole.until)
    assert watching.reference_of(cut, FIRST, FIRST, HOURLY, 1.0) is None


def test_a_look_tells_what_moved_by_how_much_and_since_when() -> None:
    """Twice the loss from the last day on."""
    past = hours(35)
    past.total[34 * 24 :] *= 2
    reference = watching.reference_of(past, FIRST, FIRST, HOURLY, 1.0)
    assert reference is not None
    found = watching.look(past, reference, HOURLY, 1.0)
    assert found.since is not None
    assert 0 <= found.since - (FIRST + 34 * 24) < 12
    assert found.statistic > 2 * found.threshold
    assert (found.loss, found.usual) == (pytest.approx(0.2, abs=0.03), pytest.approx(0.1, abs=0.01))


def test_empty_hours_count_as_no_label() -> None:
    """What is over but not there is a gap, and what is not over does not count."""
    found = Hours.of({FIRST: (3.0, 1.0), FIRST + 2: (4.0, 2.0), FIRST + 5: (9.0, 9.0)}, FIRST + 4)
    assert (found.n.tolist(), found.total.tolist()) == ([3.0, 0.0, 4.0, 0.0], [1.0, 0.0, 2.0, 0.0])
    assert Hours.of({}, FIRST).until == FIRST
