"""River's reductions of several classes to binary classifiers, as graphs."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto

from contracts.schema import Label, Schema
from learners.export.ensembles import Emit
from learners.export.frame import Frame
from learners.online import class_keys, class_scores


def one_vs_rest(model: Any, frame: Frame, emit: Emit, alone: bool) -> str:
    """double[n, k]: each class's binary probability over their sum; if that is 0, equal ones for the classes seen."""
    graph, label = frame.graph, frame.graph.schema.label
    seen = {key: 1 / len(model.classifiers) for key in model.classifiers}
    fallback = class_scores(seen, label) if alone or seen else (0.0,) * label.width
    if not seen:
        return graph.constant_scores(graph.weight("before", fallback))
    binary = _binary(frame)
    columns = [
        graph.add("Gather", emit(model.classifiers[key], binary), graph.constant([1], np.int64), axis=1)
        if key in seen
        else graph.repeated(graph.constant([0.0]), 1)
        for key in class_keys(label)
    ]
    votes = graph.add("Concat", *columns, axis=1)
    total = graph.add("ReduceSum", votes, graph.constant([1], np.int64))
    voted = graph.add("Greater", total, graph.constant(0.0))
    return graph.add("Where", voted, graph.add("Div", votes, total), graph.weight("before", fallback))


def one_vs_one(model: Any, frame: Frame, emit: Emit) -> str:
    """double[n, k]: 1 for the class that most pairs vote for, of equals the first that got a vote; 0 for others."""
    graph, keys = frame.graph, class_keys(frame.graph.schema.label)
    binary, pairs = _binary(frame), list(model.classifiers)
    margins = [_margin(binary, emit(model.classifiers[pair], binary)) for pair in pairs]
    second = graph.add("Greater", graph.add("Concat", *margins, axis=1), graph.constant(0.0))
    winners = np.array([[keys.index(key) for key in pair] for pair in pairs])
    won = graph.add("Where", second, graph.constant(winners[:, 1], np.int64), graph.constant(winners[:, 0], np.int64))
    votes = _is_class(frame, won, 2)
    # A class's first vote counts for less than one vote.
    first = graph.add("Mul", votes, graph.constant(np.arange(len(pairs), 0.0, -1.0)[:, np.newaxis] / (len(pairs) + 1)))
    axis = graph.constant([1], np.int64)
    scores = graph.add(
        "Add", graph.add("ReduceSum", votes, axis, keepdims=0), graph.add("ReduceMax", first, axis, keepdims=0)
    )
    return _is_class(frame, graph.add("ArgMax", scores, axis=1, keepdims=0), 1)


def output_code(model: Any, frame: Frame, emit: Emit) -> str:
    """double[n, k]: 1 for the class whose code is nearest to the probabilities, of equals the first; 0 for others."""
    graph, keys = frame.graph, class_keys(frame.graph.schema.label)
    binary = _binary(frame)
    columns = [
        graph.add("Gather", emit(model.classifiers[i], binary), graph.constant([1], np.int64), axis=1)
        for i in range(model.code_size)
    ]
    codes = np.array(list(model.code_book.values()), float)
    output = graph.add("Unsqueeze", graph.add("Concat", *columns, axis=1), graph.constant([1], np.int64))
    apart = graph.add("Abs", graph.add("Sub", output, graph.constant(codes)))
    distances = graph.add("ReduceSum", apart, graph.constant([2], np.int64), keepdims=0)
    nearest = graph.add("ArgMin", distances, axis=1, keepdims=0)
    at = graph.add("Gather", graph.constant([keys.index(key) for key in model.code_book], np.int64), nearest)
    return _is_class(frame, at, 1)


def _margin(frame: Frame, scores: str) -> str:
    """double[n, 1]: by how much True is more probable than False."""
    graph = frame.graph
    false, true = (graph.add("Gather", scores, graph.constant([at], np.int64), axis=1) for at in (0, 1))
    return graph.add("Sub", true, false)


def _is_class(frame: Frame, at: str, axis: int) -> str:
    """double[..., k]: 1 in the column that int64[...] says, else 0."""
    graph = frame.graph
    columns = graph.constant(range(graph.schema.label.width), np.int64)
    equal = graph.add("Equal", graph.add("Unsqueeze", at, graph.constant([axis], np.int64)), columns)
    return graph.add("Cast", equal, to=TensorProto.DOUBLE)


def _binary(frame: Frame) -> Frame:
    """The same features for a model that tells True from False; its nodes join the same graph."""
    graph = copy.copy(frame.graph)  # shallow: nodes and weights are shared
    graph.schema = Schema(graph.schema.features, Label("binary", (False, True)))
    return replace(frame, graph=graph)
