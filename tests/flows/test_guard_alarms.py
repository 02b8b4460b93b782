"""How soon the guard's alarms come, and how rarely they are false."""

from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest

from flows.alarms import BLOCK, Excess, Scores, Shift

Pair = tuple[int, Scores, Scores]
LIMIT = 0.35


def test_eight_failures_in_a_row_are_enough_and_seven_are_not() -> None:
    """Where one in a hundred is allowed; however they are spread over looks."""
    for looks in ([8], [1] * 8, [3, 5]):
        watch = Excess(0.01)
        assert [watch.add(n, n) for n in looks] == [False] * (len(looks) - 1) + [True]
    assert not Excess(0.01).add(7, 7)


def test_a_version_that_fails_after_a_million_answers_is_found_as_soon() -> None:
    """What it did well before speaks for nothing."""
    watch = Excess(0.01)
    for _ in range(1_000):
        assert not watch.add(1_000, 1)
    assert watch.add(8, 8)


def test_a_share_a_little_above_the_limit_takes_longer_than_one_far_above() -> None:
    """Events until the alarm, at 100 a look: 1.5 % in some ten thousands, 5 % in some hundreds, a half in one look."""
    rng, found = np.random.default_rng(0), {}
    for share in (0.015, 0.05, 0.5):
        watch = Excess(0.01)
        found[share] = 100 * next(i for i in count(1) if watch.add(100, int(rng.binomial(100, share))))
    assert found[0.5] == 100
    assert found[0.05] <= 2_000
    assert 2_000 < found[0.015] <= 60_000


@pytest.mark.parametrize("n", [1, 30, 1_000])
def test_false_alarms_are_as_rare_as_was_said(n: int) -> None:
    """At the very limit the mean number of looks to an alarm is at least the odds, however many events a look has."""
    assert _mean_looks(n, odds=30.0, reps=60) >= 30


@pytest.mark.soak
@pytest.mark.parametrize("n", [1, 10, 100, 3_000])
def test_false_alarms_are_as_rare_as_was_said_at_longer_odds(n: int) -> None:
    """Likewise with more repetitions, and with failures that come in bursts as the past has them."""
    assert _mean_looks(n, odds=300.0, reps=100) >= 300
    assert _mean_looks(n, odds=300.0, reps=100, bursts=True) >= 300


def _mean_looks(n: int, odds: float, reps: int, bursts: bool = False, limit: float = 0.05) -> float:
    """Mean number of looks to an alarm, where the chance of a failure is the limit, or at times 0; cut at 20 x odds."""
    rng, most = np.random.default_rng(n), int(20 * odds)
    total = 0
    for _ in range(reps):
        watch, bad = Excess(limit, odds), 0
        for _ in range(most):
            total += 1
            p = limit if not bursts or bad > n * limit or rng.random() < 0.5 else 0.0
            bad = int(rng.binomial(n, p))
            if watch.add(n, bad):
                break
    return total / reps


@pytest.mark.soak
def test_a_healthy_version_never_alarms() -> None:
    """Two days of looks in which it fails half as often as it may."""
    rng, watch = np.random.default_rng(1), Excess(0.01)
    assert not any(watch.add(200, int(bad)) for bad in rng.binomial(200, 0.005, 172_800))


def asked(
    rng: np.random.Generator, questions: int, positive: float, agree: float = 0.9, bad: bool = False
) -> Iterator[Pair]:
    """The other version says true to a share `positive`; the watched one agrees mostly, or, gone bad, says false."""
    for _ in range(questions):
        theirs = rng.random() < positive
        ours = not bad and bool(theirs == (rng.random() < agree))
        yield int(rng.integers(2**60)), (1.0 - ours, float(ours)), (1.0 - theirs, float(theirs))


def test_a_version_that_begins_to_answer_one_class_only_is_found_within_two_blocks() -> None:
    """Half of the answers change; the sentence has the shares of both versions before and now."""
    rng = np.random.default_rng(2)
    for start in (0, 300, 1_400):
        shift = Shift(2, LIMIT)
        shift.learn_before(list(asked(rng, 2 * BLOCK, 0.5)))
        assert shift.add(asked(rng, start, 0.5)) is None
        looks = (shift.add(asked(rng, 50, 0.5, bad=True)) for _ in range(80))
        at, jump = next((i, jump) for i, jump in enumerate(looks, 1) if jump is not None)
        assert 50 * at <= 2_800
        assert jump.k in (0, 1)
        assert abs(jump.now - jump.before) > LIMIT
        assert abs(jump.other_now - jump.other_before) < 0.1


def test_a_limit_of_one_is_never_reached() -> None:
    """So a rule is switched off."""
    rng, watch, shift = np.random.default_rng(9), Excess(1.0), Shift(2, 1.0)
    assert not any(watch.add(100, 100) for _ in range(50))
    shift.learn_before(list(asked(rng, BLOCK, 1.0)))
    assert not any(shift.add(asked(rng, 100, 1.0, bad=True)) for _ in range(50))


def test_other_questions_are_no_jump() -> None:
    """Where the world asks otherwise, both versions answer otherwise."""
    rng, shift = np.random.default_rng(3), Shift(2, LIMIT)
    shift.learn_before(list(asked(rng, BLOCK, 0.1)))
    for positive in (0.9, 0.1, 0.5, 0.95):
        for _ in range(50):
            assert shift.add(asked(rng, 50, positive)) is None


def test_the_other_version_going_bad_is_no_jump_of_this_one() -> None:
    """The difference jumps all the same; whose shares have moved tells whom to blame."""
    rng, shift = np.random.default_rng(4), Shift(2, LIMIT)
    shift.learn_before([(q, theirs, ours) for q, ours, theirs in asked(rng, BLOCK, 0.5)])
    for _ in range(100):
        assert shift.add((q, theirs, ours) for q, ours, theirs in asked(rng, 50, 0.5, bad=True)) is None


def test_one_question_asked_again_and_again_is_no_jump() -> None:
    """A health check on which the two differ counts once."""
    rng, shift = np.random.default_rng(5), Shift(2, LIMIT)
    shift.learn_before(list(asked(rng, BLOCK, 0.5)))
    for _ in range(40):
        assert shift.add([(7, (1.0, 0.0), (0.0, 1.0))] * 50) is None
        assert shift.add(asked(rng, 5, 0.5)) is None


def test_values_count_by_the_quarters_of_the_other_version() -> None:
    """A value that sticks is a jump; one that follows the questions is not."""
    rng, ids = np.random.default_rng(6), count()

    def valued(questions: int, moved: float = 0.0, stuck: bool = False) -> list[Pair]:
        theirs = rng.normal(moved, 1, questions)
        ours = np.zeros(questions) + 9 if stuck else theirs + rng.normal(0, 0.1, questions)
        return [(next(ids), (float(a),), (float(b),)) for a, b in zip(ours, theirs, strict=True)]

    shift = Shift(0, LIMIT)
    shift.learn_before(valued(BLOCK))
    for moved in (0.0, 2.0, -1.0):
        for _ in range(30):
            assert shift.add(valued(50, moved)) is None
    found = [jump for _ in range(30) if (jump := shift.add(valued(50, stuck=True)))]
    assert found
    assert found[0].k == 3


def test_without_enough_before_the_first_block_is_what_the_next_is_compared_with() -> None:
    """A version to which nobody was compared yet is watched from its second block on."""
    rng, shift = np.random.default_rng(7), Shift(2, LIMIT)
    shift.learn_before(list(asked(rng, 50, 0.5)))
    for _ in range(BLOCK // 50 + 1):
        assert shift.add(asked(rng, 50, 0.5)) is None
    assert any(shift.add(asked(rng, 50, 0.5, bad=True)) for _ in range(80))


@pytest.mark.soak
def test_a_jump_of_just_the_limit_alarms_as_rarely_as_was_said() -> None:
    """At odds of 20, in at most a twentieth of the blocks, also with what was before estimated from one block."""
    rng, false, blocks = np.random.default_rng(8), 0, 300
    for _ in range(blocks):
        shift = Shift(2, LIMIT, odds=20.0)
        shift.learn_before(list(asked(rng, BLOCK, 0.5, agree=1.0)))
        now = [
            (q, (1 - o, o) if rng.random() > 2 * LIMIT else (1.0, 0.0), t)
            for q, (_, o), t in asked(rng, BLOCK, 0.5, 1.0)
        ]
        false += any(shift.add(now[i : i + 50]) is not None for i in range(0, BLOCK - 50, 50))
    assert false <= blocks / 20
