"""The exporter on River pipelines that a user may bring, and what it refuses."""

import random
from numbers import Number
from typing import Any

import numpy as np
import onnx
import pytest
from river import compose, ensemble, feature_extraction, linear_model, naive_bayes, optim, preprocessing, tree

from contracts.schema import Feature, Label, Schema
from learners import zoo
from learners.export import NotExportable, graph, supported, to_onnx
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


def _schema(*features: Feature, task: Any = "binary") -> Schema:
    return Schema(features, Label(task, {"binary": (False, True), "regression": ()}[task]))


def _learned(model: Any, schema: Schema, rows: list[tuple[Any, ...]]) -> OnlineLearner:
    learner = OnlineLearner("mine", model, schema)
    for i, row in enumerate(rows * 20):
        learner.learn_one(row, ("false", "true")[i % len(rows) % 2])
    return learner


@pytest.mark.parametrize("drop_zeros", [False, True])
def test_rivers_own_one_hot_encoder_is_exact(drop_zeros: bool) -> None:
    """Seen, unseen and missing categories, whether or not River writes out the zeros."""
    schema = _schema(Feature("colour", "category", True), Feature("size", "category", True))
    encoder = preprocessing.OneHotEncoder(drop_zeros=drop_zeros)
    rows: list[Any] = [("red", "s"), ("blue", None), (None, "l"), ("red_s", "l")]
    learner = _learned(encoder | linear_model.LogisticRegression(), schema, rows)
    asked = [*rows, ("unseen", "s"), (None, None), ("", "")]
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    expected = learner.score_many([*asked[:-1], (None, None)])
    assert compare(expected, graph.run(session, schema, asked)).max_abs_difference < 1e-12


def test_selected_and_discarded_features_are_exact() -> None:
    """Unions of branches that each read some columns."""
    schema = _schema(*(Feature(name, "float") for name in "abcd"))
    model = (compose.Select("d", "a") | preprocessing.StandardScaler()) + (
        compose.Discard("a", "d") | preprocessing.MinMaxScaler()
    )
    rows = [(1.0, 2.0, 3.0, 4.0), (-1.0, 0.5, 9.0, 2.0), (0.0, 0.0, 1.0, -3.0)]
    learner = _learned(model | linear_model.LogisticRegression(), schema, rows)
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
    schema = _schema(*(Feature(name, "float", name == "b") for name in "abc"))
    rows: list[Any] = [(1.0, 2.0, 3.0), (-1.0, None, 9.0), (0.5, 0.0, 1.0), (0.3, None, -2.0)]
    learner = _learned(extender | linear_model.LogisticRegression(), schema, rows)
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert compare(learner.score_many(rows), graph.run(session, schema, rows)).max_abs_difference < 1e-12


def test_features_of_the_smallest_scale_are_exact() -> None:
    """A weight cannot be divided by it, the feature can."""
    schema = _schema(Feature("x", "float"), Feature("y", "float"))
    rows = [(5e-324, 3.5), (0.0, 3.5), (1e-323, -1.0)]
    learner = _learned(preprocessing.MaxAbsScaler() | linear_model.LogisticRegression(), schema, rows)
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert compare(learner.score_many(rows), graph.run(session, schema, rows)).max_abs_difference < 1e-12


def test_types_are_selected_as_python_sees_them() -> None:
    """bool is an int to SelectType, and a float is not."""
    schema = _schema(Feature("x", "float"), Feature("n", "int"), Feature("b", "bool"))
    rows = [(1.5, 2, True), (-1.0, 5, False), (0.0, 0, True)]
    learner = _learned(compose.SelectType(int) | linear_model.LogisticRegression(), schema, rows)
    assert set(learner.model[-1].weights) == {"n", "b"}
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert compare(learner.score_many(rows), graph.run(session, schema, rows)).max_abs_difference < 1e-12


def test_a_tree_reaches_each_kind_of_split_with_missing_and_unseen_categories() -> None:
    """Binary and multiway category splits and numeric ones, each met by values, by none and by strangers."""
    data = mixed("regression", rows=1500)
    for binary in (False, True):
        model = zoo.tree_regressor(data.schema, _eager(binary), 0)
        learner = OnlineLearner("tree", model, data.schema)
        for row, label in data:
            learner.learn_one(row, label)
        kinds = {type(node).__name__ for node in learner.model[-1]._root.iter_dfs()}
        assert {"NumericBinaryBranch", "NominalBinaryBranch" if binary else "NominalMultiwayBranch"} <= kinds
        rows = [(*row[:4], colour, row[5]) for row in data.rows[:200] for colour in (None, "?", row[4])]
        rows += [(dep, *row[1:]) for row in data.rows[:200] for dep in (None, "?")]
        session = graph.session(to_onnx(learner.model, data.schema).SerializeToString())
        assert compare(learner.score_many(rows), graph.run(session, data.schema, rows)).max_abs_difference == 0


def _eager(binary: bool) -> Any:
    from learners.params import TreeRegressor

    return TreeRegressor(grace_period=25, delta=0.05, tau=0.2, binary_split=binary)


def test_thresholds_are_compared_in_double() -> None:
    """A tree tells neighbours in float64 apart, which float32 would merge."""
    schema = _schema(Feature("x", "float"), task="regression")
    low, high = 1.0, float(np.nextafter(1.0, 2))
    model = tree.HoeffdingTreeRegressor(
        grace_period=20, leaf_prediction="mean", splitter=tree.splitter.EBSTSplitter(), tau=0.9, delta=0.5
    )
    learner = OnlineLearner("tree", model, schema)
    for i in range(200):
        learner.learn_one(((low, high)[i % 2],), float(i % 2))
    assert learner.model.n_leaves > 1
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert graph.run(session, schema, [(low,), (high,)]).ravel().tolist() == [0.0, 1.0]


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


def _one_feature(kind: Any, task: Any = "binary") -> Schema:
    return _schema(Feature("x", kind, optional=True), task=task)


def _known(model: Any, x: float = 1.0, y: Any = True) -> Any:
    model.learn_one({"x": x}, y)
    return model


REFUSED = [
    (linear_model.ALMAClassifier(), _one_feature("float"), "ALMAClassifier", "known estimators are"),
    (
        ensemble.VotingClassifier([naive_bayes.GaussianNB(), naive_bayes.BernoulliNB()]),
        _one_feature("float"),
        "VotingClassifier",
        "met first",
    ),
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
        _schema(Feature("a", "float"), Feature("a*a", "float")),
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
        _schema(Feature("x", "float")),
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


def test_naive_bayes_leaves_weigh_likelihoods_in_rivers_order() -> None:
    """Huge terms swallow small ones, in an order that features' absence gives each leaf of its own."""
    schema = _schema(*(Feature(name, "float", optional=True) for name in "abc"))
    learner = OnlineLearner("nb", tree.HoeffdingTreeClassifier(leaf_prediction="nb"), schema)
    rng = random.Random(1)
    for i in range(60):
        row = (rng.gauss(0, 1e-7), rng.gauss(i % 2, 1), rng.gauss(0, 1))
        learner.learn_one((None, *row[1:]) if i < 4 else row, ("false", "true")[i % 2])
    rows = [(rng.gauss(0, scale), rng.gauss(0, 2), rng.gauss(0, 2)) for scale in (1e-7, 1, 10) for _ in range(200)]
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    found = compare(learner.score_many(rows), graph.run(session, schema, rows))
    assert (found.max_abs_difference < 1e-12, found.flips) == (True, 0)


@pytest.mark.parametrize("leaves", ["model", "adaptive"])
def test_regression_leaves_with_models_are_exact(leaves: str) -> None:
    """Missing numbers too; a categories' leaf model is refused, since River's own raises."""
    features = tuple(Feature(name, "float", optional=True) for name in "abc")
    schema, rng = _schema(*features, task="regression"), random.Random(3)
    model = tree.HoeffdingTreeRegressor(grace_period=25, delta=0.05, tau=0.3, leaf_prediction=leaves)
    learner = OnlineLearner("tree", model, schema)
    rows = [tuple(None if rng.random() < 0.1 else rng.uniform(-1, 1) for _ in "abc") for _ in range(800)]
    for row in rows[:600]:
        learner.learn_one(row, sum((i + 1) * (x or 0.0) for i, x in enumerate(row)) + (5.0 if (row[0] or 0) > 0 else 0))
    assert learner.model.n_leaves > 2
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert compare(learner.score_many(rows), graph.run(session, schema, rows)).max_abs_difference < 1e-12
    with pytest.raises(NotExportable, match="LeafModel"):
        to_onnx(tree.HoeffdingTreeRegressor(leaf_prediction=leaves), _one_feature("category", "regression"))


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
    schema = _schema(Feature("a", "category"), Feature("a_b", "category"))
    rows: list[Any] = [("b_c", "x"), ("y", "c")]
    learner = _learned(preprocessing.OneHotEncoder() | linear_model.LogisticRegression(), schema, rows)
    with pytest.raises(NotExportable, match='two features can give the key "a_b_c"'):
        to_onnx(learner.model, schema)
    learner = _learned(zoo.Categories() | linear_model.LogisticRegression(), schema, rows)
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert compare(learner.score_many(rows), graph.run(session, schema, rows)).max_abs_difference < 1e-12


def test_graphs_keep_the_signature() -> None:
    """Inputs by sort of feature, one double output of known width, whatever the model reads."""
    for data in (stream("Phishing"), mixed("multiclass")):
        label_model: Any = CLASSIFIERS[-1].clone()
        model = to_onnx(label_model, data.schema)
        session = graph.session(model.SerializeToString())
        inputs = {tensor.name: (tensor.type, tensor.shape) for tensor in session.get_inputs()}
        expected = {"numeric": ("tensor(double)", ["n", len(data.schema.numeric_at)])}
        if data.schema.categorical_at:
            expected["categorical"] = ("tensor(string)", ["n", len(data.schema.categorical_at)])
        assert inputs == expected
        (output,) = session.get_outputs()
        assert (output.name, output.type, output.shape) == ("scores", "tensor(double)", ["n", data.schema.label.width])


def test_weights_are_overridable_and_named() -> None:
    """The weights of a linear model are initializers that a session's caller may replace."""
    data = stream("Phishing")
    model = to_onnx(preprocessing.StandardScaler() | linear_model.LogisticRegression(), data.schema)
    assert isinstance(model, onnx.ModelProto)
    session = graph.session(model.SerializeToString())
    assert {tensor.name for tensor in session.get_overridable_initializers()} == {"shift", "weights", "bias"}


def test_an_export_without_rows_is_empty() -> None:
    """Zero rows give zero scores."""
    data = stream("Phishing")
    session = graph.session(
        to_onnx(zoo._standardised(data.schema) | linear_model.Perceptron(), data.schema).SerializeToString()
    )
    assert graph.run(session, data.schema, []).shape == (0, 2)


def test_supported_estimators_are_listed() -> None:
    """For the error message, and for documentation."""
    assert {"LogisticRegression", "HoeffdingTreeClassifier", "SoftmaxRegression"} <= set(supported())
