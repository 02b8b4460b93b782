"""River's Hoeffding trees as graphs: the ensemble answers the leaf's number, a table the leaf's scores.

The table is a weight, so that a revision in which only leaves changed needs no new graph.
"""

import math
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from onnx import TensorProto
from river.tree.nodes.branch import NominalBinaryBranch, NominalMultiwayBranch, NumericBinaryBranch

from learners.ensemble import EQUAL, LESS_OR_EQUAL, Ensemble, Place
from learners.frame import Frame, NotExportable

_UNSEEN = -1.0


def tree(frame: Frame, root: Any, scores: Callable[[Any], tuple[float, ...]]) -> str:
    """double[n, k]: `scores(leaf)` of the leaf that River would reach. Raises NotExportable."""
    graph = frame.graph
    builder = _Builder(frame)
    leaf = builder.place(root)
    table = graph.weight("leaves", [scores(leaf) for leaf in builder.leaves])
    if leaf.is_leaf:
        return graph.constant_scores(table)
    builder.ensemble.tree(leaf)
    number = builder.ensemble.emit(graph, builder.features())
    rows = graph.add("Gather", table, graph.add("Cast", number, to=TensorProto.INT64), axis=0)
    return graph.add("Squeeze", rows, graph.constant([1], np.int64))


class _Builder:
    """An ensemble with the leaves and categories met on the way down."""

    def __init__(self, frame: Frame):
        if frame.hot:
            raise NotExportable("OneHotEncoder", "a tree after it; River's trees read categories themselves")
        self.frame, self.ensemble = frame, Ensemble()
        self.leaves: list[Any] = []
        self._codes: dict[str, float] = {}
        names: list[Hashable] = [name for block in frame.numbers for name in block.names]
        self._column = {name: i for i, name in enumerate(names)}
        texts = frame.graph.schema.categorical_names
        self._text_column = {name: len(names) + i for i, name in enumerate(texts) if name in frame.texts}

    def place(self, node: Any) -> Place:
        """The node's place, with everything below it."""
        if isinstance(node, NumericBinaryBranch):
            return self._numeric(node)
        if isinstance(node, NominalBinaryBranch):
            return self._nominal(node)
        if isinstance(node, NominalMultiwayBranch):
            return self._multiway(node)
        if hasattr(node, "children"):
            raise NotExportable(type(node).__name__, "this kind of split has no exact equivalent")
        self.leaves.append(node)
        return self.ensemble.leaf(float(len(self.leaves) - 1))

    def _numeric(self, node: Any) -> Place:
        column = self._column.get(node.feature)
        if column is None:
            raise NotExportable("NumericBinaryBranch", f'the schema has no number "{node.feature}"')
        yes, no = map(self.place, node.children)
        return self.ensemble.branch(column, LESS_OR_EQUAL, float(node.threshold), yes, no, _missing_goes_first(node))

    def _nominal(self, node: Any) -> Place:
        yes, no = map(self.place, node.children)
        return self._equal(node, node.value, yes, no, _missing_goes_first(node))

    def _multiway(self, node: Any) -> Place:
        """A chain of tests that ends at the most common child, where River sends missing and unseen values too."""
        common, _ = node.most_common_path()
        place = self.place(node.children[common])
        for value, child in node._mapping.items():
            if child != common:
                place = self._equal(node, value, self.place(node.children[child]), place, False)
        return place

    def _equal(self, node: Any, value: Any, yes: Place, no: Place, missing_is_yes: bool) -> Place:
        column = self._text_column.get(node.feature)
        if column is None or not isinstance(value, str):
            raise NotExportable(type(node).__name__, f'"{node.feature}" is no category feature of the schema')
        code = self._codes.setdefault(value, float(len(self._codes)))
        return self.ensemble.branch(column, EQUAL, code, yes, no, missing_is_yes)

    def features(self) -> str:
        """double[n, d + c]: numbers as they are, then categories as codes, NaN where missing."""
        graph = self.frame.graph
        parts = [self.frame.divided(block) for block in self.frame.numbers]
        if self._codes:
            parts.append(graph.codes({"": math.nan, **self._codes}, _UNSEEN))
        return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)


def _missing_goes_first(node: Any) -> bool:
    return bool(node.most_common_path()[0] == 0)
