"""The signature of exported graphs, and what a caller can do with them."""

from typing import Any

import onnx
from river import linear_model, preprocessing

from learners import zoo
from learners.export import graph, supported, to_onnx
from tests.learners.streams import mixed, stream
from tests.learners.test_export import CLASSIFIERS


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
