"""Linear models as graphs: one matrix product for numbers, one table look-up for categories."""

import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from learners.export.frame import Frame, NotExportable
from learners.export.graph import Graph

Weights = Mapping[Hashable, float]
Source = tuple[str, str]
"""A text feature and its value."""


def linear(name: str, frame: Frame, columns: Sequence[Weights], bias: Sequence[float]) -> str:
    """double[n, k]: for each of k columns, its weights times the features, plus its bias.

    `name` is the model to blame. Raises NotExportable.
    """
    if frame.texts:
        raise NotExportable(name, f'the text feature "{frame.texts[0]}" would reach it; one-hot encode it first')
    if not all(map(math.isfinite, chain.from_iterable(weights.values() for weights in columns))):
        raise NotExportable(name, "its weights are not finite")
    keys = list(dict.fromkeys(chain.from_iterable(columns)))
    sources = frame.graph.recall("sources", (keys, _features(frame)), lambda: _sources(frame, keys))
    terms = _number_terms(frame, columns)
    if sources:
        terms.append(_category_term(frame, columns, sources))
    return _sum(frame, terms, bias)


def coefficients(model: Any) -> tuple[dict[Hashable, float], float]:
    """Weights and intercept of one of River's linear models. Raises NotExportable."""
    if not math.isfinite(model.intercept):
        raise NotExportable(type(model).__name__, "its intercept is not finite")
    return dict(model.weights), float(model.intercept)


def sigmoids(graph: Graph, sums: str) -> str:
    """double[n, 2]: what is left of River's sigmoid, and that itself, of double[n, 1]; it is 0 below -30.

    An ensemble may divide one by another: nothing by nothing gives other shares than little by less, and the operator
    Sigmoid rounds what is little to multiples of 1e-16.
    """
    one, power = graph.constant(1.0), graph.add("Exp", graph.add("Neg", sums))
    inside = graph.add("Div", one, graph.add("Add", one, power))
    capped = graph.add("Where", graph.add("Greater", sums, graph.constant(30.0)), one, inside)
    below = graph.add("Less", sums, graph.constant(-30.0))
    sigmoid = graph.add("Where", below, graph.constant(0.0), capped)
    return graph.add("Concat", graph.add("Sub", one, sigmoid), sigmoid, axis=1)


def _number_terms(frame: Frame, columns: Sequence[Weights]) -> list[str]:
    graph, terms = frame.graph, []
    for block in frame.numbers:
        values = np.array([[weights.get(name, 0.0) for weights in columns] for name in block.names])
        tensor = block.tensor
        if block.divisor is not None:
            with np.errstate(over="ignore"):
                scaled = values / block.divisor[:, np.newaxis]
            if np.isfinite(scaled).all():
                values = scaled
            else:  # a weight over a feature's tiny spread, where the feature itself is small enough
                tensor = frame.divided(block)
        if any(frame.may_miss(name) for name in block.names):
            tensor = graph.add("Where", graph.add("IsNaN", tensor), graph.constant(0.0), tensor)
        terms.append(graph.add("MatMul", tensor, graph.weight("weights", values)))
    return terms


def _features(frame: Frame) -> Any:
    return [block.names for block in frame.numbers], [(block.names, block.encoder) for block in frame.hot]


def _sources(frame: Frame, keys: Sequence[Hashable]) -> dict[Source, Hashable]:
    """The learned key behind each (feature, value) that has one."""
    # A model's keys become more and more: only the new ones are looked into.
    known: dict[Hashable, tuple[Source, ...]] = frame.graph.recall("source", _features(frame), dict)
    known.update((key, _source(frame, key)) for key in keys if key not in known)
    return {source: key for key in keys for source in known[key]}


def _source(frame: Frame, key: Hashable) -> tuple[Source, ...]:
    """The (feature, value) behind a key, if it has one."""
    sources = [source for block in frame.hot for source in block.sources(key)]
    if len(sources) + any(key in block.names for block in frame.numbers) > 1:
        raise NotExportable("OneHotEncoder", f'two features can give the key "{key}"; rename one of them')
    return tuple(sources)


def _category_term(frame: Frame, columns: Sequence[Weights], sources: Mapping[Source, Hashable]) -> str:
    """Looks up each (feature, value) in a table whose row 0, all zeros, is for what was never learned."""
    graph = frame.graph
    # The table's rows have the order of `sources`, in which equal dictionaries may differ: a late class changes it.
    places = graph.recall("places", list(sources), lambda: {source: i + 1 for i, source in enumerate(sources)})
    codes = graph.codes_by_feature(places, 0, np.int64)
    table = np.zeros((len(sources) + 1, len(columns)))
    for column, weights in zip(table.T, columns, strict=True):
        column[1:] = [weights.get(key, 0.0) for key in sources.values()]
    rows = graph.add("Gather", graph.table("category_weights", table), codes, axis=0)
    return graph.add("ReduceSum", rows, graph.constant([1], np.int64), keepdims=0)


def _sum(frame: Frame, terms: Sequence[str], bias: Sequence[float]) -> str:
    graph = frame.graph
    total = graph.weight("bias", bias)
    if not terms:
        return graph.repeated(total, len(bias))
    for term in terms:
        total = graph.add("Add", term, total)
    return total
