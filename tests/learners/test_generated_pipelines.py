"""Exports of pipelines that nobody would write by hand, on streams that nobody would send."""

import math
from numbers import Number
from typing import Any

import numpy as np
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st
from river import (
    compose,
    ensemble,
    feature_extraction,
    feature_selection,
    forest,
    linear_model,
    multiclass,
    naive_bayes,
    optim,
    preprocessing,
    stats,
    tree,
)

from contracts.schema import Feature, Label, Schema, Task
from learners import zoo
from learners.export import NotExportable, graph, revision
from learners.online import LearnerFailed, OnlineLearner
from learners.parity import compare
from tests.learners.streams import Row

TOLERANCE = 1e-6
EAGER: dict[str, Any] = {"grace_period": 5, "delta": 0.5, "tau": 0.9}

TEXTS = st.sampled_from(["b", "c", "b_c", "x", "0:b"]) | st.text(min_size=1, max_size=3)
# Sums whose terms cancel differ by rounding of the largest one: squares of 2^53 would by more than the tolerance.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "float": st.sampled_from([0.0, -0.0, 0.1, 1.0, 1e-300, -1e-9, 1e9, 5e-324]) | st.floats(-1e3, 1e3),
    "constant": st.just(3.5),
    "rare": st.sampled_from([None, None, None, 1.0, 2.0]),
    "int": st.integers(-3, 3) | st.integers(-(10**6), 10**6),
    "bool": st.booleans(),
    "category": TEXTS,
}
SCALERS = [
    preprocessing.StandardScaler(),
    preprocessing.StandardScaler(window_size=4),
    preprocessing.MinMaxScaler(),
    preprocessing.MaxAbsScaler(),
    preprocessing.AdaptiveStandardScaler(),
    preprocessing.RobustScaler(),
    feature_selection.VarianceThreshold(0.5),
    feature_selection.SelectKBest(stats.PearsonCorr(), k=1),
]
BINARY: list[Any] = [
    linear_model.LogisticRegression(),
    linear_model.LogisticRegression(optim.Adam(0.01), l2=0.1),
    linear_model.Perceptron(),
    linear_model.PAClassifier(C=0.1, mode=2),
    ensemble.BaggingClassifier(linear_model.LogisticRegression(), n_models=2, seed=1),
    ensemble.StackingClassifier(
        [linear_model.LogisticRegression(), naive_bayes.GaussianNB()],  # type: ignore[no-untyped-call]
        linear_model.SoftmaxRegression(),
    ),
]
CLASSIFIERS: list[Any] = [
    linear_model.SoftmaxRegression(),
    naive_bayes.GaussianNB(),  # type: ignore[no-untyped-call]
    naive_bayes.BernoulliNB(),
    *(tree.HoeffdingTreeClassifier(**EAGER, leaf_prediction=leaf) for leaf in ("mc", "nb", "nba")),
    tree.HoeffdingTreeClassifier(**EAGER, binary_split=True, nb_threshold=3),
    tree.ExtremelyFastDecisionTreeClassifier(**EAGER, min_samples_reevaluate=10),
    tree.HoeffdingAdaptiveTreeClassifier(**EAGER, drift_window_threshold=3, seed=1),
    forest.ARFClassifier(n_models=2, lambda_value=2, seed=1, **EAGER),
    ensemble.ADWINBoostingClassifier(tree.HoeffdingTreeClassifier(**EAGER), n_models=2, seed=1),
    ensemble.SRPClassifier(tree.HoeffdingTreeClassifier(**EAGER), n_models=2, seed=1),
    multiclass.OneVsRestClassifier(linear_model.LogisticRegression()),
]
REGRESSORS: list[Any] = [
    linear_model.LinearRegression(clip_gradient=1.0),
    preprocessing.TargetStandardScaler(linear_model.LinearRegression(clip_gradient=1.0)),
    linear_model.PARegressor(C=0.01),
    *(tree.HoeffdingTreeRegressor(**EAGER, leaf_prediction=leaf) for leaf in ("mean", "adaptive")),
    tree.HoeffdingAdaptiveTreeRegressor(**EAGER, leaf_prediction="mean", drift_window_threshold=3, seed=1),
    forest.ARFRegressor(n_models=2, lambda_value=2, seed=1, leaf_prediction="mean", **EAGER),
    ensemble.EWARegressor([linear_model.LinearRegression(clip_gradient=1.0), linear_model.PARegressor(C=0.01)]),
]
MODELS: dict[Task, list[Any]] = {
    "binary": BINARY + CLASSIFIERS,
    "multiclass": CLASSIFIERS,
    "regression": REGRESSORS,
}


@st.composite
def pipelines(draw: st.DrawFn, task: Task) -> Any:
    """Some steps for numbers beside some for texts, before any estimator."""
    steps = draw(st.lists(st.sampled_from(SCALERS), max_size=2))
    numbers = compose.SelectType(Number)
    for step in steps:
        numbers = numbers | step.clone()
    if draw(st.booleans()) and len(steps) < 2:
        numbers = numbers | feature_extraction.PolynomialExtender(degree=2)
    texts: Any = draw(
        st.sampled_from([None, zoo.Categories(), preprocessing.OneHotEncoder(), preprocessing.OrdinalEncoder(), "raw"])
    )
    if texts == "raw":
        numbers = numbers + compose.SelectType(str)
    elif texts is not None:
        numbers = numbers + (compose.SelectType(str) | texts.clone())
    return numbers | draw(st.sampled_from(MODELS[task])).clone()


@st.composite
def streams(draw: st.DrawFn) -> tuple[Schema, list[Row], list[str | float]]:
    """Up to five features, among them constant and rare ones and some that begin or end midway; classes come late."""
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=5))
    types: dict[str, Any] = {"constant": "float", "rare": "float"}
    features = tuple(
        Feature(f"f{i}", types.get(kind, kind), optional=kind == "rare" or draw(st.booleans()))
        for i, kind in enumerate(kinds)
    )
    rows: list[Any] = draw(st.lists(st.tuples(*(VALUES[kind] for kind in kinds)), min_size=2, max_size=50))
    half = len(rows) // 2
    for at, feature in enumerate(features):
        gone = draw(st.sampled_from(["never", "first", "last"])) if feature.optional else "never"
        spans = {"never": range(0), "first": range(half), "last": range(half, len(rows))}
        for i in spans[gone]:
            rows[i] = (*rows[i][:at], None, *rows[i][at + 1 :])
    classes = draw(st.sampled_from([(False, True), ("a", "b", "c"), ()]))
    label = Label({0: "regression", 2: "binary", 3: "multiclass"}[len(classes)], classes)  # type: ignore[arg-type]
    if not classes:
        return (
            Schema(features, label),
            rows,
            draw(st.lists(st.floats(-1e3, 1e3), min_size=len(rows), max_size=len(rows))),
        )
    early = draw(st.sampled_from(label.class_texts))
    late = draw(st.lists(st.sampled_from(label.class_texts), min_size=len(rows) - half, max_size=len(rows) - half))
    return Schema(features, label), rows, [early] * half + late


@settings(
    max_examples=120,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data(), stream=streams())
def test_a_pipeline_answers_as_in_river_or_is_refused_by_name(data: Any, stream: Any) -> None:
    """At four points of any stream, by revisions of any pipeline, on every row that River itself can answer."""
    schema, rows, labels = stream
    model = data.draw(pipelines(schema.label.task))
    try:
        learner = OnlineLearner("drawn", model, schema)
        session, latest = None, None
        for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
            if i % max(1, len(rows) // 3) == 0:
                before, latest = latest, revision(learner.model, schema, latest)
                if before is None or before.onnx is not latest.onnx:
                    session = graph.session(latest.onnx)
                _agree(learner, session, latest.weights, rows)
            learner.learn_one(row, label)
    except (NotExportable, LearnerFailed) as refused:
        note(str(refused))
        event(str(refused)[:100])


def _agree(learner: OnlineLearner, session: Any, weights: dict[str, np.ndarray], rows: list[Row]) -> None:
    answered, expected = [], []
    for row in rows:
        try:
            expected.append(learner.scores_one(row))
            answered.append(row)
        except LearnerFailed:
            continue
    if not answered:
        return
    (found,) = session.run(["scores"], {**learner.schema.tensors(answered), **weights})
    assert np.isfinite(found).all()
    compared = compare(np.array(expected), found)
    assert compared.max_abs_difference <= TOLERANCE
    assert compared.flips == 0
    assert math.isfinite(compared.max_abs_difference)
