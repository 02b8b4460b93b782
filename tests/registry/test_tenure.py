"""What matured predictions add up to: scores of versions, comparisons of one tenure."""

import math

import pytest

from contracts.config import Gate
from contracts.releases import Board
from registry.tenure import CALIBRATION_ROWS, Matured, Record

RULES = Gate()


def matured(
    n: int, scores: dict[int, tuple[float, ...]], label: float = 1, by: int = 1, covered: bool = True
) -> Matured:
    return Matured(n, float(n), by, scores, label, covered)


def record(loss: str = "zero_one", since: int = -1) -> Record:
    made = Record(RULES, loss)
    made.begin(Board(1, (2,)), since)
    return made


def test_a_challenger_wins_where_it_alone_is_right() -> None:
    """d is +1, -1 or 0 under 0/1 loss, and every version has a score of its own."""
    made = record()
    for n, (mine, other) in enumerate([(0.9, 0.9), (0.1, 0.9), (0.9, 0.1), (0.1, 0.1)]):
        made.add(matured(n, {1: (1 - mine, mine), 2: (1 - other, other)}))
    evidence = made.comparisons[2].evidence
    assert (evidence.n, evidence.wins, evidence.losses) == (4, 1, 1)
    assert [(v, s.n, s.correct) for v, s in made.versions.items()] == [(1, 4, 2), (2, 4, 2)]


@pytest.mark.parametrize(("by", "n"), [(2, 10), (1, 5)])
def test_other_tenures_do_not_count(by: int, n: int) -> None:
    """What another version answered, or was asked before the tenure began, compares nobody."""
    made = record(since=5)
    made.add(matured(n, {1: (0.1, 0.9), 2: (0.9, 0.1)}, by=by))
    assert made.comparisons == {}
    assert made.versions[2].n == 1


def test_a_new_tenure_starts_afresh() -> None:
    """The same champion after a rollback is another tenure, told by when it began."""
    made = record()
    made.add(matured(1, {1: (0.1, 0.9), 2: (0.9, 0.1)}))
    assert not made.begin(Board(1, (2,)), -1)
    assert made.begin(Board(1, (2,)), 7)
    assert made.comparisons == {}


@pytest.mark.parametrize("scores", [(math.nan, 0.5), (math.inf, 0.0), ()])
def test_scores_that_are_no_answer_are_uncovered(scores: tuple[float, ...]) -> None:
    """A challenger that answers nonsense loses its pair, and the loop goes on."""
    made = record()
    made.add(matured(1, {1: (0.1, 0.9), 2: scores}))
    assert made.comparisons[2].uncovered == 1
    assert made.comparisons[2].evidence.n == 0
    assert 2 not in made.versions


def test_a_pair_without_shadow_scores_is_uncovered_for_all() -> None:
    """Nothing is compared, and every comparison says so."""
    made = record()
    made.add(matured(1, {1: (0.1, 0.9), 2: (0.1, 0.9)}))
    made.add(matured(2, {1: (0.1, 0.9)}, covered=False))
    assert (made.comparisons[2].evidence.n, made.comparisons[2].uncovered) == (1, 1)


def test_a_regression_clip_is_fixed_before_anything_is_compared() -> None:
    """The first answers set the range and do not count; a later, larger error is clipped."""
    made = record("absolute")
    for n in range(CALIBRATION_ROWS):
        made.add(matured(n, {1: (n / 100,), 2: (0.0,)}, label=0.0))
    assert made.comparisons == {}
    assert made.loss is not None
    assert made.loss.clip == pytest.approx(0.98)
    made.add(matured(CALIBRATION_ROWS, {1: (50.0,), 2: (0.0,)}, label=0.0))
    assert made.comparisons[2].evidence.s1 == pytest.approx(1.0)
    assert made.version_facts({1: "linear"})[0].accuracy is None
