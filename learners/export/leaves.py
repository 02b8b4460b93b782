"""What the leaves of River's trees say, for every leaf of every tree at once.

Each leaf's entries are worked out again only when it has learned: its weight tells.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto
from river import linear_model, optim
from river.tree.nodes.htc_nodes import LeafMajorityClass, LeafNaiveBayesAdaptive
from river.tree.nodes.htr_nodes import LeafAdaptive, LeafMean, LeafModel

from contracts.schema import Label
from learners.export.frame import NotExportable
from learners.export.leaf_bayes import LeafBayes, naive_bayes
from learners.export.trees import Leaves
from learners.online import class_keys, class_scores


def classes(leaves: Leaves, tree: Any, alone: bool) -> str:
    """double[n, t, k]: what each reached leaf says of the classes.

    A leaf without an opinion says zeros, or where the tree is `alone` equal probabilities. Raises NotExportable.
    """
    graph, label = leaves.frame.graph, leaves.frame.graph.schema.label
    slots = leaves.slots()

    def entry(leaf: Any) -> tuple[tuple[float, ...], LeafBayes | None]:
        bayes = LeafBayes.of(leaf, leaves, slots) if _is_bayes(leaf, tree) else None
        return _shares({} if leaf is None or bayes is not None else leaf.stats, label, alone), bayes

    shares, bayes = zip(*graph.each("leaves", leaves.nodes, _stamp, entry), strict=True)
    table = leaves.look_up("leaves", shares)
    if tree.leaf_prediction == "mc":
        return table
    # Whether or not a leaf uses it now: the graph must not change when one begins to.
    chosen, at = _some(leaves, [found is not None for found in bayes])
    votes = naive_bayes(leaves, at, [found for found in bayes if found is not None])
    return graph.add("Where", graph.add("Unsqueeze", chosen, graph.constant([2], np.int64)), votes, table)


def values(leaves: Leaves, tree: Any) -> str:
    """double[n, t]: what each reached leaf says of the value. Raises NotExportable."""
    if tree.leaf_prediction != "mean" and leaves.frame.texts:
        raise NotExportable("LeafModel", f'the text feature "{leaves.frame.texts[0]}" would reach its regression')
    graph = leaves.frame.graph
    found = graph.each("leaves", leaves.nodes, _stamp, lambda leaf: _value(leaf, leaves))
    table = leaves.look_up("leaves", [entry.mean for entry in found])
    if tree.leaf_prediction == "mean":
        return table
    chosen, at = _some(leaves, [entry.model is not None for entry in found])
    return graph.add("Where", chosen, _linear(leaves, at, [e.model for e in found if e.model is not None]), table)


def _stamp(leaf: Any) -> Any:
    """Tells states of a leaf apart: whatever it learns has a weight."""
    return None if leaf is None else (leaf.total_weight, leaf.splitters is None)


def _some(leaves: Leaves, flags: Sequence[bool]) -> tuple[str, str]:
    """bool[n, t], whether the reached leaf has its flag, and int64[n, t], which of those with one it is, from 1."""
    graph, here = leaves.frame.graph, np.array(flags, bool)
    at = graph.add("Cast", leaves.look_up("chosen", np.cumsum(here) * here), to=TensorProto.INT64)
    return graph.add("Greater", at, graph.constant(0, np.int64)), at


def _shares(stats: Mapping[Any, float], label: Label, alone: bool) -> tuple[float, ...]:
    """As River normalises them: by the reciprocal."""
    total = sum(stats.values())
    shares = {key: weight * (1 / total) for key, weight in stats.items()} if total else stats
    return class_scores(shares, label) if alone else tuple(float(shares.get(key, 0.0)) for key in class_keys(label))


def _is_bayes(leaf: Any, tree: Any) -> bool:
    """Whether naive Bayes answers, and has an opinion."""
    if leaf is None:
        return False
    if not isinstance(leaf, LeafMajorityClass):
        raise NotExportable(type(leaf).__name__, "this kind of leaf has no exact equivalent")
    if leaf.splitters is None or leaf.total_weight == 0:  # inactive, or empty
        return False
    # The tree tells what leaves answer: those of an adaptive one are of a single type.
    if tree.leaf_prediction == "nb":
        return bool(leaf.total_weight >= tree.nb_threshold)
    if tree.leaf_prediction == "mc" or not isinstance(leaf, LeafNaiveBayesAdaptive):
        return False
    return bool(leaf._nb_correct_weight >= leaf._mc_correct_weight)


class _Value(NamedTuple):
    mean: float
    model: list[float] | None
    """Weights and intercept of its regression, where that answers."""


def _value(leaf: Any, leaves: Leaves) -> _Value:
    if leaf is None:
        return _Value(0.0, None)
    if not isinstance(leaf, LeafMean):
        raise NotExportable(type(leaf).__name__, "this kind of leaf has no exact equivalent")
    model = _regression(leaf, leaves) if _is_model(leaf) else None
    return _Value(float(leaf.stats.mean.get()), model)


def _is_model(leaf: Any) -> bool:
    if isinstance(leaf, LeafAdaptive):
        return not leaf._fmse_mean < leaf._fmse_model
    return isinstance(leaf, LeafModel)


def _regression(leaf: Any, leaves: Leaves) -> list[float]:
    model = leaf._leaf_model
    if type(model) is not linear_model.LinearRegression:
        raise NotExportable(type(model).__name__, "a leaf's model must be a LinearRegression")
    if isinstance(model.loss, optim.losses.Poisson):
        raise NotExportable("Poisson", "the loss of a leaf's regression")
    found = [*(model.weights.get(name, 0.0) for name in leaves.names), model.intercept]
    if not np.isfinite(found).all():
        raise NotExportable("LinearRegression", "its weights in a leaf are not finite")
    return found


def _linear(leaves: Leaves, at: str, models: Sequence[list[float]]) -> str:
    """double[n, t]: the linear regression of each reached leaf; a missing number counts as 0."""
    graph = leaves.frame.graph
    table = np.array([[0.0] * (len(leaves.names) + 1), *models])
    intercepts = graph.add("Gather", graph.table("leaf_biases", table[:, -1]), at, axis=0)
    if leaves.numbers is None:
        return intercepts
    here = graph.add("Where", graph.add("IsNaN", leaves.numbers), graph.constant(0.0), leaves.numbers)
    here = graph.add("Unsqueeze", here, graph.constant([1], np.int64))
    weights = graph.add("Gather", graph.table("leaf_weights", table[:, :-1]), at, axis=0)
    sums = graph.add("ReduceSum", graph.add("Mul", here, weights), graph.constant([2], np.int64), keepdims=0)
    return graph.add("Add", sums, intercepts)
