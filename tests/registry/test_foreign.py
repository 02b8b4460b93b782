"""Graphs that another tool made: which one it is, and what keeps it from answering this model's questions."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from contracts.schema import Feature, Label, Schema
from registry.foreign import Misfit, graph_in, require_fit
from tests.registry.conftest import SCHEMA, graph

OTHER = Schema((Feature("x", "float"), Feature("y", "int"), Feature("kind", "category")), SCHEMA.label)


def altered(change) -> bytes:
    model = onnx.load_from_string(graph(0.3))
    change(model)
    return model.SerializeToString()


def classifier(**labels) -> bytes:
    """A linear classifier of ONNX's own, which names its classes."""
    node = helper.make_node(
        "LinearClassifier", ["float"], ["label", "raw"], domain="ai.onnx.ml", coefficients=[1.0, -1.0],
        intercepts=[0.0, 0.0], post_transform="SOFTMAX", **labels,
    )  # fmt: skip
    inputs = [helper.make_tensor_value_info("numeric", TensorProto.DOUBLE, [None, 1])]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.DOUBLE, [None, 2])]
    nodes = [
        helper.make_node("Cast", ["numeric"], ["float"], to=TensorProto.FLOAT),
        node,
        helper.make_node("Cast", ["raw"], ["scores"], to=TensorProto.DOUBLE),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(helper.make_graph(nodes, "linear", inputs, outputs), opset_imports=opsets, ir_version=9)
    return made.SerializeToString()


def misfit(onnx_bytes: bytes, schema: Schema = SCHEMA, **tags: object) -> str:
    told = {f"tiltyard.{name}": json.dumps(value) for name, value in tags.items()}
    with pytest.raises(Misfit) as caught:
        require_fit(4, onnx_bytes, schema, told)
    assert str(caught.value).startswith("version 4 does not fit: ")
    return caught.value.reason


def test_a_graph_with_the_signature_fits() -> None:
    """Whether or not its features and classes are declared; an input that it does not need may be left out."""
    require_fit(1, graph(0.3), SCHEMA, {})
    require_fit(1, graph(0.3), SCHEMA, {"tiltyard.features": '["x", "kind"]', "tiltyard.classes": '["no", "yes"]'})
    require_fit(1, graph(0.3), SCHEMA, {"tiltyard.features": '{"x": "float", "kind": "category?"}'})
    require_fit(1, classifier(classlabels_strings=["no", "yes"]), SCHEMA, {})
    require_fit(1, classifier(classlabels_ints=[0, 1]), SCHEMA, {})


def test_another_schema_is_refused_with_what_differs() -> None:
    """Widths, sorts of features, the kind of answer."""
    assert misfit(graph(0.3), OTHER) == (
        '"numeric" has shape [any, 1] in its graph, and must have [any, 2]: 2 features of that sort'
    )
    numbers = Schema((Feature("x", "float"),), SCHEMA.label)
    assert misfit(graph(0.3), numbers).startswith('its graph has an input "categorical"; this model gives numeric')
    three = Schema(SCHEMA.features, Label("multiclass", ("a", "b", "c")))
    assert misfit(graph(0.3), three).endswith("must have [any, 3]: the classes a, b, c")
    value = Schema(SCHEMA.features, Label("regression"))
    assert misfit(graph(0.3), value).endswith("must have [any, 1]: one value")


def test_another_signature_is_refused_with_what_differs() -> None:
    """Names, types and a fixed batch."""

    def single(model):
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT

    def fixed(model):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    def renamed(model):
        model.graph.output[0].name = "probabilities"

    assert misfit(altered(single)) == '"numeric" is float in its graph, and must be double'
    assert misfit(altered(fixed)).startswith('"numeric" has shape [1, 1] in its graph')
    assert misfit(altered(renamed)) == 'its graph has no output "scores", but probabilities'


def test_another_order_of_classes_is_refused_where_anybody_says_it() -> None:
    """The graph's own classifier, its metadata, or the version's tags."""
    swapped = "its columns are the classes yes, no; this model's are no, yes: the same in another order"
    assert misfit(classifier(classlabels_strings=["yes", "no"])).startswith(swapped)
    assert misfit(graph(0.3), classes=["yes", "no"]).startswith(swapped)

    def declared(model):
        model.metadata_props.add(key="tiltyard.classes", value='["yes", "no"]')

    assert misfit(altered(declared)).startswith(swapped)
    assert misfit(graph(0.3), classes=["bad", "good"]) == (
        "its columns are the classes bad, good; this model's are no, yes"
    )
    assert misfit(graph(0.3), classes="no").startswith("its columns are the classes")


def test_other_features_are_refused_where_they_are_declared() -> None:
    """By name, by order and by type."""
    assert misfit(graph(0.3), features=["age", "kind"]) == (
        "it was made for the features age, kind; this model's are, in order, x, kind"
    )
    assert misfit(graph(0.3), features=["kind", "x"]).startswith("it was made for the features kind, x")
    assert misfit(graph(0.3), features={"x": "int", "kind": "category"}) == (
        "it was made for x as int; this model's is float"
    )


def test_the_graph_among_the_artifacts_is_found_with_its_tensors(tmp_path: Path) -> None:
    """Large tensors lie in a file of their own; what is found is whole without it."""
    model = onnx.load_from_string(graph(0.3))
    model.graph.initializer.append(numpy_helper.from_array(np.arange(5_000, dtype=np.float64), "large"))
    onnx.save_model(model, tmp_path / "model.onnx", save_as_external_data=True, location="model.data")
    assert (tmp_path / "model.data").stat().st_size >= 40_000
    whole = onnx.load_from_string(graph_in(1, tmp_path))
    assert graph_in(1, tmp_path / "model.onnx") == whole.SerializeToString()
    assert numpy_helper.to_array(whole.graph.initializer[-1])[-1] == 4_999


def test_artifacts_without_one_graph_are_refused(tmp_path: Path) -> None:
    """None, two, or something else of that name."""
    with pytest.raises(Misfit, match=r"needs one ONNX graph, a file \*.onnx, among its artifacts; there is none"):
        graph_in(1, tmp_path)
    (tmp_path / "a.onnx").write_bytes(b"\xff\xffnonsense")
    with pytest.raises(Misfit, match=r"a\.onnx cannot be read as ONNX"):
        graph_in(1, tmp_path)
    (tmp_path / "b.onnx").write_bytes(graph(0.3))
    with pytest.raises(Misfit, match=r"there is a\.onnx, b\.onnx"):
        graph_in(1, tmp_path)
