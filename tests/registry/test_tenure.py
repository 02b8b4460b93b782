"""What matured predictions add up to: scores of versions, comparisons of one tenure."""

import math
import random

import msgspec
import pytest

from contracts import events
from contracts.gate_rules import Gate
from contracts.releases import Board
from registry.matured import Matured
from registry.tenure import CALIBRATION_ROWS, Record

RULES = Gate()


def matured(
    n: int, scores: dict[int, tuple[float, ...]], label: float | None = 1, by: int = 1, covered: bool = True
) -> Matured:
    shadows = {version: (0, scored) for version, scored in scores.items() if version != by}
    return Matured(n, by, scores[by], shadows, label, covered)


def record(loss: str = "zero_one", since: int = -1) -> Record:
    made = Record(RULES, loss)
    made.begin(Board(1, (2,)), since)
    return made


def test_a_challenger_wins_where_it_alone_is_right() -> None:
    """d is +1, -1 or 0 under 0/1 loss, and every version has a score of its own."""
    made = record()
    for n, (mine, other) in enumerate([(0.9, 0.9), (0.1, 0.9), (0.9, 0.1), (0.1, 0.1)]):
        made.add([matured(n, {1: (1 - mine, mine), 2: (1 - other, other)})])
    evidence = made.comparisons[2].evidence
    assert (evidence.n, evidence.wins, evidence.losses) == (4, 1, 1)
    assert [(v, s.n, s.correct) for v, s in made.versions.items()] == [(1, 4, 2), (2, 4, 2)]


@pytest.mark.parametrize(("by", "n"), [(2, 10), (1, 5)])
def test_other_tenures_do_not_count(by: int, n: int) -> None:
    """What another version answered, or was asked before the tenure began, compares nobody."""
    made = record(since=5)
    made.add([matured(n, {1: (0.1, 0.9), 2: (0.9, 0.1)}, by=by)])
    assert made.comparisons == {}
    assert made.versions[2].n == 1


def test_a_new_tenure_starts_afresh() -> None:
    """The same champion after a rollback is another tenure, told by when it began."""
    made = record()
    made.add([matured(1, {1: (0.1, 0.9), 2: (0.9, 0.1)})])
    assert not made.begin(Board(1, (2,)), -1)
    assert made.begin(Board(1, (2,)), 7)
    assert made.comparisons == {}


@pytest.mark.parametrize("scores", [(math.nan, 0.5), (math.inf, 0.0), ()])
def test_scores_that_are_no_answer_are_uncovered(scores: tuple[float, ...]) -> None:
    """A challenger that answers nonsense loses its pair, and the loop goes on."""
    made = record()
    made.add([matured(1, {1: (0.1, 0.9), 2: scores})])
    assert made.comparisons[2].uncovered == 1
    assert made.comparisons[2].evidence.n == 0
    assert 2 not in made.versions


def test_a_pair_without_shadow_scores_is_uncovered_for_all() -> None:
    """Nothing is compared, and every comparison says so."""
    made = record()
    made.add([matured(1, {1: (0.1, 0.9), 2: (0.1, 0.9)})])
    made.add([matured(2, {1: (0.1, 0.9)}, covered=False)])
    assert (made.comparisons[2].evidence.n, made.comparisons[2].uncovered) == (1, 1)


def test_a_regression_clip_is_fixed_before_anything_is_compared() -> None:
    """The first answers set the range and do not count; a later, larger error is clipped."""
    made = record("absolute")
    for n in range(CALIBRATION_ROWS):
        made.add([matured(n, {1: (n / 100,), 2: (0.0,)}, label=0.0)])
    assert made.comparisons == {}
    assert made.loss is not None
    assert made.loss.clip == pytest.approx(0.98)
    made.add([matured(CALIBRATION_ROWS, {1: (50.0,), 2: (0.0,)}, label=0.0)])
    assert made.comparisons[2].evidence.s1 == pytest.approx(1.0)
    assert made.version_facts({1: "linear"})[0].accuracy is None


RIGHT, WRONG = (0.1, 0.9), (0.9, 0.1)


def test_labels_of_disagreements_alone_give_the_same_evidence_as_all_labels() -> None:
    """Under 0/1 loss, whoever answers alike is right or wrong alike, whatever the label would have been."""
    rng = random.Random(1)
    answers = [(rng.choice([RIGHT, WRONG]), rng.choice([RIGHT, WRONG]), rng.randrange(2)) for _ in range(500)]
    everything, some = record(), record()
    everything.add(matured(n, {1: mine, 2: other}, label) for n, (mine, other, label) in enumerate(answers))
    some.add(
        matured(n, {1: mine, 2: other}, label if mine != other else None)
        for n, (mine, other, label) in enumerate(answers)
    )
    assert some.comparisons[2].evidence.to_json() == everything.comparisons[2].evidence.to_json()
    assert some.comparisons[2].evidence.n == 500
    assert some.matured == sum(mine != other for mine, other, _ in answers)


def test_unlabelled_disagreements_are_counted_by_what_the_champion_answered() -> None:
    """They are no evidence; how many of them have labels is what blocks a promotion."""
    made = record()
    made.add([matured(1, {1: RIGHT, 2: WRONG}, 1), matured(2, {1: WRONG, 2: RIGHT}, None)])
    made.add([matured(3, {1: WRONG, 2: RIGHT}, 1), matured(4, {1: RIGHT, 2: RIGHT}, None)])
    comparison = made.comparisons[2]
    assert comparison.asked == {0: (1, 2), 1: (1, 1)}
    assert comparison.answers == {(1, 0): 1, (0, 1): 2, (1, 1): 1}
    assert (comparison.evidence.n, comparison.evidence.wins, comparison.evidence.losses) == (3, 1, 1)


def test_probabilities_need_labels_wherever_they_differ() -> None:
    """Under Brier loss an unlabelled prediction is skipped, and counted as one that may differ."""
    made = record("brier")
    made.add([matured(1, {1: (0.2, 0.8), 2: RIGHT}, None), matured(2, {1: (0.2, 0.8), 2: RIGHT}, 1)])
    assert made.comparisons[2].evidence.n == 1
    assert made.comparisons[2].asked == {1: (1, 2)}


def test_how_events_are_batched_changes_no_bit() -> None:
    """One by one, in pairs or at once: scores, evidence and curves are the same, also where a version comes later."""
    rng = random.Random(2)
    history = []
    for n in range(700):
        p = [rng.random() for _ in range(3)]
        scores = {version: (1 - p[version - 1], p[version - 1]) for version in ((1, 2) if n < 300 else (1, 2, 3))}
        history.append(matured(n, scores, rng.choice([0, 1, None]), covered=rng.random() > 0.05))
    seen = []
    for size in (1, 2, 97, 700):
        made = record("log")
        for first in range(0, 700, size):
            made.add(history[first : first + size])
        seen.append(
            [(v, one.n, one.loss, one.correct, one.curve.points) for v, one in made.versions.items()]
            + [(v, one.evidence.to_json(), one.curve.points, one.uncovered) for v, one in made.comparisons.items()]
        )
    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert [version for version, *_ in seen[0]] == [1, 2, 3, 2, 3]


def test_a_unit_counts_once_with_the_mean_of_its_differences() -> None:
    """A hundred identical questions of one customer are one piece of evidence, and a corrected label moves its mean."""
    made = Record(msgspec.structs.replace(RULES, unit="entity"), "zero_one")
    made.begin(Board(1, (2,)), -1)
    for n in range(100):
        made.add([msgspec.structs.replace(matured(n, {1: WRONG, 2: RIGHT}), unit="ann")])
    evidence = made.comparisons[2].evidence
    assert (evidence.n, evidence.mean) == (1, 1.0)
    last = msgspec.structs.replace(matured(99, {1: WRONG, 2: RIGHT}), unit="ann")
    made.restate(last, msgspec.structs.replace(last, label=0))
    assert (evidence.n, evidence.mean) == (1, pytest.approx(0.98))
    made.add([msgspec.structs.replace(matured(100, {1: WRONG, 2: RIGHT}), unit="bob")])
    assert evidence.n == 2


def test_units_count_again_in_another_window() -> None:
    """Within a window they are averaged; the next one is another unit, and forgotten ones move no more."""
    made = Record(msgspec.structs.replace(RULES, unit="entity", unit_window="10s"), "zero_one")
    made.begin(Board(1, (2,)), -1)
    at = [events.span(s) for s in (1, 2, 11)]
    history = [msgspec.structs.replace(matured(one, {1: WRONG, 2: RIGHT}), unit="ann") for one in at]
    made.add(history)
    assert made.comparisons[2].evidence.n == 2
    made.forget_before(10.5)
    made.restate(history[0], msgspec.structs.replace(history[0], label=0))
    assert made.comparisons[2].evidence.mean == 1.0
    made.restate(history[2], msgspec.structs.replace(history[2], label=0))
    assert made.comparisons[2].evidence.mean == 0.0


def test_segments_and_guardrails_are_weighed_beside_the_evidence() -> None:
    """Each has its own sums, which follow a corrected label too."""
    rules = msgspec.structs.replace(RULES, segments=("country",), guardrails={"brier": 0.01})
    made = Record(rules, "zero_one")
    made.begin(Board(1, (2,)), -1)
    history = [
        msgspec.structs.replace(
            matured(n, {1: WRONG, 2: RIGHT}, n % 2), segments=(f"country={'de' if n % 2 else 'fr'}",)
        )
        for n in range(10)
    ]
    made.add(history)
    comparison = made.comparisons[2]
    assert {name: (one.evidence.wins, one.evidence.losses) for name, one in comparison.segments.items()} == {
        "country=fr": (0, 5),
        "country=de": (5, 0),
    }
    assert comparison.guardrails["brier"].evidence.s1 == pytest.approx(0)
    made.restate(history[0], msgspec.structs.replace(history[0], label=1))
    assert comparison.segments["country=fr"].evidence.wins == 1
    assert comparison.guardrails["brier"].evidence.s1 == pytest.approx(1.6)
    assert (comparison.evidence.wins, comparison.evidence.losses) == (6, 4)


def test_a_label_after_maturity_is_audited_and_decides_nothing() -> None:
    """It is shown beside the evidence."""
    made = record()
    made.add([matured(1, {1: WRONG, 2: RIGHT}, None), matured(2, {1: WRONG, 2: RIGHT}, 1)])
    before = made.comparisons[2].evidence.to_json()
    made.audit(matured(1, {1: WRONG, 2: RIGHT}, 1))
    assert made.comparisons[2].evidence.to_json() == before
    assert (made.comparisons[2].audit.n, made.comparisons[2].audit.wins) == (1, 1)


def test_wins_are_young_for_as_long_as_labels_are_corrected() -> None:
    """Older ones are let go of in fiftieths of the lag, however events are batched."""
    told = []
    for size in (1, 7, 100):
        made = Record(msgspec.structs.replace(RULES, correction_lag="50s"), "zero_one")
        made.begin(Board(1, (2,)), -1)
        history = [matured(events.span(n), {1: WRONG, 2: RIGHT}, n % 4 > 0) for n in range(100)]
        for first in range(0, 100, size):
            made.add(history[first : first + size])
        told.append(made.comparison_facts((2,), {}, 0.0)[0].young)
    assert told == [(38, 38.0)] * 3


def test_other_rules_of_counting_begin_anew_and_others_do_not() -> None:
    """Sums of mistakes mean nothing by costs; a stricter alpha is about the same sums."""
    made = record()
    made.add([matured(1, {1: WRONG, 2: RIGHT}, 1)])
    stricter = made.under(msgspec.structs.replace(RULES, alpha=0.01), "zero_one")
    assert stricter.comparisons[2].evidence.wins == 1
    assert stricter.rules.alpha == 0.01
    costly = made.under(msgspec.structs.replace(RULES, loss="cost", costs=((0, 1), (9, 0))), "cost")
    assert (costly.comparisons, costly.versions, costly.matured) == ({}, {}, 1)
    costly.begin(Board(1, (2,)), -1)
    costly.add([matured(2, {1: WRONG, 2: RIGHT}, 1)])
    assert costly.versions[1].loss == 9
