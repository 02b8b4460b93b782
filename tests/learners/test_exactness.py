"""The proof: graphs answer as River does at ten points of training, on 5,000 rows of each of ten streams."""

from collections.abc import Iterator
from numbers import Number
from typing import Any

import numpy as np
import pytest
from river import (
    compose,
    ensemble,
    feature_selection,
    forest,
    linear_model,
    multiclass,
    naive_bayes,
    preprocessing,
    stats,
    tree,
)

from contracts.config import Learner
from contracts.schema import Schema
from learners import zoo
from learners.catalogue import build_online
from learners.export import Revision, graph, revision
from learners.online import OnlineLearner
from learners.parity import Parity, compare
from tests.learners.streams import LONG, MIXED, Stream, long
from tests.learners.streams import learners as catalogued
from tests.learners.test_ensembles import EAGER

ROWS, POINTS, TOLERANCE = 5000, 10, 1e-6
WITH_TEXTS = {*MIXED, "nycflights13_delay15"}


def _linear(schema: Schema, model: Any) -> Any:
    return zoo._standardised(schema) | model


def _numbers(schema: Schema, model: Any) -> Any:
    """Scaled numbers alone."""
    return compose.SelectType(Number) | preprocessing.MinMaxScaler() | model


LOGISTIC = linear_model.LogisticRegression()
TREE = tree.HoeffdingTreeClassifier(**EAGER)
MEANS = tree.HoeffdingTreeRegressor(leaf_prediction="mean", **EAGER)
BINARY: dict[str, Any] = {
    "Perceptron": lambda s: _linear(s, linear_model.Perceptron()),
    "PAClassifier": lambda s: _linear(s, linear_model.PAClassifier(C=0.1)),
    "SelectKBest": lambda s: _numbers(s, feature_selection.SelectKBest(stats.PearsonCorr(), k=3) | LOGISTIC.clone()),
    "StackingClassifier": lambda s: _numbers(
        s, ensemble.StackingClassifier([LOGISTIC.clone(), TREE.clone()], LOGISTIC.clone())
    ),
}
CLASSIFIERS: dict[str, Any] = {
    "SoftmaxRegression": lambda s: _linear(s, linear_model.SoftmaxRegression()),
    "BernoulliNB": lambda s: _linear(s, naive_bayes.BernoulliNB()),
    "ComplementNB": lambda s: _numbers(s, naive_bayes.ComplementNB()),
    "tree of majorities": lambda s: tree.HoeffdingTreeClassifier(leaf_prediction="mc", **EAGER),
    "tree of naive Bayes": lambda s: tree.HoeffdingTreeClassifier(leaf_prediction="nb", **EAGER),
    "ExtremelyFastDecisionTree": lambda s: tree.ExtremelyFastDecisionTreeClassifier(
        grace_period=100, min_samples_reevaluate=500
    ),
    "HoeffdingAdaptiveTree": lambda s: tree.HoeffdingAdaptiveTreeClassifier(grace_period=100, tau=0.2, seed=1),
    "ARFClassifier": lambda s: forest.ARFClassifier(n_models=3, seed=1, lambda_value=2),
    "SRPClassifier": lambda s: ensemble.SRPClassifier(TREE.clone(), n_models=3, seed=1, lam=2),
    "BaggingClassifier": lambda s: ensemble.BaggingClassifier(TREE.clone(), n_models=3, seed=1),
    "LeveragingBagging": lambda s: ensemble.LeveragingBaggingClassifier(TREE.clone(), n_models=2, seed=1, w=2),
    "AdaBoostClassifier": lambda s: ensemble.AdaBoostClassifier(TREE.clone(), n_models=3, seed=1),
    "OneVsRestClassifier": lambda s: _linear(s, multiclass.OneVsRestClassifier(LOGISTIC.clone())),
}
REGRESSORS: dict[str, Any] = {
    "PARegressor": lambda s: _linear(s, linear_model.PARegressor(C=0.01)),
    "tree of models": lambda s: _numbers(s, tree.HoeffdingTreeRegressor(leaf_prediction="model", **EAGER)),
    "adaptive tree leaves": lambda s: _numbers(s, tree.HoeffdingTreeRegressor(**EAGER)),
    "HoeffdingAdaptiveTree": lambda s: tree.HoeffdingAdaptiveTreeRegressor(leaf_prediction="mean", seed=1, **EAGER),
    "BaggingRegressor": lambda s: ensemble.BaggingRegressor(MEANS.clone(), n_models=3, seed=1),
    "SRPRegressor": lambda s: ensemble.SRPRegressor(MEANS.clone(), n_models=3, seed=1, lam=2),
    "EWARegressor": lambda s: ensemble.EWARegressor([MEANS.clone(), MEANS.clone()]),
}


def builders(name: str) -> dict[str, Any]:
    """By name, what builds each learner for a schema that fits this stream: the catalogue's, then River's."""
    task = LONG[name]
    found: dict[str, Any] = {
        f"catalogue {one.algorithm}": lambda s, one=one: build_online(_smaller(one), s).model
        for one in catalogued("online", task, name in WITH_TEXTS)
    }
    own = {"binary": BINARY | CLASSIFIERS, "multiclass": CLASSIFIERS, "regression": REGRESSORS}[task]
    return found | own


def _smaller(learner: Learner) -> Learner:
    forest = learner.algorithm == "adaptive_random_forest"
    return Learner(algorithm=learner.algorithm, params={"n_models": 3} if forest else {})


QUICK = {
    *((name, f"catalogue {algorithm}") for name in LONG for algorithm in ("linear", "naive_bayes", "hoeffding_tree")),
    ("elec2", "catalogue adaptive_random_forest"),
    ("Agrawal", "SRPClassifier"),
    ("Agrawal", "HoeffdingAdaptiveTree"),
    ("FriedmanDrift", "HoeffdingAdaptiveTree"),
    ("RandomRBFDrift", "OneVsRestClassifier"),
    ("FriedmanDrift", "SRPRegressor"),
    ("nycflights13_delay15", "SoftmaxRegression"),
}
# River's own takes many minutes with thousands of tail numbers.
SLOW = {("nycflights13_delay15", "ExtremelyFastDecisionTree")}
CASES = [(name, built) for name in LONG for built in builders(name) if (name, built) not in SLOW]


@pytest.mark.parametrize(("name", "built"), [case for case in CASES if case in QUICK])
def test_a_sample_of_rows_is_answered_as_in_river_at_ten_points_of_training(name: str, built: str) -> None:
    """The quick form: every 25th row."""
    _prove(name, built, every=25)


@pytest.mark.soak
@pytest.mark.parametrize(("name", "built"), CASES)
def test_every_row_is_answered_as_in_river_at_ten_points_of_training(name: str, built: str) -> None:
    """The long form: all 5,000 rows, ten times."""
    _prove(name, built, every=1)


def _prove(name: str, built: str, every: int) -> None:
    data = long(name, ROWS)
    if data is None:
        pytest.skip(f"{name} is not here")
    online = OnlineLearner(built, builders(name)[built](data.schema), data.schema)
    found = list(parities(online, data, data.rows[::every]))
    assert len(found) == POINTS
    assert max(one.max_abs_difference for one in found) < TOLERANCE
    assert sum(one.flips for one in found) == 0


def parities(online: OnlineLearner, data: Stream, rows: list[Any]) -> Iterator[Parity]:
    """How far the newest revision is from the learner, at ten points of its training."""
    latest: Revision | None = None
    for i, (row, label) in enumerate(data, 1):
        online.learn_one(row, label)
        if i % (len(data.rows) // POINTS) == 0:
            latest = revision(online.model, data.schema, latest)
            inputs = {**data.schema.tensors(rows), **latest.weights}
            (scores,) = graph.session(latest.onnx).run(["scores"], inputs)
            yield compare(online.score_many(rows), np.asarray(scores))
