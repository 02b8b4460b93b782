"""The watch on a champion: what rolls it back, and what only tells."""

import random

import msgspec

from contracts.gate_rules import Gate
from contracts.releases import Board
from registry.matured import Matured
from registry.tenure import Record

RIGHT, WRONG = (0.1, 0.9), (0.9, 0.1)


def reign(record: Record, events: int, errors: float, former_errors: float, seed: int = 1, begin: int = 0) -> None:
    """Questions that the champion 3 and its predecessor 1 answer wrongly as often as told, in batches."""
    rng = random.Random(seed)
    history = []
    for n in range(begin, begin + events):
        mine, former = (WRONG if rng.random() < share else RIGHT for share in (errors, former_errors))
        history.append(Matured(n, 3, mine, {1: (0, former)}, 1.0, unit=f"u{n // 5}"))
    for first in range(0, events, 70):
        record.add(history[first : first + 70])


def record(rules: Gate | None = None) -> Record:
    made = Record(rules or Gate(), "zero_one")
    made.begin(Board(3, (1,), 1), -1)
    return made


def test_a_champion_that_becomes_worse_than_the_one_before_raises_the_alarm() -> None:
    """Equal for 3,000 questions, then 8 points worse: soon after, and not before."""
    made = record()
    reign(made, 3_000, 0.1, 0.1)
    assert made.watch_facts().alarmed_at is None
    reign(made, 1_500, 0.18, 0.1, seed=2, begin=3_000)
    alarmed_at = made.watch_facts().alarmed_at
    assert alarmed_at is not None
    assert 3_000 < alarmed_at < 4_000
    assert made.watch_facts().log_r > 0


def test_without_a_predecessor_in_shadow_nothing_is_compared() -> None:
    """After probation the former champion may still shadow, as a challenger like any other."""
    made = Record(Gate(), "zero_one")
    made.begin(Board(3, (1,), None), -1)
    reign(made, 500, 0.5, 0.1)
    assert made.watch_facts().n == 0
    assert made.watch_facts().previous is None


def test_a_champion_that_does_worse_than_it_did_is_told_without_another_model() -> None:
    """Its first 500 labels set what it should stay below; both becoming worse alike is no rollback."""
    made = record()
    reign(made, 500, 0.1, 0.1)
    limit = made.watch_facts().limit
    assert limit is not None
    assert 0.11 < limit < 0.2
    reign(made, 2_000, 0.1, 0.1, seed=2, begin=500)
    assert made.watch_facts().worse_than_itself_at is None
    reign(made, 2_000, 0.3, 0.3, seed=3, begin=2_500)
    assert made.watch_facts().worse_than_itself_at is not None
    assert made.watch_facts().alarmed_at is None


def test_a_unit_alarms_once() -> None:
    """Five questions of one customer, alike, are one; the others of a unit depend on it."""
    made = record(msgspec.structs.replace(Gate(), unit="entity"))
    reign(made, 500, 0.1, 0.1)
    assert made.watch_facts().n == 100


def test_a_new_tenure_is_watched_afresh() -> None:
    """Nothing of the last champion's alarm is held against the next."""
    made = record()
    reign(made, 1_000, 0.6, 0.1)
    assert made.watch_facts().alarmed_at is not None
    made.begin(Board(1, (), None), 1_000)
    assert made.watch_facts().alarmed_at is None
