"""The rest of River's zoo, as a user may bring it: encoders, selection, reductions, stacks."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from river import (
    base,
    compose,
    ensemble,
    feature_selection,
    linear_model,
    metrics,
    multiclass,
    naive_bayes,
    optim,
    preprocessing,
    stats,
    tree,
)

from contracts.schema import Feature, Label, Schema
from learners.export import NotExportable, graph, revision, to_onnx
from learners.online import OnlineLearner, class_keys, target
from learners.parity import compare
from tests.learners.streams import Stream, mixed, stream
from tests.learners.test_ensembles import ADAPTIVE, EAGER, LOGISTIC, head
from tests.learners.test_export import differs, name_of

NUMBERS = compose.SelectType(int, float, bool)
SCALED = preprocessing.StandardScaler()


def _ordinal(**params: Any) -> Any:
    return (NUMBERS | SCALED) + (compose.SelectType(str) | preprocessing.OrdinalEncoder(**params))


@pytest.mark.parametrize("params", [{}, {"unknown_value": -7, "none_value": 3}], ids=str)
def test_ordinal_encoders_are_exact(params: dict[str, Any]) -> None:
    """Values met late, never, or missing; before linear models, trees and Gaussians."""
    for model in (linear_model.LogisticRegression(), tree.HoeffdingTreeClassifier(**EAGER), naive_bayes.GaussianNB()):  # type: ignore[no-untyped-call]
        assert differs(_ordinal(**params) | model, mixed("binary")) < 1e-9


def test_ordinal_encoders_of_given_categories_are_exact() -> None:
    """Others are unknown."""
    given = {"dep": {"late": 5, "early": 2}, "colour": {"red": 1}}
    assert (
        differs(_ordinal(categories=given) | linear_model.LinearRegression(optim.SGD(0.01)), mixed("regression")) < 1e-9
    )


SELECTORS = [
    feature_selection.VarianceThreshold(threshold=0.05, min_samples=30),
    feature_selection.SelectKBest(stats.PearsonCorr(), k=3),
    feature_selection.SelectKBest(stats.PearsonCorr(), k=2, use_abs=True),
]


@pytest.mark.parametrize("selector", SELECTORS, ids=name_of)
@pytest.mark.parametrize(
    "model",
    [LOGISTIC, ADAPTIVE, naive_bayes.GaussianNB(), naive_bayes.BernoulliNB()],  # type: ignore[no-untyped-call]
    ids=name_of,
)
def test_selected_features_are_exact(selector: Any, model: Any) -> None:
    """Features that are left out and come back: trees that split at one go on as River does where it is missing."""
    assert differs(preprocessing.MinMaxScaler() | selector | model.clone(), head(stream("Phishing"), 600)) < 1e-9
    assert differs(preprocessing.MinMaxScaler() | selector | model.clone(), _changing()) < 1e-9


def _changing() -> Stream:
    """Another feature tells the class in each third."""
    rng = random.Random(4)
    rows = [tuple(rng.gauss(0, 1) for _ in range(5)) for _ in range(900)]
    labels = [str(row[i * 3 // 900] > 0).lower() for i, row in enumerate(rows)]
    schema = Schema(tuple(Feature(name, "float") for name in "abcde"), Label("binary", (False, True)))
    return Stream("changing", schema, rows, list(labels))


def test_another_selection_is_the_same_graph() -> None:
    """What is kept is a weight."""
    data = _changing()
    model = feature_selection.SelectKBest(stats.PearsonCorr(), k=2, use_abs=True) | linear_model.LogisticRegression()
    learner, latest, kept = OnlineLearner("mine", model, data.schema), None, set()
    for i, (row, label) in enumerate(data):
        learner.learn_one(row, label)
        if i % 50 == 0:
            before, latest = latest, revision(learner.model, data.schema, latest)
            kept.add(latest.weights["kept"].tobytes())
            assert before is None or latest.onnx is before.onnx
    assert len(kept) > 1


def test_an_adaptive_scaler_is_exact() -> None:
    """Its mean and variance forget."""
    assert (
        differs(preprocessing.AdaptiveStandardScaler() | linear_model.LogisticRegression(), stream("Phishing")) < 1e-9
    )
    assert differs(preprocessing.AdaptiveStandardScaler(0.01) | ADAPTIVE.clone(), stream("Phishing")) < 1e-9


REGRESSORS = [
    ensemble.SRPRegressor(tree.HoeffdingTreeRegressor(leaf_prediction="mean", **EAGER), n_models=4, seed=1),
    ensemble.SRPRegressor(tree.HoeffdingTreeRegressor(**EAGER), n_models=3, seed=1, aggregation_method="median"),
    ensemble.SRPRegressor(
        linear_model.LinearRegression(optim.SGD(0.01)), n_models=3, seed=1, disable_weighted_vote=False
    ),
    ensemble.SRPRegressor(
        tree.HoeffdingTreeRegressor(leaf_prediction="mean", **EAGER),
        n_models=4,
        seed=1,
        disable_weighted_vote=False,
        metric=metrics.R2(),
    ),
    SCALED | ensemble.EWARegressor([linear_model.LinearRegression(optim.SGD(rate)) for rate in (0.01, 0.1)]),
    ensemble.EWARegressor([tree.HoeffdingTreeRegressor(leaf_prediction="mean", **EAGER), linear_model.PARegressor()]),
]


@pytest.mark.parametrize("model", REGRESSORS, ids=name_of)
def test_patches_and_averages_of_regressors_are_exact(model: Any) -> None:
    """Means, medians, and weights by error or by loss."""
    for rows in (0, 1, 2, 30, 600):
        assert differs(preprocessing.MinMaxScaler() | model, head(stream("TrumpApproval"), rows + 1)) < 1e-9


STACKS = [
    ensemble.StackingClassifier([LOGISTIC, ADAPTIVE], linear_model.LogisticRegression()),
    ensemble.StackingClassifier([ADAPTIVE, naive_bayes.GaussianNB()], linear_model.PAClassifier()),  # type: ignore[no-untyped-call]
    ensemble.StackingClassifier([LOGISTIC, LOGISTIC.clone()], linear_model.Perceptron(), include_features=False),
]


@pytest.mark.parametrize("model", STACKS, ids=name_of)
def test_stacks_are_exact(model: Any) -> None:
    """With the features and without; members that say nothing yet."""
    for rows in (0, 1, 5, 600):
        assert differs(SCALED | model, head(stream("Phishing"), rows + 1)) < 1e-9


def test_a_stack_of_several_classes_is_exact() -> None:
    """Classes that a member never met."""
    members = [ADAPTIVE, naive_bayes.GaussianNB()]  # type: ignore[no-untyped-call]
    model = ensemble.StackingClassifier(members, linear_model.SoftmaxRegression())
    for rows in (0, 1, 10, 400):
        assert differs(SCALED | model, head(stream("ImageSegments"), rows + 1)) < 1e-9


VOTERS = [
    ("Phishing", [LOGISTIC, ADAPTIVE, naive_bayes.GaussianNB()]),  # type: ignore[no-untyped-call]
    ("ImageSegments", [ADAPTIVE, SCALED | linear_model.SoftmaxRegression()]),
]


@pytest.mark.parametrize(("name", "voters"), VOTERS)
def test_voters_choose_by_the_sums_of_their_probabilities(name: str, voters: Any) -> None:
    """The shares of the sums are the scores; River's label is the one with the largest, where none is as large."""
    data, model = head(stream(name), 500), ensemble.VotingClassifier(voters).clone()
    keys, asked = class_keys(data.schema.label), [data.schema.as_dict(row) for row in data.rows]
    for i, (x, label) in enumerate(zip(asked, data.labels, strict=True)):
        if i in (0, 1, 5, 50, 499):
            session = graph.session(to_onnx(model, data.schema).SerializeToString())
            found, expected = (
                graph.run(session, data.schema, data.rows),
                np.array([_sums(model, keys, x) for x in asked]),
            )
            assert np.abs(found - expected).max() < 1e-12
            decided = np.diff(np.sort(expected, axis=1)[:, -2:]).ravel() > 1e-12
            assert i < 2 or decided.mean() > 0.9
            labels = [model.predict_one(x) for x in asked]
            assert all(keys[at] == labels[row] for row, at in enumerate(found.argmax(axis=1)) if decided[row])
        model.learn_one(x, target(data.schema.label, label))


def _sums(model: Any, keys: Sequence[Any], x: dict[str, Any]) -> list[float]:
    votes = [member.predict_proba_one(x) for member in model]
    sums = [sum(vote.get(key, 0.0) for vote in votes) for key in keys]
    return [one / sum(sums) for one in sums] if sum(sums) else [1 / len(keys)] * len(keys)


LABELS_ALONE = [
    multiclass.OneVsOneClassifier(LOGISTIC),
    multiclass.OneVsOneClassifier(SCALED | linear_model.PAClassifier()),
    multiclass.OutputCodeClassifier(LOGISTIC, code_size=5, seed=3),
    multiclass.OutputCodeClassifier(LOGISTIC, code_size=4, coding_method="exact", seed=3),
]


@pytest.mark.parametrize("model", LABELS_ALONE, ids=name_of)
def test_reductions_that_give_labels_alone_give_the_label_probability_one(model: Any) -> None:
    """River has no probabilities for them; its ties, too, are answered as it answers them."""
    for data in (head(stream("ImageSegments"), 300), head(stream("Phishing"), 200)):
        mine, learned = model.clone(), 0
        for rows in (0, 1, 2, 5, 40, len(data.rows)):
            for row, label in list(data)[learned:rows]:
                mine.learn_one(data.schema.as_dict(row), label == "true" if data.name == "Phishing" else label)
            learned = rows
            session = graph.session(to_onnx(mine, data.schema).SerializeToString())
            found = graph.run(session, data.schema, data.rows)
            assert np.array_equal(found, _labels(mine, data.schema, data.rows))


def _labels(model: base.Classifier, schema: Schema, rows: Sequence[Any]) -> np.ndarray:
    keys = class_keys(schema.label)
    labels = [model.predict_one(schema.as_dict(row)) for row in rows]
    none = [1 / len(keys)] * len(keys)
    return np.array([none if label is None else [float(key == label) for key in keys] for label in labels])


def test_probabilities_that_river_rounds_to_nothing_are_nothing() -> None:
    """Its sigmoid is 0 below -30: where every class of several is, all are equally probable, and none is the best."""
    schema = Schema((Feature("x", "float"),), Label("multiclass", ("a", "b", "c")))
    model = multiclass.OneVsRestClassifier(linear_model.LogisticRegression())
    codes = multiclass.OutputCodeClassifier(linear_model.LogisticRegression(), code_size=4, seed=1)
    labels = [(1e3, "b"), (-10.0, "a"), (1.0, "b"), (100.0, "a"), (10.0, "c"), (-10.0, "c"), (10.0, "c")]
    for x, label in labels:
        model.learn_one({"x": x}, label)
        codes.learn_one({"x": x}, label)
    rows = [(sign * 10.0**power * step,) for sign in (-1, 1) for power in range(-4, 6) for step in (1, 2, 5, 8)]
    learner = OnlineLearner("mine", model, schema)
    session = graph.session(to_onnx(model, schema).SerializeToString())
    expected = learner.score_many(rows)
    found = compare(expected, graph.run(session, schema, rows))
    assert (found.max_abs_difference < 1e-12, found.flips) == (True, 0)
    assert [1 / 3] * 3 in expected.tolist()
    session = graph.session(to_onnx(codes, schema).SerializeToString())
    assert np.array_equal(graph.run(session, schema, rows), _labels(codes, schema, rows))


FLOAT = Schema((Feature("x", "float"),), Label("binary", (False, True)))
TEXT = Schema((Feature("x", "category"),), Label("binary", (False, True)))
REFUSED = [
    (multiclass.OneVsOneClassifier(ADAPTIVE), FLOAT, "OneVsOneClassifier", "use a linear model, or a OneVsRest"),
    (multiclass.OutputCodeClassifier(ADAPTIVE, 3), FLOAT, "OutputCodeClassifier", "use a linear model, or a OneVsRest"),
    (
        ensemble.VotingClassifier([LOGISTIC, ADAPTIVE], use_probabilities=False),
        FLOAT,
        "VotingClassifier",
        "let it use_probabilities",
    ),
    (ensemble.StackingClassifier([LOGISTIC, LOGISTIC], ADAPTIVE), FLOAT, "StackingClassifier", "must be linear"),
    (
        ensemble.StackingClassifier([ADAPTIVE, ADAPTIVE], linear_model.Perceptron()),
        TEXT,
        "Perceptron",
        'text feature "x"',
    ),
    (
        feature_selection.PoissonInclusion(0.5) | linear_model.Perceptron(),
        FLOAT,
        "PoissonInclusion",
        "VarianceThreshold does not",
    ),
    (
        feature_selection.VarianceThreshold() | linear_model.Perceptron(),
        TEXT,
        "VarianceThreshold",
        "select the numbers first",
    ),
    (preprocessing.OrdinalEncoder() | linear_model.Perceptron(), FLOAT, "OrdinalEncoder", "select the texts first"),
    (
        preprocessing.OrdinalEncoder(unknown_value=None) | linear_model.Perceptron(),
        TEXT,
        "OrdinalEncoder",
        "give it a number",
    ),
    (
        preprocessing.OrdinalEncoder(categories={"y": {"a": 1}}) | linear_model.Perceptron(),
        TEXT,
        "OrdinalEncoder",
        'lack the feature "x"',
    ),
]


@pytest.mark.parametrize(("model", "schema", "part", "reason"), REFUSED, ids=[case[2] for case in REFUSED])
def test_what_has_no_exact_equivalent_is_refused_with_what_to_use(
    model: Any, schema: Schema, part: str, reason: str
) -> None:
    """By the name of the part."""
    with pytest.raises(NotExportable, match=reason) as refused:
        to_onnx(model, schema)
    assert refused.value.name == part
