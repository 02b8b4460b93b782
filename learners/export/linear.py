"""Linear models as graphs: one matrix product for numbers, one table look-up for categories."""

import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import chain

import numpy as np

from learners.export.frame import Frame, NotExportable

Weights = Mapping[Hashable, float]


def linear(name: str, frame: Frame, columns: Sequence[Weights], bias: Sequence[float]) -> str:
    """double[n, k]: for each of k columns, its weights times the features, plus its bias.

    `name` is the model to blame. Raises NotExportable.
    """
    if frame.texts:
        raise NotExportable(name, f'the text feature "{frame.texts[0]}" would reach it; one-hot encode it first')
    if not all(map(math.isfinite, chain.from_iterable(weights.values() for weights in columns))):
        raise NotExportable(name, "its weights are not finite")
    keys = list(dict.fromkeys(chain.from_iterable(columns)))
    stamp = keys, [block.names for block in frame.numbers], [(block.names, block.encoder) for block in frame.hot]
    sources = frame.graph.recall("sources", stamp, lambda: _sources(frame, keys))
    terms = _number_terms(frame, columns)
    if sources:
        terms.append(_category_term(frame, columns, sources))
    return _sum(frame, terms, bias)


def _number_terms(frame: Frame, columns: Sequence[Weights]) -> list[str]:
    graph, terms = frame.graph, []
    for block in frame.numbers:
        values = np.array([[weights.get(name, 0.0) for weights in columns] for name in block.names])
        if block.divisor is not None:
            values /= block.divisor[:, np.newaxis]
        tensor = block.tensor
        if any(frame.may_miss(name) for name in block.names):
            tensor = graph.add("Where", graph.add("IsNaN", tensor), graph.constant(0.0), tensor)
        terms.append(graph.add("MatMul", tensor, graph.weight("weights", values)))
    return terms


def _sources(frame: Frame, keys: Sequence[Hashable]) -> dict[tuple[str, str], Hashable]:
    """The learned key behind each (feature, value) that has one."""
    numbers = {name for block in frame.numbers for name in block.names}
    found: dict[tuple[str, str], Hashable] = {}
    for key in keys:
        sources = [source for block in frame.hot for source in block.sources(key)]
        if len(sources) + (key in numbers) > 1:
            raise NotExportable("OneHotEncoder", f'two features can give the key "{key}"; rename one of them')
        found.update((source, key) for source in sources)
    return found


def _category_term(frame: Frame, columns: Sequence[Weights], sources: Mapping[tuple[str, str], Hashable]) -> str:
    """Looks up each (feature, value) in a table whose row 0, all zeros, is for what was never learned."""
    graph = frame.graph
    places = graph.recall("places", sources, lambda: {source: i + 1 for i, source in enumerate(sources)})
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
        return graph.constant_scores(total)
    for term in terms:
        total = graph.add("Add", term, total)
    return total
