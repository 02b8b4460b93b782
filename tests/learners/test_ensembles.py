"""River's ensembles, as a user may bring them."""

import random
from numbers import Number
from typing import Any

import pytest
from river import base, compose, ensemble, forest, linear_model, multiclass, naive_bayes, preprocessing, tree

from contracts.config import Learner
from contracts.schema import Feature, Label, Schema
from learners.catalogue import build_online
from learners.export import NotExportable, graph, to_onnx
from learners.online import OnlineLearner
from learners.parity import compare
from tests.learners.streams import Stream, mixed, stream
from tests.learners.test_export import differs, name_of

EAGER: dict[str, Any] = {"grace_period": 25, "delta": 0.05, "tau": 0.2}
HOEFFDING = tree.HoeffdingTreeClassifier(leaf_prediction="mc", **EAGER)
ADAPTIVE = tree.HoeffdingTreeClassifier(**EAGER)
LOGISTIC = preprocessing.StandardScaler() | linear_model.LogisticRegression()

CLASSIFIERS = [
    forest.ARFClassifier(n_models=4, seed=1, **EAGER),
    forest.ARFClassifier(n_models=3, seed=1, leaf_prediction="mc", disable_weighted_vote=True, **EAGER),
    ensemble.SRPClassifier(ADAPTIVE, n_models=3, seed=1),
    ensemble.SRPClassifier(naive_bayes.GaussianNB(), n_models=3, seed=1),  # type: ignore[no-untyped-call]
    ensemble.BaggingClassifier(LOGISTIC, n_models=3, seed=1),
    ensemble.BaggingClassifier(HOEFFDING, n_models=3, seed=1),
    ensemble.ADWINBaggingClassifier(ADAPTIVE, n_models=3, seed=1),
    ensemble.LeveragingBaggingClassifier(ADAPTIVE, n_models=3, seed=1),
    ensemble.AdaBoostClassifier(ADAPTIVE, n_models=3, seed=1),
    ensemble.ADWINBoostingClassifier(LOGISTIC, n_models=3, seed=1),
]
REGRESSORS = [
    forest.ARFRegressor(n_models=4, seed=1, leaf_prediction="mean", **EAGER),
    forest.ARFRegressor(n_models=3, seed=1, leaf_prediction="mean", aggregation_method="mean", **EAGER),
    forest.ARFRegressor(
        n_models=3, seed=1, leaf_prediction="mean", aggregation_method="mean", disable_weighted_vote=False, **EAGER
    ),
    ensemble.BaggingRegressor(tree.HoeffdingTreeRegressor(leaf_prediction="mean", **EAGER), n_models=3, seed=1),
    ensemble.BaggingRegressor(
        preprocessing.StandardScaler() | linear_model.LinearRegression(clip_gradient=1.0), n_models=3, seed=1
    ),
]
READ_TEXT = [model for model in CLASSIFIERS if "Tree" in repr(model) or "ARF" in name_of(model)]


def head(data: Stream, rows: int) -> Stream:
    """The stream's first rows."""
    return Stream(data.name, data.schema, data.rows[:rows], data.labels[:rows])


@pytest.mark.parametrize("model", CLASSIFIERS, ids=name_of)
def test_ensembles_of_classifiers_are_exact(model: Any) -> None:
    """Of trees and of others, weighed or not: rounding only, and no label flips."""
    assert differs(model, head(stream("Phishing"), 900)) < 1e-12


@pytest.mark.parametrize("model", READ_TEXT, ids=name_of)
def test_ensembles_of_trees_are_exact_with_categories_and_missing_values(model: Any) -> None:
    """Members that split at categories, or weigh them by naive Bayes."""
    assert differs(model, mixed("binary", 400)) < 1e-12


@pytest.mark.parametrize("member", [LOGISTIC, ADAPTIVE, ensemble.BaggingClassifier(LOGISTIC, n_models=2, seed=1)])
def test_one_classifier_for_each_class_is_exact(member: Any) -> None:
    """On seven classes, and on two; where none of them says yes, River answers equal probabilities."""
    model = multiclass.OneVsRestClassifier(member)
    assert differs(model, head(stream("ImageSegments"), 400)) < 1e-12
    assert differs(model, head(stream("Phishing"), 300)) < 1e-12
    assert differs(model, head(stream("ImageSegments"), 12)) < 1e-12


def test_members_that_are_left_no_feature_answer_by_their_intercept() -> None:
    """No number comes through, and none was ever learned."""
    schema = Schema((Feature("colour", "category"),), Label("binary", (False, True)))
    data = Stream("texts", schema, [("red",), ("blue",)] * 4, ["true", "true", "false", "true"] * 2)
    members = ensemble.BaggingClassifier(linear_model.LogisticRegression(), n_models=2, seed=1)
    assert differs(compose.SelectType(Number) | members, data) < 1e-12


@pytest.mark.parametrize("model", REGRESSORS, ids=name_of)
def test_ensembles_of_regressors_are_exact(model: Any) -> None:
    """Medians of odd and even numbers, means, and River's weighed mean."""
    assert differs(model, head(stream("TrumpApproval"), 600)) < 1e-9


@pytest.mark.parametrize("model", [*CLASSIFIERS, *REGRESSORS], ids=name_of)
def test_ensembles_answer_before_and_after_the_first_label(model: Any) -> None:
    """Members that a Poisson draw of 0 left out have no opinion; the graph agrees with River's votes."""
    regression = isinstance(model, base.Regressor)
    schema = Schema((Feature("x", "float"),), Label("regression") if regression else Label("binary", (False, True)))
    learner, rng = OnlineLearner("mine", model.clone(), schema), random.Random(2)
    rows = [(rng.gauss(0, 1),) for _ in range(20)]
    for row in rows[:4]:
        session = graph.session(to_onnx(learner.model, schema).SerializeToString())
        found = compare(learner.score_many(rows), graph.run(session, schema, rows))
        assert (found.max_abs_difference < 1e-12, found.flips) == (True, 0)
        learner.learn_one(row, row[0] if regression else str(row[0] > 0).lower())


def test_the_seed_of_a_forest_is_the_learners() -> None:
    """Equal seeds give equal forests, others do not."""
    data = head(stream("Phishing"), 150)

    def trained(seed: int) -> OnlineLearner:
        online = build_online(Learner(algorithm="adaptive_random_forest", seed=seed), data.schema)
        for row, label in data:
            online.learn_one(row, label)
        return online

    assert trained(1).scores_one(data.rows[0]) == trained(1).scores_one(data.rows[0])
    assert trained(1).scores_one(data.rows[0]) != trained(2).scores_one(data.rows[0])


def test_ensembles_name_the_member_that_has_no_equivalent() -> None:
    """The member is to blame, not the ensemble."""
    schema = Schema((Feature("x", "float"),), Label("binary", (False, True)))
    with pytest.raises(NotExportable) as refused:
        to_onnx(ensemble.BaggingClassifier(linear_model.ALMAClassifier(), seed=1), schema)
    assert refused.value.name == "ALMAClassifier"
