"""Losses: fixed ranges, the same value singly and in bulk, and refusals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.losses import is_clipped, loss_named

CLASSES = ["zero_one", "brier", "log"]
VALUES = ["absolute", "squared"]


@st.composite
def answers(draw):
    """(champion, challenger) as probabilities of k classes, and a column."""
    k = draw(st.integers(2, 5))
    rows = [np.array(draw(st.lists(st.floats(0, 1), min_size=k, max_size=k))) + 1e-3 for _ in range(2)]
    return [tuple(map(float, row / row.sum())) for row in rows], draw(st.integers(0, k - 1))


@pytest.mark.parametrize("name", CLASSES)
@given(asked=answers())
@settings(max_examples=80, deadline=None)
def test_class_losses_stay_in_their_range(name, asked):
    """Whatever the answers, the loss is in [0, range] and the difference in [-1, 1], singly as in bulk."""
    (champion, challenger), column = asked
    loss = loss_named(name)
    assert 0 <= loss.of(champion, column) <= loss.range
    d = loss.difference(champion, challenger, column)
    assert -1 <= d <= 1
    assert loss.differences([champion] * 3, [challenger] * 3, [column] * 3) == pytest.approx([d] * 3, abs=1e-12)


@pytest.mark.parametrize("name", VALUES)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
@settings(max_examples=80, deadline=None)
def test_value_losses_stay_in_their_range(name, champion, challenger, value, clip):
    """Errors beyond the clip count as the clip, so the range is known before the first event."""
    loss = loss_named(name, clip)
    assert 0 <= loss.of((champion,), value) <= loss.range
    d = loss.difference((champion,), (challenger,), value)
    assert -1 <= d <= 1
    assert loss.differences([[champion]], [[challenger]], [value]) == pytest.approx([d], abs=1e-12)


def test_each_loss_is_what_its_name_says():
    """One worked value of each."""
    answer = (0.2, 0.5, 0.3)
    assert [loss_named("zero_one").of(answer, c) for c in (0, 1, 2)] == [1, 0, 1]
    assert loss_named("brier").of(answer, 1) == pytest.approx(0.04 + 0.25 + 0.09)
    assert loss_named("log").of(answer, 0) == pytest.approx(-math.log(0.2))
    assert loss_named("log").of((1.0, 0.0), 1) == pytest.approx(math.log(100))
    assert loss_named("log", 0.001).range == pytest.approx(math.log(1000))
    assert loss_named("absolute", 10).of((7.0,), 4.0) == 3
    assert loss_named("squared", 2).of((7.0,), 4.0) == 4
    assert loss_named("squared", 2).range == 4


def test_binary_brier_is_the_squared_error_of_the_probability():
    """Normalised, the two-column form equals (p - y) squared."""
    loss = loss_named("brier")
    assert loss.difference((0.4, 0.6), (0.1, 0.9), 1) == pytest.approx(0.16 - 0.01)


def test_equal_probabilities_choose_the_first_class_as_serving_does():
    """A tie is answered with the first class, so that is what was right or wrong."""
    assert loss_named("zero_one").of((0.5, 0.5), 0) == 0
    assert loss_named("zero_one").of_many([[0.5, 0.5]], [0]) == [0]


def test_only_errors_beyond_the_clip_are_called_clipped():
    """The share of clipped events tells whether the clip was chosen too small."""
    loss = loss_named("absolute", 2.0)
    assert [is_clipped(loss, (x,), 0.0) for x in (2.0, -2.1)] == [False, True]
    assert not is_clipped(loss_named("log"), (1.0, 0.0), 1)


@pytest.mark.parametrize(
    ("name", "scores", "label", "told"),
    [
        ("zero_one", (math.nan, 1.0), 0, "not finite"),
        ("brier", (math.inf, 0.0), 0, "not finite"),
        ("absolute", (math.nan,), 0.0, "not finite"),
        ("log", (0.9, 0.9), 0, "not probabilities"),
        ("brier", (-0.5, 1.5), 0, "not probabilities"),
        ("zero_one", (0.5, 0.5), 2, "column"),
        ("zero_one", (0.5, 0.5), -1, "column"),
    ],
)
def test_scores_that_are_no_answer_are_refused(name, scores, label, told):
    """A NaN, an improper probability or a label without a column never becomes a loss."""
    loss = loss_named(name, 1.0 if name in VALUES else None)
    with pytest.raises(ValueError, match=told):
        loss.of(scores, label)
    with pytest.raises(ValueError, match=told):
        loss.of_many([scores], [label])


@pytest.mark.parametrize(
    ("name", "clip"),
    [("hinge", None), ("absolute", None), ("absolute", 0), ("squared", math.inf), ("absolute", math.nan), ("log", 1.5)],
)
def test_a_loss_without_a_fixed_range_is_refused(name, clip):
    """Unknown names, and clips that give no range."""
    with pytest.raises(ValueError, match=name):
        loss_named(name, clip)
