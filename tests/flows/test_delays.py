"""How the delays of labels are told."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.config import parse
from flows.state import JoinState
from tests.flows.world import CONFIG


def state_with(delays_s: list[float]) -> JoinState:
    state = JoinState.fresh(parse(CONFIG).model("m"))
    state.delays_s.extend(delays_s)
    return state


@given(st.lists(st.floats(-5, 1e7), min_size=1, max_size=50))
def test_every_delay_lies_in_one_of_twenty_steps(delays_s: list[float]) -> None:
    """Whatever they are: negative where clocks are apart, all equal, or months."""
    steps = state_with(delays_s).delay_steps()
    assert len(steps) == 20
    assert sum(labels for _, _, labels in steps) == len(delays_s)
    assert all(start < end for start, end, _ in steps)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(steps))
    assert steps[-1][1] >= max(delays_s)


def test_the_steps_are_of_equal_ratio() -> None:
    """From the shortest to the longest delay."""
    steps = state_with([1.0, 10.0, 100.0]).delay_steps()
    assert (steps[0][0], steps[-1][1]) == (pytest.approx(1), pytest.approx(100))
    assert {round(end / start, 9) for start, end, _ in steps} == {round(100 ** (1 / 20), 9)}
    assert [labels for _, _, labels in steps if labels] == [1, 1, 1]


def test_without_labels_there_are_none() -> None:
    """Before the first label."""
    assert state_with([]).delay_steps() == ()
