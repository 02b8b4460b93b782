"""Naive Bayes in the leaves of River's trees: log priors and log likelihoods, summed in River's order.

The order matters: likelihoods of a value far from a narrow Gaussian are so large that sums of the same terms in another
order differ by more than what tells two classes apart.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto
from river.tree.splitter import GaussianSplitter
from river.tree.splitter.nominal_splitter_classif import NominalSplitterClassif

from learners.export.frame import NotExportable
from learners.export.trees import Leaves
from learners.online import class_keys

_HALF_LOG_TAU = 0.5 * math.log(math.tau)
Source = tuple[str, str]
"""A text feature and its value."""


@dataclass(frozen=True)
class LeafBayes:
    """What one leaf knows of d numbers, of texts and of k classes."""

    numbers: np.ndarray
    """float64[3, d, k]: means, -2 variances and logarithms of standard deviations."""
    order: list[int]
    """The features in the order of the leaf's splitters, then those that it never saw."""
    priors: list[float]
    """Logarithms; minus infinity for a class that the leaf does not know."""
    texts: dict[Source, list[float]]
    """Log shares in each class."""

    @classmethod
    def of(cls, leaf: Any, leaves: Leaves, slots: Mapping[Hashable, int]) -> "LeafBayes":
        """The entries of a leaf whose features have these slots. Raises NotExportable."""
        keys = class_keys(leaves.frame.graph.schema.label)
        # River looks at no likelihoods of a class of weight 0 or less, whose vote is 0.
        known = [(c, key) for c, key in enumerate(keys) if leaf.stats.get(key, 0.0) > 0]
        texts: dict[Source, list[float]] = {}
        for c, key in known:
            for name in leaves.frame.texts:
                for value, share in _text_shares(leaf, name, key):
                    texts.setdefault((name, value), [0.0] * len(keys))[c] = math.log(share)
        return cls(_numbers(leaf, leaves.names, known, len(keys)), _order(leaf, slots), _priors(leaf, keys), texts)


def naive_bayes(leaves: Leaves, at: str, found: Sequence[LeafBayes]) -> str:
    """double[n, t, k]: the probabilities, where `at` int64[n, t] says which of those found it is, from 1."""
    graph, k = leaves.frame.graph, leaves.frame.graph.schema.label.width

    def look_up(name: str, nothing: Any, rows: Iterable[Any]) -> str:
        return graph.add("Gather", graph.table(name, np.array([nothing, *rows])), at, axis=0)

    parts = [_densities(leaves, at, found)] if leaves.numbers is not None else []
    parts += [_text_terms(leaves, at, found)] if leaves.frame.texts else []
    priors = look_up("priors", [0.0] * k, (one.priors for one in found))
    if not parts:
        return graph.normalised(priors, 2)
    terms = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=2)
    slots = range(len(leaves.slots()))
    order = graph.add("Cast", look_up("order", slots, (one.order for one in found)), to=TensorProto.INT64)
    order = graph.add("Unsqueeze", order, graph.constant([3], np.int64))
    terms = graph.add("GatherElements", terms, graph.add("Expand", order, graph.add("Shape", terms)), axis=2)
    terms = graph.add("Concat", graph.add("Unsqueeze", priors, graph.constant([2], np.int64)), terms, axis=2)
    sums = graph.add("CumSum", terms, graph.constant(2, np.int64))  # ReduceSum has an order of its own
    return graph.normalised(graph.add("Gather", sums, graph.constant(-1, np.int64), axis=2), 2)


def _densities(leaves: Leaves, at: str, found: Sequence[LeafBayes]) -> str:
    """double[n, t, d, k]: log densities; 0 where missing, or where River has no density or none above 0."""
    graph, k = leaves.frame.graph, leaves.frame.graph.schema.label.width
    tables = np.array([_no_numbers(len(leaves.names), k), *(one.numbers for one in found)])
    mean, scale, spread = (
        graph.add("Gather", graph.table(name, tables[:, i]), at, axis=0)
        for i, name in enumerate(("means", "scales", "logs"))
    )
    assert leaves.numbers is not None
    numbers = graph.add("Unsqueeze", leaves.numbers, graph.constant([1, 3], np.int64))
    distance = graph.add("Sub", numbers, mean)
    powers = graph.add("Div", graph.add("Mul", distance, distance), scale)
    logs = graph.add("Sub", graph.add("Sub", powers, graph.constant(_HALF_LOG_TAU)), spread)
    return graph.add("Where", graph.add("Greater", logs, graph.constant(-np.inf)), logs, graph.constant(0.0))


def _text_terms(leaves: Leaves, at: str, found: Sequence[LeafBayes]) -> str:
    """double[n, t, c, k]: log shares; 0 where missing, or never seen in the leaf with the class."""
    graph = leaves.frame.graph
    sources = dict.fromkeys(source for one in found for source in one.texts)
    known = {source: i + 1 for i, source in enumerate(sources)}
    width, table = len(known) + 1, [[0.0] * graph.schema.label.width]
    keys: dict[int, int] = {}
    for row, one in enumerate(found, 1):
        for source, logs in one.texts.items():
            keys[row * width + known[source]] = len(table)
            table.append(logs)
    codes = graph.codes_by_feature(known or {(leaves.frame.texts[0], ""): 0}, 0, np.int64)
    starts = graph.add("Mul", at, graph.constant(width, np.int64))
    sums = graph.add(
        "Add",
        graph.add("Unsqueeze", starts, graph.constant([2], np.int64)),
        graph.add("Unsqueeze", codes, graph.constant([1], np.int64)),
    )
    return graph.add("Gather", graph.table("category_logs", table), graph.rows_of(sums, keys, 0), axis=0)


def _no_numbers(d: int, k: int) -> np.ndarray:
    """An infinite spread makes the log density minus infinity, which counts as 0."""
    return np.array([np.zeros((d, k)), np.full((d, k), -1.0), np.full((d, k), np.inf)])


def _numbers(leaf: Any, names: Sequence[Hashable], known: Iterable[tuple[int, Any]], k: int) -> np.ndarray:
    numbers = _no_numbers(len(names), k)
    for c, key in known:
        for d, name in enumerate(names):
            density = _density(leaf, name, key)
            if density is not None:
                mean, variance = density
                numbers[:, d, c] = mean, -2.0 * variance, 0.5 * math.log(variance)
    return numbers


def _order(leaf: Any, slots: Mapping[Hashable, int]) -> list[int]:
    stranger = next((name for name in leaf.splitters if name not in slots), None)
    if stranger is not None:
        raise NotExportable(type(leaf).__name__, f'the schema has no feature "{stranger}"')
    return list(dict.fromkeys((*(slots[name] for name in leaf.splitters), *slots.values())))


def _priors(leaf: Any, keys: Sequence[Any]) -> list[float]:
    total, weights = sum(leaf.stats.values()), [leaf.stats.get(key) for key in keys]
    return [-math.inf if weight is None else math.log(weight / total) if weight > 0 else 0.0 for weight in weights]


def _density(leaf: Any, name: Hashable, key: Any) -> tuple[float, float] | None:
    """Mean and variance of a feature in a class, where River has them."""
    splitter = leaf.splitters.get(name)
    if splitter is None:
        return None
    if type(splitter) is not GaussianSplitter:
        raise NotExportable(type(splitter).__name__, "naive Bayes leaves need Gaussian splitters for numbers")
    gaussian = splitter._att_dist_per_class.get(key)
    if gaussian is None or gaussian._var.mean.n <= gaussian._var.ddof:
        return None
    variance = gaussian._var._S / (gaussian._var.mean.n - gaussian._var.ddof)
    return (float(gaussian._var.mean._mean), float(variance)) if variance > 0.0 else None


def _text_shares(leaf: Any, name: str, key: Any) -> Iterable[tuple[str, float]]:
    splitter = leaf.splitters.get(name)
    if splitter is not None and not isinstance(splitter, NominalSplitterClassif):
        raise NotExportable(type(splitter).__name__, "naive Bayes leaves need nominal splitters for categories")
    counts = {} if splitter is None else splitter._att_dist_per_class.get(key, {})
    total = sum(counts.values())
    return ((value, weight / total) for value, weight in counts.items() if total and weight / total > 0)
