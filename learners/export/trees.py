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
    above: tuple[tuple[Any, ...], ...]
    """Of each node, the alternates of the branches on the way to it, as River asks them."""

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
    at = builder.reached(places, numbers)
    return Leaves(frame, at, tuple(builder.leaves), numbers, builder.names, tuple(builder.above))


class _Builder:
    """An ensemble with the leaves and categories met on the way down."""

    def __init__(self, frame: Frame):
        if frame.hot:
            raise NotExportable("OneHotEncoder", "a tree after it; River's trees read categories themselves")
        self.frame, self.ensemble = frame, Ensemble()
        self.leaves: list[Any] = []
        self.above: list[tuple[Any, ...]] = []
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
        return self._place(root, ())

    def _place(self, node: Any, above: tuple[Any, ...], times: int = 1) -> Place:
        """The place of a node below branches with these alternates; its own is asked so many times."""
        kind = _kind(type(node))  # type: ignore[arg-type]  # mypy doubts that types are hashable
        if kind is not None:
            above += _alternates(node) * times
        if kind is NumericBinaryBranch:
            return self._numeric(node, above)
        if kind is NominalBinaryBranch:
            return self._nominal(node, above)
        if kind is NominalMultiwayBranch:
            return self._multiway(node, above)
        self.leaves.append(node)
        self.above.append(above)
        return self.ensemble.leaf(float(len(self.leaves) - 1), self._target)

    def _numeric(self, node: Any, above: tuple[Any, ...]) -> Place:
        column = self._column.get(node.feature)
        if column is None:
            raise NotExportable("NumericBinaryBranch", f'the schema has no number "{node.feature}"')
        yes, no = (self._place(child, above) for child in node.children)
        may_miss = self._may_miss[node.feature]
        missing_is_yes = may_miss and self._common(node) == 0
        place = self.ensemble.branch(column, LESS_OR_EQUAL, float(node.threshold), yes, no, missing_is_yes)
        return self._unless_missing(node, column, place, above) if may_miss else place

    def _nominal(self, node: Any, above: tuple[Any, ...]) -> Place:
        yes, no = (self._place(child, above) for child in node.children)
        place = self._equal(node, node.value, yes, no, self._common(node) == 0)
        return self._unless_missing(node, self._text_column[node.feature], place, above)

    def _unless_missing(self, node: Any, column: int, place: Place, above: tuple[Any, ...]) -> Place:
        """The place of a branch, or one before it: where a feature is missing, River asks the next alternate twice."""
        common = node.children[self._common(node)]
        if not _alternates(common):
            return place
        twice = self._place(common, above, times=2)
        return self.ensemble.branch(column, LESS_OR_EQUAL, math.inf, place, twice, False)

    def _multiway(self, node: Any, above: tuple[Any, ...]) -> Place:
        """A chain of tests that ends at the most common child, where River sends missing and unseen values too."""
        common = self._common(node)
        place = self._place(node.children[common], above, times=2)
        for value, child in node._mapping.items():
            if child != common or _alternates(node.children[child]):
                place = self._equal(node, value, self._place(node.children[child], above), place, False)
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


def _alternates(node: Any) -> tuple[Any, ...]:
    """The alternate of an adaptive tree's branch, if it has one."""
    alternate = getattr(node, "_alternate_tree", None)
    if isinstance(alternate, DTBranch):
        raise NotExportable(type(node).__name__, "its alternate subtree has split, and River itself raises there")
    return () if alternate is None else (alternate,)


@cache
def _kind(node: Any) -> type | None:
    """Which of the branches known here a node is, or None for a leaf."""
    for kind in (NumericBinaryBranch, NominalBinaryBranch, NominalMultiwayBranch):
        if issubclass(node, kind):
            return kind
    if issubclass(node, DTBranch):
        raise NotExportable(node.__name__, "this kind of split has no exact equivalent")
    return None
