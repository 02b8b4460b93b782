"""The exporter on River's anomaly scorers: graphs answer `score_one`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from river import anomaly, compose, linear_model, preprocessing

from contracts.schema import Feature, Label, Schema
from learners import zoo
from learners.export import NotExportable, Revision, graph, revision, to_onnx
from learners.parity import compare
from tests.learners.streams import LONG, Row, Stream, long, mixed, stream
from tests.learners.test_ensembles import head
from tests.learners.test_export import differs
from tests.learners.test_generated_pipelines import SCALERS, streams

NUMBERS = compose.SelectType(int, float, bool)
SCORERS: dict[str, Any] = {
    "HalfSpaceTrees": NUMBERS | preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=1),
    "HalfSpaceTrees of raw numbers": NUMBERS
    | anomaly.HalfSpaceTrees(n_trees=3, height=4, window_size=30, limits={"always": (-2.0, 2.0)}, seed=2),
    "OneClassSVM": NUMBERS | preprocessing.StandardScaler() | anomaly.OneClassSVM(nu=0.2),
    "QuantileFilter": NUMBERS
    | preprocessing.MinMaxScaler()
    | anomaly.QuantileFilter(anomaly.HalfSpaceTrees(window_size=50, seed=3), q=0.95),
    "ThresholdFilter": anomaly.ThresholdFilter(
        NUMBERS | preprocessing.StandardScaler() | anomaly.OneClassSVM(), threshold=0.9
    ),
}


def scores(model: Any, schema: Schema, rows: Sequence[Row]) -> np.ndarray:
    """float64[n, 1]: River's own."""
    return np.array([[model.score_one(schema.as_dict(row))] for row in rows], float)


def unlabelled(data: Stream) -> Stream:
    """The stream with the label that a scorer's schema has."""
    return replace(data, schema=Schema(data.schema.features, Label("regression")))


def differences(model: Any, data: Stream, rows: Sequence[Row], points: int) -> Iterator[float]:
    """How far revisions are from the model, at so many points of its training."""
    latest: Revision | None = None
    for i, row in enumerate(data.rows, 1):
        model.learn_one(data.schema.as_dict(row))
        if i % (len(data.rows) // points) == 0:
            latest = revision(model, data.schema, latest)
            inputs = {**data.schema.tensors(rows), **latest.weights}
            (found,) = graph.session(latest.onnx).run(["scores"], inputs)
            yield compare(scores(model, data.schema, rows), np.asarray(found)).max_abs_difference


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_are_exact_with_missing_values_at_any_point_of_training(name: str) -> None:
    """Before the first row, in the first window and in later ones; behind scalers and filters, and alone."""
    data = unlabelled(mixed("regression"))
    for rows in (0, 1, 20, 120, 600):
        model = SCORERS[name].clone()
        for row in data.rows[:rows]:
            model.learn_one(data.schema.as_dict(row))
        session = graph.session(to_onnx(model, data.schema).SerializeToString())
        found = graph.run(session, data.schema, data.rows)
        assert found.shape == (600, 1)
        assert compare(scores(model, data.schema, data.rows), found).max_abs_difference < 1e-12


@pytest.mark.parametrize("name", LONG)
def test_scorers_are_exact_on_a_sample_of_every_stream(name: str) -> None:
    """At ten points of 5,000 rows; half-space trees to the last bit."""
    _prove(name, every=25)


@pytest.mark.soak
@pytest.mark.parametrize("name", LONG)
def test_scorers_are_exact_on_every_row_of_every_stream(name: str) -> None:
    """The long form: all rows."""
    _prove(name, every=1)


def _prove(name: str, every: int) -> None:
    data = long(name, 5000)
    if data is None:
        pytest.skip(f"{name} is not here")
    data = unlabelled(data)
    for scorer, tolerance in (("HalfSpaceTrees", 0.0), ("OneClassSVM", 1e-12)):
        found = list(differences(SCORERS[scorer].clone(), data, data.rows[::every], points=10))
        assert len(found) == 10
        assert max(found) <= tolerance


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(stream=streams(), scaler=st.sampled_from(SCALERS[:6]), window=st.integers(1, 20))
def test_half_space_trees_are_exact_on_any_stream(stream: Any, scaler: Any, window: int) -> None:
    """Constant, rare, vanishing and late features; scaled to the limits or far beyond; with any window."""
    schema, rows, _ = stream
    data = unlabelled(Stream("drawn", schema, rows, []))
    trees = anomaly.HalfSpaceTrees(n_trees=3, height=4, window_size=window, seed=4)
    assume(any(rows[0][i] is not None for i in schema.numeric_at))  # River cannot draw a split without a feature
    model = compose.SelectType(int, float, bool) | scaler.clone() | trees
    assert max(differences(model, data, rows, points=len(rows))) == 0


def test_half_spaces_end_below_their_threshold() -> None:
    """A value equal to a threshold belongs to the upper half; its neighbour in double to the lower."""
    schema = Schema((Feature("x", "float"),), Label("regression"))
    model: Any = anomaly.HalfSpaceTrees(n_trees=1, height=1, window_size=4, seed=1)
    for x in (0.0, 0.1, 0.2, 1.0):
        model.learn_one({"x": x})
    threshold = model.trees[0].threshold
    rows = [(threshold,), (float(np.nextafter(threshold, 0.0)),)]
    session = graph.session(to_onnx(model, schema).SerializeToString())
    found = graph.run(session, schema, rows)
    assert np.array_equal(found, scores(model, schema, rows))
    assert found[0] != found[1]


def test_another_window_is_the_same_graph() -> None:
    """Masses are weights: from the first row on only they change, where no feature can be missing."""
    data = unlabelled(stream("Phishing"))
    model = preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(n_trees=3, height=5, window_size=100, seed=1)
    latest: Revision | None = None
    masses = set()
    for i, row in enumerate(data.rows):
        model.learn_one(data.schema.as_dict(row))
        if i % 60 == 0:
            before = latest
            latest = revision(model, data.schema, before)
            masses.add(latest.weights["masses"].tobytes())
            assert before is None or latest.onnx is before.onnx
    assert len(masses) > 5


def test_a_filter_lets_every_question_pass() -> None:
    """What it keeps from a classifier behind it is learning alone."""
    guard = anomaly.QuantileFilter(anomaly.HalfSpaceTrees(window_size=40, seed=1), q=0.8)
    model = preprocessing.MinMaxScaler() | guard | linear_model.LogisticRegression()
    assert differs(model, head(stream("Phishing"), 600)) < 1e-12


ONE = Schema((Feature("x", "float"),), Label("regression"))
REFUSED = [
    (anomaly.GaussianScorer(), ONE, "GaussianScorer", "no input of a prediction"),  # type: ignore[no-untyped-call]
    (anomaly.StandardAbsoluteDeviation(), ONE, "StandardAbsoluteDeviation", "no input of a prediction"),
    (anomaly.PredictiveAnomalyDetection(), ONE, "PredictiveAnomalyDetection", "no input of a prediction"),
    (anomaly.LocalOutlierFactor(), ONE, "LocalOutlierFactor", "the rows that it keeps"),
    (anomaly.LODA(), ONE, "LODA", "bins of one value"),
    (
        anomaly.HalfSpaceTrees(),
        Schema((Feature("x", "float"),), Label("binary", (False, True))),
        "HalfSpaceTrees",
        "answers no label",
    ),
    (
        zoo.Categories() | anomaly.HalfSpaceTrees(),
        Schema((Feature("x", "category"),), Label("regression")),
        "HalfSpaceTrees",
        "select the numbers first",
    ),
]


@pytest.mark.parametrize(("model", "schema", "part", "reason"), REFUSED, ids=[case[2] for case in REFUSED])
def test_scorers_without_an_exact_equivalent_are_refused_by_name(
    model: Any, schema: Schema, part: str, reason: str
) -> None:
    """With the reason."""
    with pytest.raises(NotExportable, match=reason) as refused:
        to_onnx(model, schema)
    assert refused.value.name == part


def test_trees_of_a_feature_that_the_schema_lacks_are_refused() -> None:
    """They were trained on something else."""
    model: Any = anomaly.HalfSpaceTrees(n_trees=1, height=2, seed=1)
    model.learn_one({"y": 0.5})
    with pytest.raises(NotExportable, match='the schema has no number "y"'):
        to_onnx(model, ONE)
