"""Curves keep little, depend on nothing but what was added, and have detail wherever one looks closer."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.releases import Board
from flows import checkpoint
from registry.curves import STEP, Samples, thinned
from registry.evidence import Evidence
from registry.gate import Rules
from registry.matured import Matured
from registry.tenure import Record


def counts(until: int) -> list[tuple[int]]:
    return [(n,) for n in range(STEP, until + 1, STEP)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60_000), st.integers(1, 4_000))
def test_when_states_are_dropped_changes_nothing(until: int, batch: int) -> None:
    """Added in whatever pieces, those that stay are the same."""
    samples, rest = Samples[tuple[int]](), counts(until)
    for begin in range(0, len(rest), batch):
        samples.add(rest[begin : begin + batch])
    assert samples.points == thinned(rest)


@pytest.mark.parametrize(("until", "most"), [(1_900, 95), (50_000, 330), (1_000_000, 540), (10_000_000, 700)])
def test_few_states_stay_and_none_is_far_from_the_next(until: int, most: int) -> None:
    """Gaps are one step at the end, and nowhere more than a 24th of how long ago they were."""
    kept = [n for (n,) in thinned(counts(until))]
    assert len(kept) <= most
    assert kept[-1] == until // STEP * STEP
    for before, after in itertools.pairwise(kept):
        assert after - before <= max(STEP, (until - before) / 24)


@given(st.lists(st.sampled_from([-1.0, -0.3, 0.0, 0.2, 1.0]), max_size=120), st.integers(1, 40))
def test_moments_of_a_batch_are_those_of_single_events(d: list[float], every: int) -> None:
    """To the last bit: counts, means, wealth of each stake and the time of the newest question."""
    one, many, single = Evidence(), Evidence(), []
    at = [1e9 + (7 * i) % 50 for i in range(len(d))]
    for value, asked_at in zip(d, at, strict=True):
        one.add(value, asked_at)
        if one.n % every == 0:
            single.append(one.moment())
    half = len(d) // 2
    found = many.follow(d[:half], at[:half], every) + many.follow(d[half:], at[half:], every)
    assert [(m.n, m.mean, m.at, *m.plus, *m.minus) for m in found] == [
        (m.n, m.mean, m.at, *m.plus, *m.minus) for m in single
    ]
    assert many.to_json() == one.to_json()


def compared(n: int) -> Record:
    dice = np.random.default_rng(3)
    record = Record(Rules(), "zero_one")
    record.begin(Board(1, (2,)), -1)
    record.add(
        Matured((1_000_000_000_000 + 1_000 * i) << 20, 1, (0.1, 0.9), {2: (0, (0.9, 0.1))}, float(dice.random() < 0.5))
        for i in range(n)
    )
    return record


def test_each_point_of_a_curve_says_when_its_newest_question_was_asked() -> None:
    """One a second: the question of the n-th pair was asked n - 1 seconds after the first."""
    (facts,) = compared(5_000).comparison_facts((2,), {}, 0.0)
    assert len(facts.curve_at) == len(facts.curve) > 100
    for (n, *_), at in zip(facts.curve, facts.curve_at, strict=True):
        assert at == pytest.approx(1e9 + n - 1)


def test_a_checkpoint_from_before_times_were_kept_is_gone_on_with(tmp_path: Path) -> None:
    """Its points were plain tuples of five at even steps; they have no time, and those after them have."""
    record = compared(4_000)
    curve = record.comparisons[2].curve
    curve.points = [tuple(point)[:5] for point in curve.points]  # type: ignore[misc]
    curve.step = 20  # type: ignore[attr-defined]
    checkpoint.save(tmp_path, record)
    again = checkpoint.load(tmp_path)
    assert isinstance(again, Record)
    again.add(
        Matured((1_000_000_000_000 + 1_000 * i) << 20, 1, (0.1, 0.9), {2: (0, (0.9, 0.1))}, 1.0)
        for i in range(4_000, 6_000)
    )
    (facts,) = again.comparison_facts((2,), {}, 0.0)
    assert all((at == 0) == (n <= 4_000) for (n, *_), at in zip(facts.curve, facts.curve_at, strict=True))
    assert sum(at > 0 for at in facts.curve_at) > 90
