"""Losses: fixed ranges, the same value singly and in bulk, and refusals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.losses import loss_named

CLASSES = ["zero_one", "cost", "brier", "log"]
VALUES = ["absolute", "squared"]


def named(name, clip=None, classes=2):
    """With costs of 1 to k of confusing a class with the next ones."""
    costs = [[(j - i) % classes for j in range(classes)] for i in range(classes)] if name == "cost" else ()
    return loss_named(name, clip, costs)


def one(loss, scores, label):
    """The loss of one row."""
    return float(loss.of([scores], [label])[0])


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
    """Whatever the answers, the loss is in [0, range], the same bits singly as in bulk."""
    rows, column = asked
    loss = named(name, classes=len(rows[0]))
    found = loss.of(rows * 3, [column] * 6)
    assert np.all((found >= 0) & (found <= loss.range))
    assert found.tolist() == [one(loss, row, column) for row in rows] * 3


@pytest.mark.parametrize("name", VALUES)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
@settings(max_examples=80, deadline=None)
def test_value_losses_stay_in_their_range(name, champion, challenger, value, clip):
    """Errors beyond the clip count as the clip, so the range is known before the first event."""
    loss = loss_named(name, clip)
    found = loss.of([[champion], [challenger]], [value, value])
    assert np.all((found >= 0) & (found <= loss.range))
    assert found.tolist() == [one(loss, (champion,), value), one(loss, (challenger,), value)]


def test_each_loss_is_what_its_name_says():
    """One worked value of each."""
    answer = (0.2, 0.5, 0.3)
    assert loss_named("zero_one").of([answer] * 3, [0, 1, 2]).tolist() == [1, 0, 1]
    assert one(loss_named("brier"), answer, 1) == pytest.approx(0.04 + 0.25 + 0.09)
    assert one(loss_named("log"), answer, 0) == pytest.approx(-math.log(0.2))
    assert one(loss_named("log"), (1.0, 0.0), 1) == pytest.approx(math.log(100))
    assert loss_named("log", 0.001).range == pytest.approx(math.log(1000))
    assert one(loss_named("absolute", 10), (7.0,), 4.0) == 3
    assert one(loss_named("squared", 2), (7.0,), 4.0) == 4
    assert loss_named("squared", 2).range == 4


def test_costs_are_looked_up_by_truth_and_answer():
    """A missed fraud costs ten times a false alarm, and the range is that of the whole table."""
    loss = loss_named("cost", costs=[[0, 1], [10, 0]])
    assert loss.of([(0.9, 0.1), (0.1, 0.9), (0.9, 0.1), (0.1, 0.9)], [0, 0, 1, 1]).tolist() == [0, 1, 10, 0]
    assert loss.range == 10
    assert math.isnan(one(loss, (0.1, 0.1, 0.8), 0))


def test_binary_brier_is_the_squared_error_of_the_probability():
    """Divided by its range, the two-column form equals (p - y) squared."""
    loss = loss_named("brier")
    assert loss.of([(0.4, 0.6), (0.1, 0.9)], [1, 1]) / loss.range == pytest.approx([0.16, 0.01])


def test_equal_probabilities_choose_the_first_class_as_serving_does():
    """A tie is answered with the first class, so that is what was right or wrong."""
    assert one(loss_named("zero_one"), (0.5, 0.5), 0) == 0


def test_only_errors_beyond_the_clip_are_called_clipped():
    """The share of clipped events tells whether the clip was chosen too small."""
    assert loss_named("absolute", 2.0).is_clipped([[2.0], [-2.1]], [0.0, 0.0]).tolist() == [False, True]
    assert not loss_named("log").is_clipped([(1.0, 0.0)], [1]).any()


@pytest.mark.parametrize(
    ("name", "scores", "label"),
    [
        ("zero_one", (math.nan, 1.0), 0),
        ("brier", (math.inf, 0.0), 0),
        ("absolute", (math.nan,), 0.0),
        ("squared", (1.0,), math.nan),
        ("log", (0.9, 0.9), 0),
        ("brier", (-0.5, 1.5), 0),
        ("zero_one", (0.5, 0.5), 2),
        ("zero_one", (0.5, 0.5), -1),
        ("zero_one", (0.5, 0.5), math.nan),
        ("zero_one", (), 0),
    ],
)
def test_what_is_no_answer_or_no_label_has_no_loss(name, scores, label):
    """A NaN, an improper probability or a label without a column never becomes a loss, beside rows that do."""
    loss = loss_named(name, 1.0 if name in VALUES else None)
    assert math.isnan(one(loss, scores, label))
    good = (1.0,) if name in VALUES else (1.0, 0.0)
    if scores:
        assert np.isnan(loss.of([good, scores, good], [0, label, 0])).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("name", "clip", "costs"),
    [
        ("hinge", None, ()),
        ("absolute", None, ()),
        ("absolute", 0, ()),
        ("squared", math.inf, ()),
        ("absolute", math.nan, ()),
        ("log", 1.5, ()),
        ("cost", None, ()),
        ("cost", None, [[0, 1]]),
        ("cost", None, [[0, math.inf], [1, 0]]),
        ("cost", None, [[1, 1], [1, 1]]),
    ],
)
def test_a_loss_without_a_fixed_range_is_refused(name, clip, costs):
    """Unknown names, and clips and costs that give no range."""
    with pytest.raises(ValueError, match=name):
        loss_named(name, clip, costs)
