"""What the exporter refuses, by the name of the part that has no exact equivalent."""

from numbers import Number
from typing import Any

import pytest
from river import compose, feature_extraction, linear_model, naive_bayes, preprocessing, tree

from contracts.schema import Feature, Schema
from learners import zoo
from learners.export import NotExportable, graph, to_onnx
from learners.online import OnlineLearner
from learners.parity import compare
from tests.learners.streams import stream
from tests.learners.test_export import learned, schema_of


def _one_feature(kind: Any, task: Any = "binary") -> Schema:
    return schema_of(Feature("x", kind, optional=True), task=task)


def _known(model: Any, x: float = 1.0, y: Any = True) -> Any:
    model.learn_one({"x": x}, y)
    return model


REFUSED = [
    (linear_model.ALMAClassifier(), _one_feature("float"), "ALMAClassifier", "known estimators are"),
    (_known(naive_bayes.GaussianNB()), _one_feature("category"), "GaussianNB", "select the numbers first"),
    (
        zoo.Categories() | _known(naive_bayes.MultinomialNB()),
        _one_feature("category"),
        "MultinomialNB",
        "a category never seen",
    ),
    (_known(naive_bayes.MultinomialNB(), x=-1.0), _one_feature("float"), "MultinomialNB", "not positive"),
    (_known(naive_bayes.GaussianNB(), y="other"), _one_feature("float"), "GaussianNB", 'the class "other"'),
    (preprocessing.Binarizer() | linear_model.Perceptron(), _one_feature("float"), "Binarizer", "transformers"),
    (
        preprocessing.StatImputer(("x", 0.0)) | linear_model.Perceptron(),
        _one_feature("float"),
        "StatImputer",
        "is absent",
    ),
    (
        feature_extraction.PolynomialExtender() | linear_model.Perceptron(),
        schema_of(Feature("a", "float"), Feature("a*a", "float")),
        "PolynomialExtender",
        r'called "a\*a"',
    ),
    (preprocessing.StandardScaler() | linear_model.Perceptron(), _one_feature("category"), "StandardScaler", "text"),
    (linear_model.Perceptron(), _one_feature("category"), "Perceptron", 'text feature "x"'),
    (compose.Select("x") | linear_model.Perceptron(), _one_feature("float"), "Select", '"x" is missing'),
    (preprocessing.OneHotEncoder() | linear_model.Perceptron(), _one_feature("float"), "OneHotEncoder", "numbers"),
    (linear_model.LinearRegression(), _one_feature("float"), "LinearRegression", "binary label"),
    (linear_model.LogisticRegression(), _one_feature("float", "regression"), "LogisticRegression", "regression label"),
    (
        compose.Select("x") + compose.SelectType(Number) | linear_model.Perceptron(),
        schema_of(Feature("x", "float")),
        "TransformerUnion",
        'feature "x"',
    ),
    (
        preprocessing.OneHotEncoder(drop_first=True) | linear_model.Perceptron(),
        _one_feature("category"),
        "OneHotEncoder",
        "drop_first",
    ),
]


@pytest.mark.parametrize(("model", "schema", "part", "reason"), REFUSED, ids=[case[2] for case in REFUSED])
def test_what_has_no_exact_equivalent_is_refused_by_name(model: Any, schema: Schema, part: str, reason: str) -> None:
    """The error names the part of the pipeline, and why."""
    with pytest.raises(NotExportable, match=reason) as refused:
        to_onnx(model, schema)
    assert refused.value.name == part


@pytest.mark.parametrize(
    ("splitter", "reason"),
    [(tree.splitter.HistogramSplitter(), "HistogramSplitter"), (tree.splitter.ExhaustiveSplitter(), "Exhaustive")],
)
def test_naive_bayes_leaves_of_other_splitters_are_refused_by_name(splitter: Any, reason: str) -> None:
    """Only Gaussians have an exact equivalent; majority leaves take any splitter."""
    data = stream("Phishing")
    model = tree.HoeffdingTreeClassifier(splitter=splitter, leaf_prediction="nb")
    learner = OnlineLearner("mine", model, data.schema)
    for row, label in list(data)[:40]:
        learner.learn_one(row, label)
    with pytest.raises(NotExportable, match=f"{reason}.*naive Bayes leaves need Gaussian splitters"):
        to_onnx(learner.model, data.schema)


def test_weights_that_are_not_finite_are_refused() -> None:
    """A model that diverged is not published."""
    schema = _one_feature("float")
    model = linear_model.LogisticRegression()
    model.learn_one({"x": 1.0}, True)
    model._weights["x"] = float("inf")
    with pytest.raises(NotExportable, match="not finite"):
        to_onnx(model, schema)


def test_ambiguous_one_hot_keys_are_refused_and_the_catalogues_own_are_not() -> None:
    """River writes "a_b_c" for a="b_c" and for a_b="c"; Tiltyard's encoder keeps them apart."""
    schema = schema_of(Feature("a", "category"), Feature("a_b", "category"))
    rows: list[Any] = [("b_c", "x"), ("y", "c")]
    learner = learned(preprocessing.OneHotEncoder() | linear_model.LogisticRegression(), schema, rows)
    with pytest.raises(NotExportable, match='two features can give the key "a_b_c"'):
        to_onnx(learner.model, schema)
    learner = learned(zoo.Categories() | linear_model.LogisticRegression(), schema, rows)
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert compare(learner.score_many(rows), graph.run(session, schema, rows)).max_abs_difference < 1e-12
