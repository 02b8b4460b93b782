"""River's anomaly scorers as graphs that answer `score_one`: one number, higher for a stranger row."""

from typing import Any

import numpy as np
from onnx import TensorProto

from learners.export.frame import Frame, NotExportable, refuse_categories
from learners.export.linear import coefficients, linear
from learners.export.tree_ensemble import LESS, Ensemble, Place


def half_space_trees(model: Any, frame: Frame) -> str:
    """double[n, 1]: 1 less the masses on a row's paths over the greatest possible; 0 in the first window.

    Masses are whole numbers, whose sum is exact in any order. They are weights: the graph stays from the first row
    on, except that missing features go where most rows of this window went.
    """
    refuse_categories(model, frame)
    graph = frame.graph
    if not model.trees:
        return graph.repeated(graph.weight("before", [0.0]), 1)
    paths = _Paths(model, frame)
    for tree, root in enumerate(model.trees):
        paths.ensemble.tree(paths.place(root, tree))
    leaves = paths.ensemble.emit(graph, frame.joined().tensor, len(model.trees))
    at = graph.add("Cast", leaves, to=TensorProto.INT64)
    masses = graph.add("Gather", graph.weight("masses", paths.masses), at)
    total = graph.add("ReduceSum", masses, graph.constant([1], np.int64))
    share = graph.add("Div", total, graph.constant(model._max_score))
    return graph.add("Sub", graph.constant(1.0), share)


def one_class_svm(model: Any, frame: Frame) -> str:
    """double[n, 1]: River takes the intercept away again from the sum that it is in."""
    column, bias = coefficients(model)
    value = linear("OneClassSVM", frame, [column], [bias])
    return frame.graph.add("Sub", value, frame.graph.weight("intercept", bias))


class _Paths:
    """An ensemble that answers the number of the leaf reached in each tree, and the mass on the path to each leaf."""

    def __init__(self, model: Any, frame: Frame):
        self.model, self.frame, self.ensemble = model, frame, Ensemble()
        self.masses: list[float] = []
        names = [name for block in frame.numbers for name in block.names]
        self._column = {name: i for i, name in enumerate(names)}

    def place(self, node: Any, tree: int, depth: int = 0, mass: float = 0.0, counts: bool = True) -> Place:
        """The place of a node with all below it; `mass` is what lies above it, and whether it still `counts`."""
        if counts:
            mass += node.r_mass * 2**depth
        if depth == self.model.height:
            # Nothing is strange in the first window: all paths have the greatest mass.
            self.masses.append(self.model._max_score / self.model.n_trees if self.model._first_window else mass)
            return self.ensemble.leaf(len(self.masses) - 1, tree)
        column = self._column.get(node.feature)
        if column is None:
            raise NotExportable("HalfSpaceTrees", f'the schema has no number "{node.feature}"')
        left, right = node.children
        counts = counts and node.r_mass >= self.model.size_limit
        yes, no = (self.place(child, tree, depth + 1, mass, counts) for child in (left, right))
        missing_is_yes = self.frame.may_miss(node.feature) and left.l_mass >= right.l_mass
        return self.ensemble.branch(column, LESS, node.threshold, yes, no, missing_is_yes)
