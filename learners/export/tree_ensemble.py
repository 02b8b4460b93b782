"""Decision trees as one TreeEnsemble node, whose thresholds, comparisons and sums are double."""

from typing import NamedTuple

import numpy as np
from onnx import numpy_helper

from learners.export.graph import ML, Graph

LESS_OR_EQUAL, EQUAL = 0, 4
_SUM = 1


class Place(NamedTuple):
    """A branch or a leaf of an ensemble, by its index."""

    at: int
    is_leaf: bool


class Ensemble:
    """Trees built from their leaves up; each leaf adds its value to one of the targets."""

    def __init__(self) -> None:
        self._branches: list[tuple[int, int, float, Place, Place, bool]] = []
        self._leaves: list[tuple[int, float]] = []
        self._roots: list[int] = []

    def leaf(self, value: float, target: int = 0) -> Place:
        """A new leaf."""
        self._leaves.append((target, value))
        return Place(len(self._leaves) - 1, True)

    def branch(self, feature: int, mode: int, split: float, yes: Place, no: Place, missing_is_yes: bool) -> Place:
        """A new branch that compares a column with `split`; NaN goes where it is told to."""
        self._branches.append((feature, mode, split, yes, no, missing_is_yes))
        return Place(len(self._branches) - 1, False)

    def tree(self, root: Place) -> None:
        """Make this branch or leaf the root of a tree."""
        if root.is_leaf:  # TreeEnsemble begins with a branch
            root = self.branch(0, LESS_OR_EQUAL, 0.0, root, root, True)
        self._roots.append(root.at)

    def emit(self, graph: Graph, features: str, targets: int = 1) -> str:
        """double[n, targets]: the sum over trees for features double[n, d]."""
        columns, modes, splits, yes, no, missing = zip(*self._branches, strict=True)
        leaf_targets, values = zip(*self._leaves, strict=True)
        return graph.add(
            "TreeEnsemble",
            features,
            domain=ML,
            n_targets=targets,
            aggregate_function=_SUM,
            tree_roots=self._roots,
            nodes_featureids=columns,
            nodes_modes=numpy_helper.from_array(np.array(modes, np.uint8)),
            nodes_splits=numpy_helper.from_array(np.array(splits, np.float64)),
            nodes_truenodeids=[place.at for place in yes],
            nodes_trueleafs=[int(place.is_leaf) for place in yes],
            nodes_falsenodeids=[place.at for place in no],
            nodes_falseleafs=[int(place.is_leaf) for place in no],
            nodes_missing_value_tracks_true=[int(flag) for flag in missing],
            leaf_targetids=leaf_targets,
            leaf_weights=numpy_helper.from_array(np.array(values, np.float64)),
        )
