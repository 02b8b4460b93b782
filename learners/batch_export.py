"""Fitted scikit-learn pipelines of the catalogue as ONNX graphs, in double.

skl2onnx was tried first: in float it moves thresholds and flips labels, in double onnxruntime lacks its Imputer, and
its graph of a linear pipeline has 22 nodes to these 6.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from sklearn.linear_model import LogisticRegression

from contracts.schema import Schema
from learners import batch_shape as shape
from learners.export.frame import Frame, Numbers, OneHot
from learners.export.graph import Graph
from learners.export.linear import Weights, linear
from learners.export.tree_ensemble import LESS_OR_EQUAL, Ensemble, Place


def to_onnx(pipeline: Any, schema: Schema) -> onnx.ModelProto:
    """The graph of a fitted pipeline of a shape that `batch_zoo` builds. Raises NotExportable."""
    columns, model = shape.parts(pipeline)
    graph = Graph(schema)
    emit = _linear if type(model) in shape.LINEAR else _boosting
    return graph.finish(emit(graph, columns, model), type(model).__name__)


def _linear(graph: Graph, columns: Any, model: Any) -> str:
    keys = [*_columns(columns, "numeric"), *_one_hot_keys(columns)]
    frame = _standardised(graph, columns)
    coefficients: list[Weights] = [dict(zip(keys, row, strict=True)) for row in np.atleast_2d(model.coef_)]
    biases = np.atleast_1d(model.intercept_).tolist()
    if not isinstance(model, LogisticRegression):
        return linear(type(model).__name__, frame, coefficients, biases)
    if len(coefficients) == 1:  # of two classes, only the second has weights
        coefficients, biases = [{}, *coefficients], [0.0, *biases]
    by_class = dict(zip(model.classes_.tolist(), zip(coefficients, biases, strict=True), strict=True))
    absent: tuple[Weights, float] = ({}, -math.inf)
    weights, bias = zip(*(by_class.get(i, absent) for i in range(graph.schema.label.width)), strict=True)
    return graph.add("Softmax", linear("LogisticRegression", frame, weights, bias), axis=1)


def _standardised(graph: Graph, columns: Any) -> Frame:
    frame = Frame.of_inputs(graph)
    numbers: tuple[Numbers, ...] = ()
    names = _columns(columns, "numeric")
    for block in frame.only(lambda name, _: name in names).numbers:
        scaler = columns.named_transformers_["numeric"][0]
        tensor = graph.add("Sub", block.tensor, graph.weight("shift", scaler.mean_))
        numbers = (Numbers(tensor, block.names, block.types, scaler.scale_),)
    hot = OneHot(frame.texts, type(columns), lambda key: [key] if isinstance(key, tuple) else [])
    return Frame(graph, numbers, (), (hot,))


def _columns(columns: Any, sort: str) -> list[str]:
    """The numeric or categorical columns that the pipeline was fitted on."""
    return next((list(names) for name, _, names in columns.transformers_ if name == sort), [])


def _categories(columns: Any) -> dict[str, list[str]]:
    """The values of each category feature in the encoder's order; that of a missing one is ""."""
    names = _columns(columns, "categorical")
    found = columns.named_transformers_["categorical"].categories_ if names else []
    return {
        name: [value if isinstance(value, str) else "" for value in values]
        for name, values in zip(names, found, strict=True)
    }


def _one_hot_keys(columns: Any) -> list[tuple[str, str]]:
    return [(name, value) for name, values in _categories(columns).items() for value in values]


def _boosting(graph: Graph, columns: Any, model: Any) -> str:
    """Trees summed in double, then the baseline, then softmax; of two classes, only the second has trees."""
    ensemble = Ensemble()
    features, at = _ordinals(graph, columns)
    for predictors in model._predictors:
        for target, predictor in enumerate(predictors):
            ensemble.tree(_tree(ensemble, predictor.nodes, 0, at, target))
    baseline = model._baseline_prediction.ravel()
    sums = ensemble.emit(graph, features, len(baseline))
    if graph.schema.label.is_regression:
        return graph.add("Add", sums, graph.weight("bias", baseline))
    present, width = model.classes_.tolist(), graph.schema.label.width
    with_trees = present[1:] if len(present) == 2 else present
    bias = np.full(width, -math.inf)
    bias[present] = 0.0
    bias[with_trees] = baseline
    placed = graph.add("Gemm", sums, graph.constant(np.eye(width)[with_trees]), graph.weight("bias", bias))
    return graph.add("Softmax", placed, axis=1)


def _tree(ensemble: Ensemble, nodes: Any, root: int, at: Sequence[int], target: int) -> Place:
    """`at` says where each of the pipeline's columns is in the graph's."""
    node = nodes[root]
    if node["is_leaf"]:
        return ensemble.leaf(float(node["value"]), target)
    yes = _tree(ensemble, nodes, node["left"], at, target)
    no = _tree(ensemble, nodes, node["right"], at, target)
    column, split = at[node["feature_idx"]], float(node["num_threshold"])
    return ensemble.branch(column, LESS_OR_EQUAL, split, yes, no, bool(node["missing_go_to_left"]))


def _ordinals(graph: Graph, columns: Any) -> tuple[str, list[int]]:
    """double[n, d + c] and the place in it of each column of the pipeline.

    Numbers as they are, then categories by their place in the encoder's order, NaN if missing or unseen.
    """
    schema = graph.schema
    names = [*schema.numeric_names, *schema.categorical_names]
    at = [names.index(name) for name in (*_columns(columns, "numeric"), *_columns(columns, "categorical"))]
    parts = ["numeric"] if schema.numeric_at else []
    codes = {
        (name, text): float(i)
        for name, texts in _categories(columns).items()
        for i, text in enumerate(texts)
        if text  # a missing one is unseen
    }
    if codes:
        parts.append(graph.codes_by_feature(codes, math.nan))
    return (parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)), at
