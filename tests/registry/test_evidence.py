"""The evidence kernel: exact values, algebra, refusals, and what it costs."""

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.evidence import Evidence
from tests.registry import harness

GOLDEN = [
    # n, wins, losses, log E(0), lower and upper bound at alpha 0.05
    (1_000, 40, 20, 1.8717984822, -0.0039382316, 0.0459448296),
    (5_000, 120, 60, 7.8903810372, 0.0038218366, 0.0206236860),
    (20_000, 600, 600, -1.0223400685, -0.0053606827, 0.0053606827),
]
differences = st.one_of(st.sampled_from([-1.0, 0.0, 1.0]), st.floats(-1, 1))


def random_evidence(rng: np.random.Generator) -> Evidence:
    """Counts and real differences, of any sign and size."""
    made = Evidence.of_counts(*_random_counts(rng))
    made.add_many(rng.uniform(-1, 1, rng.integers(0, 50)) * rng.uniform(0, 1))
    return made


def _random_counts(rng: np.random.Generator) -> tuple[int, int, int]:
    n = int(rng.integers(10, 20_000))
    wins = int(rng.integers(0, n // 4))
    return n, wins, int(rng.integers(0, n // 4))


@pytest.mark.parametrize(("n", "wins", "losses", "log_e", "lower", "upper"), GOLDEN)
def test_golden_values_hold(n, wins, losses, log_e, lower, upper):
    """log E and both bounds equal the published ones to 1e-8."""
    evidence = Evidence.of_counts(n, wins, losses)
    assert evidence.log_e() == pytest.approx(log_e, abs=1e-8)
    assert evidence.bounds(0.05) == pytest.approx((lower, upper), abs=1e-8)


def test_counted_one_by_one_it_is_what_the_counts_give():
    """0/1 differences in any order, singly or at once, leave exact integers."""
    singly, at_once = Evidence(), Evidence()
    values = np.random.default_rng(0).permutation([1] * 40 + [-1] * 20 + [0] * 940)
    for d in values:
        singly.add(float(d))
    at_once.add_many(values)
    assert singly.to_json() == at_once.to_json() == Evidence.of_counts(1_000, 40, 20).to_json()
    assert singly.log_e_worse() == Evidence.of_counts(1_000, 20, 40).log_e()


@pytest.mark.parametrize(("margin", "events"), [(-0.01, 605), (-0.005, 1_210)])
def test_identical_models_are_no_worse_after_a_known_number_of_events(margin, events):
    """With no difference at all, non-inferiority at E >= 20 takes exactly this many events."""
    assert Evidence.of_counts(events, 0, 0).log_e(margin) >= math.log(20)
    assert Evidence.of_counts(events - 1, 0, 0).log_e(margin) < math.log(20)


@pytest.mark.parametrize(("e", "wins"), [(20, 9), (80, 11)])
def test_consecutive_wins_convince_after_a_known_number(e, wins):
    """From nothing, E reaches 20 with exactly 9 wins in a row and 80 with 11."""
    assert Evidence.of_counts(wins, wins, 0).log_e() >= math.log(e)
    assert Evidence.of_counts(wins - 1, wins - 1, 0).log_e() < math.log(e)


def test_a_bound_is_where_the_evidence_reaches_its_threshold():
    """log E(L(alpha)) = log(1/alpha) on both sides, wherever the bound is not cut at -1 or 1."""
    rng = np.random.default_rng(1)
    for _ in range(1_000):
        evidence, alpha = random_evidence(rng), float(rng.uniform(0.001, 0.2))
        lower, upper = evidence.bounds(alpha)
        assert -1 <= lower <= upper <= 1
        if lower > -1:
            assert evidence.log_e(lower) == pytest.approx(-math.log(alpha), abs=1e-9)
        if upper < 1:
            assert evidence.log_e_worse(upper) == pytest.approx(-math.log(alpha), abs=1e-9)


def test_the_lower_bound_exceeds_a_margin_exactly_where_the_evidence_against_it_suffices():
    """E(delta) > 1/alpha and L(alpha) > delta are one statement, so the plotted band and the gate cannot disagree."""
    rng = np.random.default_rng(2)
    for _ in range(1_000):
        evidence, delta = random_evidence(rng), float(rng.uniform(-0.05, 0.05))
        assert (evidence.log_e(delta) > math.log(80)) == (evidence.lower(1 / 80) > delta)


def test_shards_corrections_and_retractions_end_where_a_replay_does():
    """Three shards, shuffled, 1,000 retracted and 50 corrected, through JSON: equal to counting the rest anew."""
    rng = np.random.default_rng(3)
    values = rng.choice([-1.0, 0.0, 1.0], 9_000) * rng.choice([1.0, 0.37, 0.002], 9_000)
    shards = [Evidence(), Evidence(), Evidence()]
    for i, d in enumerate(rng.permutation(values[:6_000])):
        shards[i % 3].add(d)
    shards[2].add_many(values[6_000:])
    total = Evidence()
    for shard in shards:
        total.merge(Evidence.from_json(shard.to_json()))
    kept = values.copy()
    for i in range(1_000):
        total.retract(kept[i])
    for i in range(1_000, 1_050):
        total.retract(kept[i])
        kept[i] = rng.uniform(-1, 1)
        total.add(kept[i])
    replayed = Evidence()
    replayed.add_many(kept[1_000:])
    assert (total.n, total.wins, total.losses) == (replayed.n, replayed.wins, replayed.losses)
    for delta in (-0.01, 0.0, 0.02):
        assert total.log_e(delta) == pytest.approx(replayed.log_e(delta), abs=1e-9)
        assert total.log_e_worse(delta) == pytest.approx(replayed.log_e_worse(delta), abs=1e-9)
    assert (total.s1, total.s2) == pytest.approx((replayed.s1, replayed.s2), abs=1e-9)


@given(st.lists(differences, max_size=60), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_how_events_are_batched_changes_no_bit(values, size):
    """A learn flow that was killed and resumed batches otherwise; its state must still be the same bytes."""
    singly, batched = Evidence(5.0), Evidence(5.0)
    for i, d in enumerate(values):
        singly.add(d, at=float(i))
    for i in range(0, len(values), size):
        part = values[i : i + size]
        batched.add_many(part, at=np.arange(i, i + len(part)))
    assert singly.to_json() == batched.to_json()
    assert Evidence.from_json(singly.to_json()).to_json() == singly.to_json()


@pytest.mark.parametrize("wrong", [math.nan, 1.0001, -1.0001, math.inf, -math.inf])
def test_a_difference_out_of_range_is_refused_and_changes_nothing(wrong):
    """NaN and |d| > 1 are never clamped: the guarantee holds for bounded differences only."""
    evidence = Evidence.of_counts(10, 2, 1)
    before = evidence.to_json()
    for attempt in (evidence.add, evidence.retract):
        with pytest.raises(ValueError, match="not in"):
            attempt(wrong)
    with pytest.raises(ValueError, match="not in"):
        evidence.add_many([0.5, wrong, 1.0])
    assert evidence.to_json() == before


@pytest.mark.parametrize("d", [1.0, -1.0, 0.0, 0.5, -0.5])
def test_only_what_was_counted_can_be_retracted(d):
    """Retracting a difference of a sort that was never added is a mistake in the caller's books."""
    for others in ({1.0, -1.0, 0.0, 0.5, -0.5} - {d}, ()):
        evidence = Evidence()
        evidence.add_many(sorted(others))
        before = evidence.to_json()
        with pytest.raises(ValueError, match="none like it was counted"):
            evidence.retract(d)
        assert evidence.to_json() == before


def test_labels_on_disagreements_alone_give_the_same_evidence():
    """With 0/1 loss, where both models predict the same class d is 0 whatever the label says."""
    rng = np.random.default_rng(4)
    label, champion, challenger = rng.integers(0, 2, (3, 5_000))
    d = (champion != label).astype(float) - (challenger != label)
    every, asked = Evidence(), Evidence()
    every.add_many(d)
    asked.add_many(np.where(champion != challenger, d, 0.0))
    assert every.to_json() == asked.to_json()


def test_ten_million_one_sided_events_do_not_overflow():
    """Logs everywhere: the extremes stay finite, and the bounds stay in range and in order."""
    for counts in ((10**7, 10**7, 0), (10**7, 0, 10**7), (10**7, 0, 0)):
        evidence = Evidence.of_counts(*counts)
        lower, upper = evidence.bounds(0.05)
        assert math.isfinite(evidence.log_e())
        assert math.isfinite(evidence.log_e_worse())
        assert -1 <= lower <= upper <= 1


def test_before_the_first_event_nothing_is_known():
    """No events: no evidence either way, and bounds that exclude nothing."""
    empty = Evidence()
    assert (empty.log_e(), empty.bounds(0.05), empty.mean) == (pytest.approx(0), (-1, 1), 0)
    assert Evidence.from_json(empty.to_json()).to_json() == empty.to_json()


def test_times_span_what_was_counted():
    """The first and last question's times survive merging and JSON, in whatever order events came."""
    early, late = Evidence(), Evidence(started_at=50.0)
    early.add(1.0, at=20.0)
    early.add(0.0, at=10.0)
    late.add_many([0.5, 0.2], at=[70.0, 60.0])
    late.merge(early)
    read = Evidence.from_json(late.to_json())
    assert (read.started_at, read.ended_at) == (10.0, 70.0)
    assert Evidence(started_at=5.0).ended_at is None


@pytest.mark.parametrize("text", ['{"grid": "v0", "n": 1}', '{"n": 1}'])
def test_evidence_for_other_stakes_is_refused(text):
    """Sums over another grid would be silently wrong evidence."""
    with pytest.raises(ValueError, match="this version reads 'v1' only"):
        Evidence.from_json(text)


@pytest.mark.parametrize("counts", [(10, 6, 5), (10, -1, 2), (-1, 0, 0)])
def test_impossible_counts_are_refused(counts):
    """More wins and losses than events cannot be."""
    with pytest.raises(ValueError, match="do not fit"):
        Evidence.of_counts(*counts)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_an_alpha_that_is_no_probability_is_refused(alpha):
    """0 and 1 have no bound."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        Evidence.of_counts(10, 2, 1).bounds(alpha)


def test_state_is_small_and_does_not_grow():
    """At most 2 kB whatever was counted; the cost of an event is printed, since a busy machine decides it."""
    rng = np.random.default_rng(5)
    evidence = Evidence(started_at=1_763_800_000.123)
    sizes, costs = [], []
    for _ in range(3):
        values = rng.uniform(-1, 1, 5_000)
        begun = time.perf_counter()
        for d in values:
            evidence.add(d, at=1_763_800_001.456)
        costs.append((time.perf_counter() - begun) / len(values) * 1e6)
        sizes.append(len(evidence.to_json()))
    print(f"add, real-valued: {', '.join(f'{cost:.1f}' for cost in costs)} us; state: {sizes} bytes")
    assert max(sizes) <= 2_048
    assert len(json.loads(evidence.to_json())["plus"]) == 16


def test_the_vectorised_harness_counts_as_evidence_does():
    """The simulations below rest on this: the same log E after every look, for counts and for real values."""
    rng = np.random.default_rng(6)
    for d in (harness.draw(rng, 3, 0.05, 0.03, 400), rng.uniform(-1, 1, (3, 400))):
        for delta in (0.0, 0.01):
            paths = harness.log_e(d, delta, every=10)
            for row, path in zip(d, paths, strict=True):
                evidence = Evidence()
                for look, log_e in enumerate(path):
                    evidence.add_many(row[10 * look : 10 * look + 10])
                    assert evidence.log_e(delta) == pytest.approx(log_e, abs=1e-9)
