"""Decision trees as one TreeEnsemble node, whose thresholds, comparisons and sums are double."""

from typing import NewType

import numpy as np
from onnx import numpy_helper

from learners.export.graph import ML, Graph

LESS_OR_EQUAL, LESS, EQUAL = 0, 1, 4
_SUM = 1

# An index of a branch, or the complement of one of a leaf. Columns of plain numbers, here and below: objects by the
# ten thousand would set the garbage collector to walk through all that River keeps.
Place = NewType("Place", int)


def is_leaf(place: Place) -> bool:
    """Whether a place is a leaf."""
    return place < 0


class Ensemble:
    """Trees built from their leaves up; each leaf adds its value to one of the targets."""

    def __init__(self) -> None:
        self._columns: list[int] = []
        self._modes: list[int] = []
        self._splits: list[float] = []
        self._yes: list[Place] = []
        self._no: list[Place] = []
        self._missing_is_yes: list[bool] = []
        self._targets: list[int] = []
        self._values: list[float] = []
        self._roots: list[Place] = []

    def leaf(self, value: float, target: int = 0) -> Place:
        """A new leaf."""
        self._targets.append(target)
        self._values.append(value)
        return Place(-len(self._values))

    def branch(self, column: int, mode: int, split: float, yes: Place, no: Place, missing_is_yes: bool) -> Place:
        """A new branch that compares a column with `split`; NaN goes where it is told to."""
        self._columns.append(column)
        self._modes.append(mode)
        self._splits.append(split)
        self._yes.append(yes)
        self._no.append(no)
        self._missing_is_yes.append(missing_is_yes)
        return Place(len(self._columns) - 1)

    def tree(self, root: Place) -> None:
        """Make this branch or leaf the root of a tree."""
        if is_leaf(root):  # TreeEnsemble begins with a branch
            root = self.branch(0, LESS_OR_EQUAL, 0.0, root, root, True)
        self._roots.append(root)

    def emit(self, graph: Graph, features: str, targets: int = 1) -> str:
        """double[n, targets]: the sum over trees for features double[n, d]."""
        yes, no = np.array(self._yes, np.int64), np.array(self._no, np.int64)
        return graph.add(
            "TreeEnsemble",
            features,
            domain=ML,
            n_targets=targets,
            aggregate_function=_SUM,
            tree_roots=self._roots,
            nodes_featureids=self._columns,
            nodes_modes=numpy_helper.from_array(np.array(self._modes, np.uint8)),
            nodes_splits=numpy_helper.from_array(np.array(self._splits, np.float64)),
            nodes_truenodeids=np.where(yes < 0, ~yes, yes).tolist(),
            nodes_trueleafs=(yes < 0).astype(int).tolist(),
            nodes_falsenodeids=np.where(no < 0, ~no, no).tolist(),
            nodes_falseleafs=(no < 0).astype(int).tolist(),
            nodes_missing_value_tracks_true=list(map(int, self._missing_is_yes)),
            leaf_targetids=self._targets,
            leaf_weights=numpy_helper.from_array(np.array(self._values, np.float64)),
        )
