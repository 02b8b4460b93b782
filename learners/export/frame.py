"""What flows between the steps of a River pipeline, as tensors of a graph: features with their names."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from learners.export.graph import Graph


class NotExportable(Exception):
    """A model has no exact ONNX equivalent here; `name` is the part that has none."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name} cannot be exported to ONNX: {reason}")
        self.name, self.reason = name, reason


@dataclass(frozen=True)
class Numbers:
    """A double tensor [n, len(names)], NaN where a feature is missing; the features are `tensor / divisor`."""

    tensor: str
    names: tuple[Hashable, ...]
    types: tuple[type, ...]
    divisor: np.ndarray | None = None
    """float64[d] still to be applied: a linear model divides its weights instead. Infinity makes a feature 0."""


@dataclass(frozen=True)
class OneHot:
    """Text features as 0/1 features, one for each value.

    `sources(key)` lists the (feature, value) that can be behind a key of River's, as `encoder` makes them.
    """

    names: tuple[str, ...]
    encoder: type
    sources: Callable[[Hashable], list[tuple[str, str]]]


@dataclass(frozen=True)
class Frame:
    """Features at one point of a pipeline. Text is never changed on its way, only selected."""

    graph: Graph
    numbers: tuple[Numbers, ...] = ()
    texts: tuple[str, ...] = ()
    hot: tuple[OneHot, ...] = ()
    has_gaps: bool = False
    """Whether a step may leave out features that the schema requires."""

    @classmethod
    def of_inputs(cls, graph: Graph) -> Frame:
        """The features as the schema has them."""
        schema = graph.schema
        kinds = {"float": float, "int": int, "bool": bool}
        types = tuple(kinds[schema.features[i].type] for i in schema.numeric_at)
        numbers = (Numbers("numeric", schema.numeric_names, types),) if types else ()
        return cls(graph, numbers, schema.categorical_names)

    def may_miss(self, name: Hashable) -> bool:
        """Whether a step or the schema lets this feature be missing, or one that it may be derived from."""
        features = self.graph.schema.features
        named = [feature for feature in features if feature.name == name]
        return self.has_gaps or any(feature.optional for feature in named or features)

    def only(self, keep: Callable[[Hashable, type], bool]) -> Frame:
        """The features whose name and Python type `keep` accepts."""
        numbers = tuple(part for block in self.numbers if (part := self._columns(block, keep)) is not None)
        texts = tuple(name for name in self.texts if keep(name, str))
        return replace(self, numbers=numbers, texts=texts)

    def _columns(self, block: Numbers, keep: Callable[[Hashable, type], bool]) -> Numbers | None:
        at = [i for i, name in enumerate(block.names) if keep(name, block.types[i])]
        if not at or len(at) == len(block.names):
            return block if at else None
        return Numbers(
            self.graph.add("Gather", block.tensor, self.graph.constant(at, np.int64), axis=1),
            tuple(block.names[i] for i in at),
            tuple(block.types[i] for i in at),
            None if block.divisor is None else block.divisor[at],
        )

    def joined(self) -> Numbers:
        """All numbers as one block without a divisor; its tensor is "" if there are none."""
        parts = [self.divided(block) for block in self.numbers]
        tensor = self.graph.add("Concat", *parts, axis=1) if len(parts) > 1 else "".join(parts)
        names = tuple(name for block in self.numbers for name in block.names)
        return Numbers(tensor, names, tuple(kind for block in self.numbers for kind in block.types))

    def divided(self, block: Numbers) -> str:
        """The block's features themselves, its divisor applied as River applies it."""
        if block.divisor is None:
            return block.tensor
        return self.graph.add("Div", block.tensor, self.graph.weight("divisor", block.divisor))


def refuse_categories(step: Any, frame: Frame) -> None:
    """Raises NotExportable where a step that reads numbers would meet others."""
    if frame.texts or frame.hot:
        what = "text" if frame.texts else "one-hot features"
        raise NotExportable(type(step).__name__, f"{what} would reach it; select the numbers first")
