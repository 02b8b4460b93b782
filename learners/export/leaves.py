"""What the leaves of River's trees say, for every leaf of every tree at once."""

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto
from river import linear_model, optim
from river.tree.nodes.htc_nodes import LeafMajorityClass, LeafNaiveBayes, LeafNaiveBayesAdaptive
from river.tree.nodes.htr_nodes import LeafAdaptive, LeafMean, LeafModel
from river.tree.splitter import GaussianSplitter
from river.tree.splitter.nominal_splitter_classif import NominalSplitterClassif

from contracts.schema import Label
from learners.export.frame import NotExportable
from learners.export.trees import Leaves
from learners.online import class_keys, class_scores

_HALF_LOG_TAU = 0.5 * math.log(math.tau)


def classes(leaves: Leaves, tree: Any, alone: bool) -> str:
    """double[n, t, k]: what each reached leaf says of the classes.

    A leaf without an opinion says zeros, or where the tree is `alone` equal probabilities. Raises NotExportable.
    """
    label = leaves.frame.graph.schema.label
    bayes = [_is_bayes(leaf, tree) for leaf in leaves.nodes]
    shares = [
        _shares({} if leaf is None or by_bayes else leaf.stats, label, alone)
        for leaf, by_bayes in zip(leaves.nodes, bayes, strict=True)
    ]
    table = leaves.look_up("leaves", shares)
    # Whether or not a leaf uses it now: the graph must not change when one begins to.
    return table if tree.leaf_prediction == "mc" else _choice(leaves, bayes, _NaiveBayes(leaves, bayes).emit(), table)


def values(leaves: Leaves, tree: Any) -> str:
    """double[n, t]: what each reached leaf says of the value. Raises NotExportable."""
    kinds = tuple(type(leaf) for leaf in leaves.nodes if leaf is not None and not isinstance(leaf, LeafMean))
    if kinds:
        raise NotExportable(kinds[0].__name__, "this kind of leaf has no exact equivalent")
    means = [0.0 if leaf is None else float(leaf.stats.mean.get()) for leaf in leaves.nodes]
    table = leaves.look_up("leaves", means)
    if tree.leaf_prediction == "mean":
        return table
    return _choice(leaves, [_is_model(leaf) for leaf in leaves.nodes], _linear(leaves), table)


def _choice(leaves: Leaves, flags: list[bool], yes: str, no: str) -> str:
    """`yes` in the leaves that have the flag."""
    graph = leaves.frame.graph
    shape = (-1, 1) if leaves.frame.graph.schema.label.classes else (-1,)
    flag = leaves.look_up("chosen", np.array(flags, np.float64).reshape(shape))
    return graph.add("Where", graph.add("Greater", flag, graph.constant(0.0)), yes, no)


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
    if isinstance(leaf, LeafNaiveBayesAdaptive):
        return bool(leaf._nb_correct_weight >= leaf._mc_correct_weight)
    return isinstance(leaf, LeafNaiveBayes) and bool(leaf.total_weight >= tree.nb_threshold)


class _NaiveBayes:
    """Log priors and log likelihoods, summed in the order in which River sums them.

    The order matters: likelihoods of a value far from a narrow Gaussian are so large that sums of the same terms in
    another order differ by more than what tells two classes apart.
    """

    def __init__(self, leaves: Leaves, bayes: list[bool]):
        self._leaves, self._graph, self._keys = leaves, leaves.frame.graph, class_keys(leaves.frame.graph.schema.label)
        self._nodes = [leaf if by_bayes else None for leaf, by_bayes in zip(leaves.nodes, bayes, strict=True)]
        texts = leaves.frame.graph.schema.categorical_names if leaves.frame.texts else ()
        self._slots: dict[Hashable, int] = {name: i for i, name in enumerate((*leaves.names, *texts))}

    def emit(self) -> str:
        """double[n, t, k]: the probabilities."""
        graph = self._graph
        parts = [self._numbers()] if self._leaves.numbers is not None else []
        parts += [self._texts()] if self._leaves.frame.texts else []
        terms = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=2)
        order = graph.add("Cast", self._leaves.look_up("order", self._order()), to=TensorProto.INT64)
        terms = graph.add("GatherElements", terms, order, axis=2)
        terms = graph.add("Concat", self._leaves.look_up("priors", self._priors()), terms, axis=2)
        sums = graph.add("CumSum", terms, graph.constant(2, np.int64))  # ReduceSum has an order of its own
        votes = graph.add("Gather", sums, graph.constant(-1, np.int64), axis=2)
        return graph.normalised(votes, 2)

    def _classes(self, leaf: Any) -> Iterable[tuple[int, Any]]:
        """The columns and classes whose likelihoods River looks at: a weight of 0 or less is a vote of 0."""
        return ((c, key) for c, key in enumerate(self._keys) if leaf is not None and leaf.stats.get(key, 0.0) > 0)

    def _priors(self) -> np.ndarray:
        """float64[l, 1, k]: minus infinity for a class that the leaf does not know."""
        priors = np.full((len(self._nodes), 1, len(self._keys)), -np.inf)
        for row, leaf in enumerate(self._nodes):
            if leaf is None:
                priors[row] = 0.0
                continue
            total = sum(leaf.stats.values())
            for c, key in enumerate(self._keys):
                weight = leaf.stats.get(key)
                if weight is not None:
                    priors[row, 0, c] = math.log(weight / total) if weight > 0 else 0.0
        return priors

    def _order(self) -> np.ndarray:
        """float64[l, d, k]: the features in the order of the leaf's splitters, then those that it never saw."""
        order = np.empty((len(self._nodes), len(self._slots), len(self._keys)))
        for row, leaf in enumerate(self._nodes):
            names = () if leaf is None else tuple(leaf.splitters)
            stranger = next((name for name in names if name not in self._slots), None)
            if stranger is not None:
                raise NotExportable(type(leaf).__name__, f'the schema has no feature "{stranger}"')
            slots = dict.fromkeys((*(self._slots[name] for name in names), *self._slots.values()))
            order[row] = np.array(list(slots), np.float64)[:, np.newaxis]
        return order

    def _numbers(self) -> str:
        """double[n, t, d, k]: log densities; 0 where missing, or where River has no density or none above 0."""
        graph, leaves = self._graph, self._leaves
        shape = (len(self._nodes), len(leaves.names), len(self._keys))
        # Minus infinity counts as 0.
        means, scales, spreads = np.zeros(shape), np.full(shape, -1.0), np.full(shape, np.inf)
        for row, leaf in enumerate(self._nodes):
            for c, key in self._classes(leaf):
                for d, name in enumerate(leaves.names):
                    density = _density(leaf, name, key)
                    if density is not None:
                        means[row, d, c], variance = density
                        scales[row, d, c], spreads[row, d, c] = -2.0 * variance, 0.5 * math.log(variance)
        assert leaves.numbers is not None
        numbers = graph.add("Unsqueeze", leaves.numbers, graph.constant([1, 3], np.int64))
        distance = graph.add("Sub", numbers, leaves.look_up("means", means))
        powers = graph.add("Div", graph.add("Mul", distance, distance), leaves.look_up("scales", scales))
        logs = graph.add(
            "Sub", graph.add("Sub", powers, graph.constant(_HALF_LOG_TAU)), leaves.look_up("logs", spreads)
        )
        return graph.add("Where", graph.add("Greater", logs, graph.constant(-np.inf)), logs, graph.constant(0.0))

    def _texts(self) -> str:
        """double[n, t, c, k]: log shares; 0 where missing, or never seen in the leaf with the class."""
        graph = self._graph
        shares = self._shares()
        known = {source: i + 1 for i, source in enumerate(dict.fromkeys(source for _, source in shares))}
        width = len(known) + 1
        keys = {row * width + known[source]: i + 1 for i, (row, source) in enumerate(shares)}
        codes = graph.codes_by_feature(known or {(self._leaves.frame.texts[0], ""): 0}, 0, np.int64)
        starts = graph.add("Mul", self._leaves.at, graph.constant(width, np.int64))
        sums = graph.add(
            "Add",
            graph.add("Unsqueeze", starts, graph.constant([2], np.int64)),
            graph.add("Unsqueeze", codes, graph.constant([1], np.int64)),
        )
        table = graph.weight("category_logs", [[0.0] * len(self._keys), *shares.values()])
        return graph.add("Gather", table, graph.rows_of(sums, keys, 0), axis=0)

    def _shares(self) -> dict[tuple[int, tuple[str, str]], list[float]]:
        """The log share of each (leaf, (feature, value)) in each class, if there is any."""
        found: dict[tuple[int, tuple[str, str]], list[float]] = {}
        for row, leaf in enumerate(self._nodes):
            for c, key in self._classes(leaf):
                for name in self._leaves.frame.texts:
                    for value, share in _text_shares(leaf, name, key):
                        logs = found.setdefault((row, (name, value)), [0.0] * len(self._keys))
                        logs[c] = math.log(share)
        return found


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


def _is_model(leaf: Any) -> bool:
    if isinstance(leaf, LeafAdaptive):
        return not leaf._fmse_mean < leaf._fmse_model
    return isinstance(leaf, LeafModel)


def _linear(leaves: Leaves) -> str:
    """double[n, t]: the linear regression of each reached leaf; a missing number counts as 0."""
    graph = leaves.frame.graph
    if leaves.frame.texts:
        raise NotExportable("LeafModel", f'the text feature "{leaves.frame.texts[0]}" would reach its regression')
    assert leaves.numbers is not None
    weights, intercepts = np.zeros((len(leaves.nodes), len(leaves.names))), np.zeros(len(leaves.nodes))
    for row, leaf in enumerate(leaves.nodes):
        if leaf is not None:
            model = _regression(leaf._leaf_model)
            weights[row] = [model.weights.get(name, 0.0) for name in leaves.names]
            intercepts[row] = model.intercept
    if not (np.isfinite(weights).all() and np.isfinite(intercepts).all()):
        raise NotExportable("LinearRegression", "its weights in a leaf are not finite")
    here = graph.add("Where", graph.add("IsNaN", leaves.numbers), graph.constant(0.0), leaves.numbers)
    here = graph.add("Unsqueeze", here, graph.constant([1], np.int64))
    terms = graph.add("Mul", here, leaves.look_up("leaf_weights", weights))
    sums = graph.add("ReduceSum", terms, graph.constant([2], np.int64), keepdims=0)
    return graph.add("Add", sums, leaves.look_up("leaf_biases", intercepts))


def _regression(model: Any) -> Any:
    if type(model) is not linear_model.LinearRegression:
        raise NotExportable(type(model).__name__, "a leaf's model must be a LinearRegression")
    if isinstance(model.loss, optim.losses.Poisson):
        raise NotExportable("Poisson", "the loss of a leaf's regression")
    return model
