"""The comparison that stands between a graph and serving, and the graph that needs none."""

from dataclasses import replace

import numpy as np
import pytest

from contracts.config import Learner
from contracts.schema import Feature, Label, Schema
from learners.catalogue import build_online
from learners.export import graph, revision
from learners.export.frame import NotExportable
from learners.parity import Checker, Parity, compare, require_parity
from learners.prior import prior_onnx
from tests.learners.streams import mixed

SCHEMA = Schema((Feature("x", "float"),), Label("binary", (False, True), prior=(0.75, 0.25)))


def test_a_flip_is_a_different_label() -> None:
    """However small the difference that caused it; but a tie has no label to flip."""
    expected = np.array([[0.5 + 1e-9, 0.5 - 1e-9], [0.5, 0.5], [0.9, 0.1]])
    found = np.array([[0.5 - 1e-9, 0.5 + 1e-9], [0.5 - 1e-16, 0.5], [0.9, 0.1]])
    result = compare(expected, found)
    assert (result.rows, result.flips) == (3, 1)
    assert result.max_abs_difference == pytest.approx(2e-9)


def test_differences_of_large_values_are_relative() -> None:
    """A billion is not expected to nine digits after the point; small values are compared as they are."""
    assert compare(np.array([[1e9]]), np.array([[1e9 + 1]])).max_abs_difference == pytest.approx(1e-9)
    assert compare(np.array([[1e-3]]), np.array([[2e-3]])).max_abs_difference == pytest.approx(1e-3)


def test_no_rows_are_equal() -> None:
    """Nothing differs in nothing."""
    assert compare(np.empty((0, 2)), np.empty((0, 2))) == Parity(0, 0.0, 0)


@pytest.mark.parametrize("wrong", [0.0001, float("nan")])
def test_a_graph_that_differs_is_refused(wrong: float) -> None:
    """With the figures; NaN is beyond every tolerance."""
    with pytest.raises(NotExportable, match="on 1 rows its graph differs by up to"):
        require_parity("mine", prior_onnx(SCHEMA), lambda _: np.array([[0.75 + wrong, 0.25]]), SCHEMA, [(1.0,)])


def test_a_graph_that_agrees_is_not() -> None:
    """And its parity is told."""
    found = require_parity("mine", prior_onnx(SCHEMA), lambda _: np.array([[0.75, 0.25]]), SCHEMA, [(1.0,)])
    assert found == Parity(1, 0.0, 0)


def test_a_session_is_kept_while_the_graph_stays() -> None:
    """Whatever weights come with it; and one that cannot be loaded is said to be so, and the next is looked at anew."""
    data = mixed("binary")
    checker, learner, rows = (
        Checker(data.schema),
        build_online(Learner(algorithm="linear"), data.schema),
        data.rows[:20],
    )
    learner.learn(data.rows, data.labels)
    last, scores = revision(learner.model, data.schema), learner.score_many(rows).tolist()
    assert not checker.has(last)
    assert checker.fault(last, rows, scores, 1e-9) is None
    assert checker.has(replace(last, onnx=b"", weights={}))
    moved = replace(last, weights={name: array + 1.0 for name, array in last.weights.items()})
    assert "scores differ by up to" in str(checker.fault(moved, rows, scores, 1e-9))
    broken = replace(last, onnx=b"", graph_sha256="another")
    assert "cannot run it" in str(checker.fault(broken, rows, scores, 1e-9))
    assert not checker.has(broken)
    assert checker.fault(last, rows, scores, 1e-9) is None


def test_the_prior_answers_the_same_for_every_row() -> None:
    """Supplied, or equal probabilities, or 0 for a value; also for no rows and for categories alone."""
    assert graph.run(graph.session(prior_onnx(SCHEMA)), SCHEMA, [(1.0,), (2.0,)]).tolist() == [[0.75, 0.25]] * 2
    for task, expected in (("binary", [0.5, 0.5]), ("regression", [0.0])):
        data = mixed(task)  # type: ignore[arg-type]
        session = graph.session(prior_onnx(data.schema))
        assert graph.run(session, data.schema, data.rows[:3]).tolist() == [expected] * 3
        assert graph.run(session, data.schema, []).shape == (0, len(expected))
    categories = Schema((Feature("c", "category"),), Label("multiclass", ("a", "b", "c")))
    answer = graph.run(graph.session(prior_onnx(categories)), categories, [("x",)])
    assert answer.tolist() == [[1 / 3] * 3]
