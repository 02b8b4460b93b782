"""River's naive Bayes classifiers as graphs: log priors plus log likelihoods, normalised."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto

from learners.export.frame import Frame, NotExportable, Numbers
from learners.export.linear import linear
from learners.online import class_keys

# What River adds to every density and share.
_EPSILON = 10e-10


def gaussian(model: Any, frame: Frame) -> str:
    """double[n, k]: a missing number says nothing, one without a density as little as a density of 0."""
    graph = frame.graph
    if frame.texts or frame.hot:
        raise NotExportable("GaussianNB", "categories would reach it; select the numbers first")
    priors = graph.weight("priors", _priors(model, frame))
    if not frame.numbers:
        return graph.normalised(graph.constant_scores(priors), 1)
    numbers = graph.add("Unsqueeze", frame.joined().tensor, graph.constant([2], np.int64))
    means, sigmas = _gaussians(model, frame)
    sigma = graph.weight("sigmas", sigmas)
    z = graph.add("Div", graph.add("Sub", numbers, graph.weight("means", means)), sigma)
    power = graph.add("Mul", graph.add("Mul", z, graph.constant(-0.5)), z)
    density = graph.add("Div", graph.add("Exp", power), graph.constant(math.sqrt(2.0 * math.pi)))
    logs = graph.add("Log", graph.add("Add", graph.add("Div", density, sigma), graph.constant(_EPSILON)))
    logs = graph.add("Where", graph.add("IsNaN", logs), graph.constant(0.0), logs)
    likelihoods = graph.add("ReduceSum", logs, graph.constant([1], np.int64), keepdims=0)
    return graph.normalised(graph.add("Add", likelihoods, priors), 1)


def _gaussians(model: Any, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations float64[d, k]; an infinite one makes the density 0."""
    names, keys = [name for block in frame.numbers for name in block.names], class_keys(frame.graph.schema.label)
    means, sigmas = np.zeros((len(names), len(keys))), np.full((len(names), len(keys)), np.inf)
    for c, key in enumerate(keys):
        for d, name in enumerate(names):
            found = model.gaussians.get(key, {}).get(name)
            variance = found._var.get() if found is not None else 0.0
            if variance > 0.0:
                means[d, c], sigmas[d, c] = found.mu, math.sqrt(variance)
    return means, sigmas


def _priors(model: Any, frame: Frame) -> list[float]:
    """Minus infinity for a class that was never seen."""
    keys = class_keys(frame.graph.schema.label)
    return [math.log(model.p_class(key)) if model.class_counts.get(key) else -math.inf for key in keys]


def bernoulli(model: Any, frame: Frame) -> str:
    """double[n, k]: what is missing, or not above the threshold, counts as a feature that is off."""
    if frame.hot and not 0.0 <= model.true_threshold < 1.0:
        raise NotExportable("BernoulliNB", "one-hot features need a true_threshold from 0 to below 1")
    biases, columns = _priors(model, frame), []
    for c, key in enumerate(class_keys(frame.graph.schema.label)):
        shares = (
            {name: model.p_feature_given_class(name, key) for name in model.feature_counts} if _seen(model, key) else {}
        )
        off = {name: math.log(_EPSILON + (1.0 - share)) for name, share in shares.items()}
        biases[c] += sum(off.values())
        columns.append({name: math.log(_EPSILON + share) - off[name] for name, share in shares.items()})
    votes = linear("BernoulliNB", _above(frame, model.true_threshold), columns, biases)
    return frame.graph.normalised(votes, 1)


def _above(frame: Frame, threshold: float) -> Frame:
    """Numbers as 1 above the threshold, else 0."""
    graph, blocks = frame.graph, []
    for block in frame.numbers:
        is_above = graph.add("Greater", frame.divided(block), graph.constant(threshold))
        blocks.append(Numbers(graph.add("Cast", is_above, to=TensorProto.DOUBLE), block.names, block.types))
    return replace(frame, numbers=tuple(blocks))


def multinomial(model: Any, frame: Frame) -> str:
    """double[n, k]: features are frequencies."""

    def weights(key: Any) -> dict[Hashable, float]:
        return {name: math.log(model.p_feature_given_class(name, key)) for name in _names(frame)}

    return _frequencies(model, frame, weights, _priors(model, frame))


def complement(model: Any, frame: Frame) -> str:
    """double[n, k]: features are frequencies; River leaves the prior out."""

    def weights(key: Any) -> dict[Hashable, float]:
        others = {
            name: model.feature_totals[name] + model.alpha - counts.get(key, 0)
            for name, counts in model.feature_counts.items()
        }
        total = sum(others.values())
        return {name: -math.log(others.get(name, model.alpha) / total) for name in _names(frame)}

    keys = class_keys(frame.graph.schema.label)
    return _frequencies(model, frame, weights, [0.0 if _seen(model, key) else -math.inf for key in keys])


def _frequencies(model: Any, frame: Frame, weights: Any, biases: list[float]) -> str:
    name = type(model).__name__
    if frame.hot:
        raise NotExportable(name, "to it, a category never seen has a weight; select the numbers first")
    keys = class_keys(frame.graph.schema.label)
    try:
        columns: list[Mapping[Hashable, float]] = [weights(key) if _seen(model, key) else {} for key in keys]
    except (ValueError, ZeroDivisionError):
        raise NotExportable(name, "a feature's total is not positive, so that its logarithm does not exist") from None
    return frame.graph.normalised(linear(name, frame, columns, biases), 1)


def _seen(model: Any, key: Any) -> bool:
    return bool(model.class_counts.get(key))


def _names(frame: Frame) -> list[Hashable]:
    return [name for block in frame.numbers for name in block.names]
