"""The exporter on River pipelines that a user may bring."""

import random
from numbers import Number
from typing import Any

import numpy as np
import pytest
from river import compose, feature_extraction, linear_model, naive_bayes, optim, preprocessing, tree

from contracts.schema import Feature, Label, Schema
from learners import zoo
from learners.export import graph, to_onnx
from learners.online import OnlineLearner
from learners.parity import compare
from tests.learners.streams import MIXED, Stream, mixed, stream

SCALERS = [
    preprocessing.StandardScaler(),
    preprocessing.StandardScaler(with_std=False),
    preprocessing.StandardScaler(window_size=50),
    preprocessing.MinMaxScaler(),
    preprocessing.MinMaxScaler(window_size=50),
    preprocessing.MaxAbsScaler(),
    preprocessing.RobustScaler(),
    preprocessing.RobustScaler(with_centering=False, q_inf=0.1, q_sup=0.9),
]

CLASSIFIERS = [
    linear_model.LogisticRegression(l2=0.01),
    linear_model.LogisticRegression(optim.AdaGrad(0.1), loss=optim.losses.BinaryFocalLoss()),
    linear_model.Perceptron(),
    linear_model.PAClassifier(C=0.1),
    linear_model.SoftmaxRegression(),
    naive_bayes.BernoulliNB(),
    naive_bayes.BernoulliNB(alpha=0.1, true_threshold=0.5),
    tree.HoeffdingTreeClassifier(grace_period=25, delta=0.05, leaf_prediction="mc"),
    tree.HoeffdingTreeClassifier(grace_period=25, delta=0.05, leaf_prediction="nb", nb_threshold=20),
    tree.HoeffdingTreeClassifier(grace_period=25, delta=0.05, leaf_prediction="nba", max_depth=3),
    tree.ExtremelyFastDecisionTreeClassifier(
        grace_period=25, delta=0.05, min_samples_reevaluate=50, leaf_prediction="nba"
    ),
    tree.HoeffdingTreeClassifier(grace_period=25, delta=0.05, leaf_prediction="mc", binary_split=True),
]

REGRESSORS = [
    linear_model.LinearRegression(clip_gradient=1.0),
    preprocessing.TargetStandardScaler(linear_model.LinearRegression(clip_gradient=1.0)),
    linear_model.PARegressor(C=0.01),
    tree.HoeffdingTreeRegressor(grace_period=25, delta=0.05, leaf_prediction="mean"),
    tree.HoeffdingTreeRegressor(grace_period=25, delta=0.05, leaf_prediction="mean", binary_split=True),
]


def name_of(model: Any) -> str:
    """A test id."""
    return type(model).__name__


def differs(model: Any, data: Stream) -> float:
    """Largest difference of scores after learning two thirds of a stream; asserts that no label flips."""
    learner = OnlineLearner("mine", model.clone(), data.schema)
    for row, label in list(data)[: 2 * len(data.rows) // 3]:
        learner.learn_one(row, label)
    before = learner.state_hash()
    session = graph.session(to_onnx(learner.model, data.schema).SerializeToString())
    assert learner.state_hash() == before, "exporting changed the model"
    found = compare(learner.score_many(data.rows), graph.run(session, data.schema, data.rows))
    assert found.flips == 0
    return found.max_abs_difference


@pytest.mark.parametrize("scaler", SCALERS, ids=name_of)
def test_scalers_are_exact_before_linear_models_and_before_trees(scaler: Any) -> None:
    """With missing values, rolling windows and a feature far from zero."""
    binary, regression = stream("Phishing"), stream("TrumpApproval")
    assert differs(scaler | linear_model.LogisticRegression(), binary) < 1e-9
    assert differs(scaler | tree.HoeffdingTreeClassifier(25, leaf_prediction="mc", tau=0.2), binary) < 1e-9
    assert differs(scaler | linear_model.LinearRegression(clip_gradient=1.0), regression) < 1e-9


@pytest.mark.parametrize("model", CLASSIFIERS, ids=name_of)
def test_classifiers_are_exact(model: Any) -> None:
    """On numbers alone, and with scaled numbers beside one-hot or raw categories."""
    assert differs(preprocessing.StandardScaler() | model.clone(), stream("Bananas")) < 1e-9
    assert differs(_mixed(model), mixed("binary")) < 1e-9


@pytest.mark.parametrize("model", REGRESSORS, ids=name_of)
def test_regressors_are_exact(model: Any) -> None:
    """On numbers alone, and with scaled numbers beside one-hot or raw categories."""
    assert differs(preprocessing.StandardScaler() | model.clone(), stream("TrumpApproval")) < 1e-9
    assert differs(_mixed(model), mixed("regression")) < 1e-9


def _mixed(model: Any) -> Any:
    numbers = compose.SelectType(Number) | preprocessing.StandardScaler()
    texts = compose.SelectType(str)
    return (numbers + (texts if "Tree" in name_of(model) else texts | zoo.Categories())) | model.clone()


def schema_of(*features: Feature, task: Any = "binary") -> Schema:
    """Of a label that is True or False, or a number."""
    return Schema(features, Label(task, {"binary": (False, True), "regression": ()}[task]))


def learned(model: Any, schema: Schema, rows: list[tuple[Any, ...]]) -> OnlineLearner:
    """A learner that met the rows twenty times, every other one of them True."""
    learner = OnlineLearner("mine", model, schema)
    for i, row in enumerate(rows * 20):
        learner.learn_one(row, ("false", "true")[i % len(rows) % 2])
    return learner


@pytest.mark.parametrize("drop_zeros", [False, True])
def test_rivers_own_one_hot_encoder_is_exact(drop_zeros: bool) -> None:
    """Seen, unseen and missing categories, whether or not River writes out the zeros."""
    schema = schema_of(Feature("colour", "category", True), Feature("size", "category", True))
    encoder = preprocessing.OneHotEncoder(drop_zeros=drop_zeros)
    rows: list[Any] = [("red", "s"), ("blue", None), (None, "l"), ("red_s", "l")]
    learner = learned(encoder | linear_model.LogisticRegression(), schema, rows)
    asked = [*rows, ("unseen", "s"), (None, None), ("", "")]
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    expected = learner.score_many([*asked[:-1], (None, None)])
    assert compare(expected, graph.run(session, schema, asked)).max_abs_difference < 1e-12


def test_selected_and_discarded_features_are_exact() -> None:
    """Unions of branches that each read some columns."""
    schema = schema_of(*(Feature(name, "float") for name in "abcd"))
    model = (compose.Select("d", "a") | preprocessing.StandardScaler()) + (
        compose.Discard("a", "d") | preprocessing.MinMaxScaler()
    )
    rows = [(1.0, 2.0, 3.0, 4.0), (-1.0, 0.5, 9.0, 2.0), (0.0, 0.0, 1.0, -3.0)]
    learner = learned(model | linear_model.LogisticRegression(), schema, rows)
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert compare(learner.score_many(rows), graph.run(session, schema, rows)).max_abs_difference < 1e-12


@pytest.mark.parametrize("model", [naive_bayes.MultinomialNB(alpha=0.5), naive_bayes.ComplementNB()], ids=name_of)
def test_naive_bayes_of_frequencies_is_exact(model: Any) -> None:
    """Scaled to [0, 1], some missing; with a feature and a class that were never seen."""
    data = stream("ImageSegments")
    assert differs(preprocessing.MinMaxScaler() | model.clone(), data) < 1e-9
    schema = Schema(tuple(Feature(name, "int", True) for name in "abc"), Label("multiclass", ("u", "v", "never")))
    learner = OnlineLearner("nb", model.clone(), schema)
    rng = random.Random(5)
    for i in range(50):
        learner.learn_one((rng.randrange(1, 4), None if i % 3 else rng.randrange(1, 9), None), "uv"[i % 2])
    rows = [(i % 4, i % 3 or None, i % 2) for i in range(12)]
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert compare(learner.score_many(rows), graph.run(session, schema, rows)).max_abs_difference < 1e-12


@pytest.mark.parametrize(
    "extender",
    [
        feature_extraction.PolynomialExtender(),
        feature_extraction.PolynomialExtender(degree=3, interaction_only=True, include_bias=True),
    ],
)
def test_products_of_features_are_exact(extender: Any) -> None:
    """Of any degree, missing where a factor is."""
    schema = schema_of(*(Feature(name, "float", name == "b") for name in "abc"))
    rows: list[Any] = [(1.0, 2.0, 3.0), (-1.0, None, 9.0), (0.5, 0.0, 1.0), (0.3, None, -2.0)]
    learner = learned(extender | linear_model.LogisticRegression(), schema, rows)
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert compare(learner.score_many(rows), graph.run(session, schema, rows)).max_abs_difference < 1e-12


def test_features_of_the_smallest_scale_are_exact() -> None:
    """A weight cannot be divided by it, the feature can."""
    schema = schema_of(Feature("x", "float"), Feature("y", "float"))
    rows = [(5e-324, 3.5), (0.0, 3.5), (1e-323, -1.0)]
    learner = learned(preprocessing.MaxAbsScaler() | linear_model.LogisticRegression(), schema, rows)
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert compare(learner.score_many(rows), graph.run(session, schema, rows)).max_abs_difference < 1e-12


def test_types_are_selected_as_python_sees_them() -> None:
    """bool is an int to SelectType, and a float is not."""
    schema = schema_of(Feature("x", "float"), Feature("n", "int"), Feature("b", "bool"))
    rows = [(1.5, 2, True), (-1.0, 5, False), (0.0, 0, True)]
    learner = learned(compose.SelectType(int) | linear_model.LogisticRegression(), schema, rows)
    assert set(learner.model[-1].weights) == {"n", "b"}
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert compare(learner.score_many(rows), graph.run(session, schema, rows)).max_abs_difference < 1e-12


@pytest.mark.parametrize("name", list(MIXED))
def test_a_model_that_has_learned_nothing_answers_equal_probabilities_or_zero(name: str) -> None:
    """The graph agrees with the learner before the first label."""
    data = stream(name)
    width = data.schema.label.width
    trees = {1: REGRESSORS[-1], 2: CLASSIFIERS[-1], 3: CLASSIFIERS[-1]}
    linears = {1: REGRESSORS[0], 2: CLASSIFIERS[0], 3: CLASSIFIERS[4]}
    for model in (trees[width].clone(), zoo._standardised(data.schema) | linears[width].clone()):
        session = graph.session(to_onnx(model, data.schema).SerializeToString())
        expected = 1 / width if width > 1 else 0.0
        assert np.allclose(graph.run(session, data.schema, data.rows[:5]), expected)


def test_a_class_not_seen_yet_has_probability_zero() -> None:
    """In River it has no weights at all; in the graph its column is there, and 0."""
    data = mixed("multiclass")
    learner = OnlineLearner("mine", zoo._standardised(data.schema) | linear_model.SoftmaxRegression(), data.schema)
    for row in data.rows[:20]:
        learner.learn_one(row, "b")
    session = graph.session(to_onnx(learner.model, data.schema).SerializeToString())
    assert graph.run(session, data.schema, data.rows[:3]).tolist() == [[0, 1, 0]] * 3
