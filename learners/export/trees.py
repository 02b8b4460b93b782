"""River's Hoeffding trees as graphs: one ensemble answers, for every tree at once, the number of the leaf it reaches.

What a leaf says is looked up in tables by that number. They are weights, so that a revision in which only leaves
changed needs no new graph.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from onnx import TensorProto
from river import tree
from river.forest.adaptive_random_forest import BaseTreeClassifier, BaseTreeRegressor
from river.tree.nodes.branch import DTBranch, NominalBinaryBranch, NominalMultiwayBranch, NumericBinaryBranch

from learners import zoo
from learners.export.frame import Frame, NotExportable
from learners.export.tree_ensemble import EQUAL, LESS_OR_EQUAL, Ensemble, Place, is_leaf

PLAIN = (
    tree.HoeffdingTreeClassifier,
    tree.HoeffdingTreeRegressor,
    tree.ExtremelyFastDecisionTreeClassifier,
    BaseTreeClassifier,
    BaseTreeRegressor,
    zoo.OrderedTreeClassifier,
    zoo.OrderedForestTree,
)
"""Trees that answer what one leaf says; River derives others from them that do not."""

_UNSEEN = -1.0


@dataclass(frozen=True)
class Leaves:
    """Where each row ends up in each of t trees."""

    frame: Frame
    at: str
    """int64[n, t]: an index into `nodes`."""
    nodes: tuple[Any, ...]
    """River's leaves; None is that of a tree that has learned nothing."""
    numbers: str | None
    """double[n, d]: the features called `names`, NaN where missing."""
    names: tuple[Hashable, ...]

    def slots(self) -> dict[Hashable, int]:
        """The place of each feature among numbers, then texts."""
        texts = self.frame.graph.schema.categorical_names if self.frame.texts else ()
        return {name: i for i, name in enumerate((*self.names, *texts))}

    def look_up(self, name: str, table: Sequence[Any] | np.ndarray) -> str:
        """[n, t, ...]: each reached leaf's entry of a table [len(nodes), ...], a weight called `name`."""
        graph = self.frame.graph
        return graph.add("Gather", graph.table(name, table), self.at, axis=0)


def leaves(frame: Frame, roots: Sequence[Any]) -> Leaves:
    """The leaves of trees by their roots; None is the root of a tree that has learned nothing. Raises NotExportable."""
    builder = _Builder(frame)
    places = [builder.place(root) for root in roots]
    numbers = builder.numbers()
    return Leaves(frame, builder.reached(places, numbers), tuple(builder.leaves), numbers, builder.names)


class _Builder:
    """An ensemble with the leaves and categories met on the way down."""

    def __init__(self, frame: Frame):
        if frame.hot:
            raise NotExportable("OneHotEncoder", "a tree after it; River's trees read categories themselves")
        self.frame, self.ensemble = frame, Ensemble()
        self.leaves: list[Any] = []
        self.names: tuple[Hashable, ...] = tuple(name for block in frame.numbers for name in block.names)
        self._target = -1
        self._weights: dict[int, float] = {}
        self._codes: dict[str, float] = {}
        self._may_miss = {name: frame.may_miss(name) for name in self.names}
        self._column = {name: i for i, name in enumerate(self.names)}
        texts = frame.graph.schema.categorical_names
        self._text_column = {name: len(self.names) + i for i, name in enumerate(texts) if name in frame.texts}

    def place(self, root: Any) -> Place:
        """The place of the next tree's root, with everything below it."""
        self._target += 1
        return self._place(root)

    def _place(self, node: Any) -> Place:
        kind = _kind(type(node))  # type: ignore[arg-type]  # mypy doubts that types are hashable
        if kind is NumericBinaryBranch:
            return self._numeric(node)
        if kind is NominalBinaryBranch:
            return self._nominal(node)
        if kind is NominalMultiwayBranch:
            return self._multiway(node)
        self.leaves.append(node)
        return self.ensemble.leaf(float(len(self.leaves) - 1), self._target)

    def _numeric(self, node: Any) -> Place:
        column = self._column.get(node.feature)
        if column is None:
            raise NotExportable("NumericBinaryBranch", f'the schema has no number "{node.feature}"')
        yes, no = map(self._place, node.children)
        missing_is_yes = self._may_miss[node.feature] and self._common(node) == 0
        return self.ensemble.branch(column, LESS_OR_EQUAL, float(node.threshold), yes, no, missing_is_yes)

    def _nominal(self, node: Any) -> Place:
        yes, no = map(self._place, node.children)
        return self._equal(node, node.value, yes, no, self._common(node) == 0)

    def _multiway(self, node: Any) -> Place:
        """A chain of tests that ends at the most common child, where River sends missing and unseen values too."""
        common = self._common(node)
        place = self._place(node.children[common])
        for value, child in node._mapping.items():
            if child != common:
                place = self._equal(node, value, self._place(node.children[child]), place, False)
        return place

    def _equal(self, node: Any, value: Any, yes: Place, no: Place, missing_is_yes: bool) -> Place:
        column = self._text_column.get(node.feature)
        if column is None or not isinstance(value, str):
            raise NotExportable(type(node).__name__, f'"{node.feature}" is no category feature of the schema')
        code = self._codes.setdefault(value, float(len(self._codes)))
        return self.ensemble.branch(column, EQUAL, code, yes, no, missing_is_yes)

    def _common(self, node: Any) -> int:
        """The child where River sends what a test cannot tell: the first of the heaviest."""
        weights = [self._weight(child) for child in node.children]
        return weights.index(max(weights))

    def _weight(self, node: Any) -> float:
        """River's `total_weight`, which goes down to the leaves each time it is asked."""
        if type(node).total_weight is not DTBranch.total_weight:
            return float(node.total_weight)
        found = self._weights.get(id(node))
        if found is None:
            found = self._weights[id(node)] = float(sum(map(self._weight, node.children)))
        return found

    def numbers(self) -> str | None:
        """double[n, d], or None where there are none."""
        parts = [self.frame.divided(block) for block in self.frame.numbers]
        return self.frame.graph.add("Concat", *parts, axis=1) if len(parts) > 1 else next(iter(parts), None)

    def reached(self, places: Sequence[Place], numbers: str | None) -> str:
        """int64[n, t]: the number of the leaf reached from each place."""
        graph = self.frame.graph
        if all(map(is_leaf, places)):
            return graph.repeated(graph.constant(range(len(places)), np.int64), len(places))
        for place in places:
            self.ensemble.tree(place)
        # Numbers as they are, then categories as codes, NaN where missing.
        parts = [] if numbers is None else [numbers]
        if self._codes:
            parts.append(graph.codes({"": math.nan, **self._codes}, _UNSEEN))
        features = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
        return graph.add("Cast", self.ensemble.emit(graph, features, len(places)), to=TensorProto.INT64)


@cache
def _kind(node: Any) -> type | None:
    """Which of the branches known here a node is, or None for a leaf."""
    for kind in (NumericBinaryBranch, NominalBinaryBranch, NominalMultiwayBranch):
        if issubclass(node, kind):
            return kind
    if issubclass(node, DTBranch):
        raise NotExportable(node.__name__, "this kind of split has no exact equivalent")
    return None
