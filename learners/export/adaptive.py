"""River's adaptive Hoeffding trees as graphs: leaves answer together with the alternates of the branches above them.

An alternate is a leaf: River gives the one that splits its branch's place at once. What a row reaches is looked up in a
table, a weight, by the number of its leaf: the graph changes with the greatest number of alternates above a leaf.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto

from learners.export import leaves, trees
from learners.export.frame import Frame, NotExportable
from learners.export.trees import Leaves


def classes(model: Any, frame: Frame, alone: bool) -> str:
    """double[n, k]: votes of all that are reached, each over its squared error, in shares of their sum."""
    graph, width = frame.graph, frame.graph.schema.label.width
    reached = _reached(model, frame)
    if any(leaf is not None and not leaf.stats for leaf in reached.nodes):
        raise NotExportable(type(model).__name__, "a leaf has learned nothing, and River itself raises there")
    votes = leaves.classes(reached, model, alone=False)
    errors = [[0.0 if leaf is None else leaf._mean_error.get()] for leaf in reached.nodes]
    error = reached.look_up("errors", errors)
    total = graph.add("ReduceSum", votes, graph.constant([2], np.int64))
    weighed = _over(frame, votes, graph.add("Mul", graph.add("Mul", total, error), error), votes)
    axis = graph.constant([1], np.int64)
    votes = graph.add("ReduceSum", weighed, axis, keepdims=0)
    nothing = graph.constant([1 / width if alone else 0.0] * width)
    return _over(frame, votes, graph.add("ReduceSum", votes, axis), nothing)


def values(model: Any, frame: Frame) -> str:
    """double[n, 1]: the mean of what all that are reached say."""
    graph, axis = frame.graph, frame.graph.constant([1], np.int64)
    reached = _reached(model, frame)
    total = graph.add("ReduceSum", leaves.values(reached, model), axis)
    answers = reached.look_up("answers", [float(leaf is not None) for leaf in reached.nodes])
    count = graph.add("Max", graph.add("ReduceSum", answers, axis), graph.constant(1.0))
    return graph.add("Div", total, count)


def _over(frame: Frame, votes: str, total: str, otherwise: str) -> str:
    """Votes times the reciprocal of a total, as River divides, or others where it is 0."""
    graph = frame.graph
    shares = graph.add("Mul", votes, graph.add("Reciprocal", total))
    return graph.add("Where", graph.add("Greater", total, graph.constant(0.0)), shares, otherwise)


def _reached(model: Any, frame: Frame) -> Leaves:
    """The leaf that each row reaches, beside the alternates, and nothing where there are fewer than elsewhere."""
    found = trees.leaves(frame, [model._root])
    most = max(map(len, found.above))
    if not most:
        return found
    others = list({id(one): one for above in found.above for one in above}.values())
    place = {id(one): len(found.nodes) + i for i, one in enumerate(others)}
    nodes = (*found.nodes, *others, None)
    fill = [len(nodes) - 1]
    table = [
        [i, *(place[id(one)] for one in above), *fill * (most - len(above))] for i, above in enumerate(found.above)
    ]
    graph = frame.graph
    row = graph.add("Squeeze", found.at, graph.constant([1], np.int64))
    at = graph.add("Cast", graph.add("Gather", graph.table("asked", table), row), to=TensorProto.INT64)
    return replace(found, at=at, nodes=nodes)
