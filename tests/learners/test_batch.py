"""Learners that are fitted on a window."""

from typing import Any

import numpy as np
import pytest

from contracts.config import Learner
from contracts.schema import Feature, Label, Schema
from learners.batch import CannotFit, Fitted, export, fit, refit
from learners.export import graph
from learners.metrics import baseline, measure
from learners.parity import parity, require_parity
from tests.learners.streams import Stream, case_id, cases, mixed, stream

BOOSTING = Learner(algorithm="hist_gradient_boosting", kind="batch", params={"max_iter": 12})
LINEAR = Learner(algorithm="linear", kind="batch")
BOTH = pytest.mark.parametrize("learner", [LINEAR, BOOSTING], ids=case_id)


def fitted(learner: Learner, data: Stream, rows: int | None = None, said: list[str] | None = None) -> Fitted:
    """The learner on a stream's first rows, the newest fifth held out."""
    progress = (said if said is not None else []).append
    return fit(learner, data.schema, data.rows[:rows], data.labels[:rows], 3, 0.2, progress)


@pytest.mark.parametrize(("learner", "name"), cases("batch"), ids=case_id)
def test_the_graph_answers_what_scikit_learn_answers(learner: Learner, name: str) -> None:
    """On every row, seen or held out: rounding of double only, and no label flips."""
    data = stream(name)
    model = fitted(Learner(algorithm=learner.algorithm, kind="batch", params=_short(learner)), data)
    found = parity(export(model), model.scores, data.schema, data.rows)
    assert found.rows == len(data.rows)
    assert found.max_abs_difference < 1e-12
    assert found.flips == 0


def _short(learner: Learner) -> dict[str, Any]:
    return BOOSTING.params if learner.algorithm == BOOSTING.algorithm else {}


@BOTH
def test_fitted_again_on_everything_it_knows_the_newest_rows_too(learner: Learner) -> None:
    """It scores as one that was fitted on all of them, and keeps the figures of the fit that had not seen them."""
    data = mixed("binary")
    held_out = fitted(learner, data)
    whole = refit(held_out, data.rows, data.labels, lambda text: None)
    other = fit(learner, data.schema, [*data.rows, data.rows[0]], [*data.labels, "true"], 3, 1e-9, lambda text: None)
    assert (whole.fitted_rows, whole.metrics) == (600, held_out.metrics)
    assert np.array_equal(whole.scores(data.rows), other.scores(data.rows))


@BOTH
def test_the_newest_rows_are_held_out(learner: Learner) -> None:
    """What is in them cannot change the fit."""
    data = mixed("binary")
    model = fitted(learner, data)
    assert (model.fitted_rows, model.held_out_rows) == (480, 120)
    flipped = ["true" if label == "false" else "false" for label in data.labels[480:]]
    other = Stream(data.name, data.schema, data.rows, [*data.labels[:480], *flipped])
    again = fitted(learner, other)
    assert (again.scores(data.rows) == model.scores(data.rows)).all()
    assert again.metrics["accuracy"] == pytest.approx(1 - model.metrics["accuracy"])


@BOTH
def test_a_seed_makes_the_same_graph(learner: Learner) -> None:
    """Byte for byte."""
    data = mixed("multiclass")
    assert export(fitted(learner, data)) == export(fitted(learner, data))


@BOTH
def test_it_beats_the_baseline_and_says_by_how_much(learner: Learner) -> None:
    """Metrics of the held-out rows stand beside those of the majority."""
    said: list[str] = []
    metrics = fitted(learner, mixed("binary"), said=said).metrics
    assert metrics["accuracy"] > metrics["baseline_accuracy"]
    assert metrics["log_loss"] < metrics["baseline_log_loss"]
    assert said[0] == f"fitting {learner.algorithm} on 480 rows, the newest 120 held out"


@BOTH
def test_a_class_that_the_window_lacks_has_probability_zero_and_is_named(learner: Learner) -> None:
    """Scores keep their columns, also where only two of three classes are left."""
    data = mixed("multiclass")
    kept = [(row, label) for row, label in data if label != "b"]
    two = Stream("two", data.schema, [row for row, _ in kept], [label for _, label in kept])
    said: list[str] = []
    model = fitted(learner, two, said=said)
    assert model.absent_classes == ("b",)
    assert said[-1] == "not in the window, so with probability 0: b"
    scores = graph.run(graph.session(export(model)), data.schema, data.rows)
    assert (scores[:, 1] == 0).all()
    assert np.allclose(scores.sum(axis=1), 1)
    assert parity(export(model), model.scores, data.schema, data.rows).flips == 0


@BOTH
def test_a_window_of_one_class_is_refused(learner: Learner) -> None:
    """With the class, and what to wait for."""
    data = mixed("binary")
    with pytest.raises(CannotFit, match='all 16 rows to fit on have the class "true"; wait for another'):
        fitted(learner, Stream("one", data.schema, data.rows[:20], ["true"] * 20))


@BOTH
def test_a_window_of_hardly_any_rows_is_refused(learner: Learner) -> None:
    """None, or one to fit on."""
    for rows in (0, 1, 2):
        with pytest.raises(CannotFit, match="wait for more labels"):
            fitted(learner, mixed("binary"), rows)


@BOTH
def test_a_window_without_a_value_is_refused(learner: Learner) -> None:
    """There is nothing to learn from labels alone."""
    schema = Schema((Feature("x", "float", optional=True),), Label("regression"))
    with pytest.raises(CannotFit, match="all features of the 16 rows to fit on are missing"):
        fitted(learner, Stream("empty", schema, [(None,)] * 20, [1.0] * 20))


@BOTH
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_columns_without_information_do_no_harm(learner: Learner, task: Any) -> None:
    """Constant ones, and ones missing throughout: the graph agrees, also once values come."""
    features = (
        Feature("constant", "float"),
        Feature("missing", "float", optional=True),
        Feature("nameless", "category", optional=True),
        Feature("x", "float"),
    )
    schema = Schema(features, Label(task, (False, True) if task == "binary" else ()))
    rows: list[Any] = [(1.0, None, None, float(i % 9)) for i in range(100)]
    labels: list[Any] = [str(i % 9 > 4).lower() if task == "binary" else float(i % 9) for i in range(100)]
    model = fitted(learner, Stream("flat", schema, rows, labels))
    asked = [*rows, (2.0, 7.5, "here", 3.0), (1.0, -7.5, None, 8.0)]
    found = require_parity("flat", export(model), model.scores, schema, asked)
    assert found.max_abs_difference < 1e-12


@BOTH
def test_unseen_categories_are_answered_as_scikit_learn_does(learner: Learner) -> None:
    """To the linear model they are none of the known ones, to the trees they are missing."""
    data = mixed("binary")
    model = fitted(learner, data)
    rows: list[Any] = [("new", *row[1:]) for row in data.rows[:100]]
    assert parity(export(model), model.scores, data.schema, rows).max_abs_difference < 1e-12
    if learner is BOOSTING:
        assert (model.scores(rows) == model.scores([(None, *row[1:]) for row in rows])).all()


@BOTH
def test_one_sort_of_features_is_enough(learner: Learner) -> None:
    """Numbers only, or categories only."""
    data = mixed("binary")
    for at in ((1, 2, 3, 5), (0, 4)):
        schema = Schema(tuple(data.schema.features[i] for i in at), data.schema.label)
        rows = [tuple(row[i] for i in at) for row in data.rows]
        model = fitted(learner, Stream("some", schema, rows, data.labels))
        assert parity(export(model), model.scores, schema, rows).max_abs_difference < 1e-12


def test_a_solver_that_does_not_converge_is_told_of() -> None:
    """Its warning becomes progress, not noise."""
    said: list[str] = []
    short = Learner(algorithm="linear", kind="batch", params={"max_iter": 1})
    fitted(short, mixed("binary"), said=said)
    assert any(line.startswith("warning: lbfgs failed to converge") for line in said)


def test_metrics_are_what_they_are_called() -> None:
    """By hand, for each task."""
    binary, several = Label("binary", (False, True)), Label("multiclass", ("a", "b", "c"))
    scores, truth = np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 0])
    found = measure(binary, scores, truth)
    assert found == pytest.approx(
        {"accuracy": 0.5, "log_loss": -(np.log(0.8) + np.log(0.4)) / 2, "brier": (0.04 + 0.36) / 2}
    )
    assert measure(several, np.array([[0.5, 0.5, 0.0]]), np.array([2]))["brier"] == pytest.approx(1.5)
    values = measure(Label("regression"), np.array([[1.0], [3.0]]), np.array([1.0, 1.0]))
    assert values == pytest.approx({"mae": 1.0, "rmse": 2**0.5})
    assert baseline(binary, np.array([0, 0, 1]), np.array([1]))["baseline_accuracy"] == 0.0
    assert baseline(Label("regression"), np.array([1.0, 3.0]), np.array([4.0]))["baseline_mae"] == 2.0
