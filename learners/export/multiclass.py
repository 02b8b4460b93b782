"""River's reductions of several classes to binary classifiers, as graphs."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np

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


def _binary(frame: Frame) -> Frame:
    """The same features for a model that tells True from False; its nodes join the same graph."""
    graph = copy.copy(frame.graph)  # shallow: nodes and weights are shared
    graph.schema = Schema(graph.schema.features, Label("binary", (False, True)))
    return replace(frame, graph=graph)
