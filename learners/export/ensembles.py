"""River's ensembles as graphs: members' votes, weighed as River weighs them, in shares of their sum.

Trees are one TreeEnsemble together, whatever their number: one row costs little more than with a single tree.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from river import linear_model

from learners.export import leaves, trees
from learners.export.frame import Frame, NotExportable, Numbers
from learners.online import class_keys

Emit = Callable[[Any, Frame], str]
"""Exports a member: double[n, k] of votes, zeros where it has no opinion; or double[n, 1] of values."""

_READ_ABSENT_AS_ZERO = (
    linear_model.LogisticRegression,
    linear_model.Perceptron,
    linear_model.PAClassifier,
    linear_model.SoftmaxRegression,
)


def forest_classifier(model: Any, frame: Frame, emit: Emit, alone: bool) -> str:
    """double[n, k] of an adaptive random forest: members are weighed by their metric."""
    return _shares(frame, list(model), _by_metric(model, model._metrics), emit, alone)


def forest_regressor(model: Any, frame: Frame, emit: Emit) -> str:
    """double[n, 1]: the median, or the mean, which River divides by the members' number once more when weighed."""
    if not len(model):
        return frame.graph.constant_scores(frame.graph.constant([0.0]))
    values = _values(frame, list(model), emit)
    if model.aggregation_method != "mean":
        return _median(frame, values, len(model))
    errors = np.array([float(metric.get()) for metric in model._metrics])
    if model.disable_weighted_vote or errors.sum() == 0:
        return _mean(frame, values)
    weights = errors.sum() - errors
    if not weights.sum() > 0:
        raise NotExportable("ARFRegressor", "with one member, its weighted mean does not exist")
    return _mean(frame, frame.graph.add("Mul", values, frame.graph.weight("members", weights / weights.sum())))


def patches_classifier(model: Any, frame: Frame, emit: Emit, alone: bool) -> str:
    """double[n, k] of streaming random patches, each member with features of its own."""
    metrics = [member.metric for member in model.models]
    members, of_its_features = _patches(model, emit)
    return _shares(frame, members, _by_metric(model, metrics), of_its_features, alone)


def patches_regressor(model: Any, frame: Frame, emit: Emit) -> str:
    """double[n, 1]: the mean or the median; weighed by how much smaller a member's error is than the greatest."""
    if not model.models:
        return frame.graph.constant_scores(frame.graph.constant([0.0]))
    members, of_its_features = _patches(model, emit)
    values = _values(frame, members, of_its_features)
    if model.aggregation_method == "median":
        return _median(frame, values, len(members))
    if model.disable_weighted_vote:
        return _mean(frame, values)
    weights = np.maximum([float(member.metric.get()) for member in model.models], 0.0)
    if not model.metric.bigger_is_better:
        weights = weights.max() - weights
    total = weights.sum()
    return _weighed(frame, values, weights / total if total else weights)


def _patches(model: Any, emit: Emit) -> tuple[list[Any], Emit]:
    """What to export, and how: trees look at no other features than their own anyway."""

    def of_its_features(member: Any, frame: Frame) -> str:
        features = member.features
        return emit(member.model, frame if features is None else frame.only(lambda name, _: name in features))

    estimators = [member.model for member in model.models]
    return (estimators, emit) if _are_trees(estimators) else (model.models, of_its_features)


def bagging_classifier(model: Any, frame: Frame, emit: Emit, alone: bool) -> str:
    """double[n, k]: every member weighs the same."""
    return _shares(frame, list(model), [1.0] * len(model), emit, alone)


def bagging_regressor(model: Any, frame: Frame, emit: Emit) -> str:
    """double[n, 1]: the mean."""
    return _mean(frame, _values(frame, list(model), emit))


def averaging_regressor(model: Any, frame: Frame, emit: Emit) -> str:
    """double[n, 1] of EWARegressor: the sum of the members' values, each times its weight."""
    return _weighed(frame, _values(frame, list(model), emit), model.weights)


def stacked(model: Any, frame: Frame, emit: Emit) -> Frame:
    """What the meta-classifier of a stack reads: the members' probabilities beside the features."""
    name = type(model).__name__
    if type(model.meta_classifier) not in _READ_ABSENT_AS_ZERO:
        raise NotExportable(
            name, "its meta-classifier must be linear; others tell an absent class from an improbable one"
        )
    features = frame if model.include_features else Frame(frame.graph)
    keys, taken = class_keys(frame.graph.schema.label), {name for block in features.numbers for name in block.names}
    blocks = []
    for i, member in enumerate(model):
        names = tuple(f"oof_{i}_{key}" for key in keys)
        if not taken.isdisjoint(names):
            raise NotExportable(name, f'a feature is called "oof_{i}_...", as a member\'s probability is; rename it')
        blocks.append(Numbers(emit(member, frame), names, (float,) * len(names)))
    return replace(features, numbers=(*blocks, *features.numbers))


def boosting_classifier(model: Any, frame: Frame, emit: Emit, alone: bool) -> str:
    """double[n, k] of AdaBoost: members are weighed by the logarithm of their odds of being right."""
    weights = [_boosted(model.correct_weight.get(i, 0), model.wrong_weight.get(i, 0)) for i in range(len(model))]
    return _shares(frame, list(model), weights, emit, alone)


def _boosted(correct: float, wrong: float) -> float:
    epsilon = (wrong + 1e-16) / (correct + wrong + 1e-16)
    return 1.0 if epsilon == 0 or epsilon > 0.5 else math.log((1 - epsilon) / epsilon)


def _by_metric(model: Any, metrics: Sequence[Any]) -> list[float]:
    values = [float(metric.get()) for metric in metrics]
    return [1.0 if model.disable_weighted_vote or value <= 0.0 else value for value in values]


def _shares(frame: Frame, members: Sequence[Any], weights: Sequence[float], emit: Emit, alone: bool) -> str:
    """Weighed votes over their sum; without any vote zeros, or if `alone` equal probabilities."""
    graph, width = frame.graph, frame.graph.schema.label.width
    nothing = graph.constant([1 / width if alone else 0.0] * width)
    if not members:
        return graph.constant_scores(nothing)
    weighed = graph.add("Mul", _votes(frame, members, emit), graph.weight("members", np.array(weights)[:, np.newaxis]))
    axis = graph.constant([1], np.int64)
    votes = graph.add("ReduceSum", weighed, axis, keepdims=0)
    total = graph.add("ReduceSum", votes, axis)
    voted = graph.add("Greater", total, graph.constant(0.0))
    return graph.add("Where", voted, graph.add("Div", votes, total), nothing)


def _votes(frame: Frame, members: Sequence[Any], emit: Emit) -> str:
    """double[n, t, k]"""
    if _are_trees(members):
        return leaves.classes(trees.leaves(frame, [member._root for member in members]), members[0], alone=False)
    axis = frame.graph.constant([1], np.int64)
    each = [frame.graph.add("Unsqueeze", emit(member, frame), axis) for member in members]
    return frame.graph.add("Concat", *each, axis=1)


def _values(frame: Frame, members: Sequence[Any], emit: Emit) -> str:
    """double[n, t]"""
    if _are_trees(members):
        return leaves.values(trees.leaves(frame, [member._root for member in members]), members[0])
    return frame.graph.add("Concat", *(emit(member, frame) for member in members), axis=1)


def _are_trees(members: Sequence[Any]) -> bool:
    """Whether all are Hoeffding trees whose leaves answer alike, and not some other tree derived from them."""
    if not members or not all(type(member) in trees.PLAIN for member in members):
        return False
    return len({(member.leaf_prediction, getattr(member, "nb_threshold", 0)) for member in members}) == 1


def _weighed(frame: Frame, values: str, weights: Any) -> str:
    """double[n, 1]: the sum of values double[n, t], each times its weight."""
    terms = frame.graph.add("Mul", values, frame.graph.weight("members", weights))
    return frame.graph.add("ReduceSum", terms, frame.graph.constant([1], np.int64))


def _mean(frame: Frame, values: str) -> str:
    return frame.graph.add("ReduceMean", values, frame.graph.constant([1], np.int64))


def _median(frame: Frame, values: str, width: int) -> str:
    """The middle one, or the mean of the middle two."""
    middle = frame.graph.constant(range((width - 1) // 2, width // 2 + 1), np.int64)
    return _mean(frame, frame.graph.add("Gather", frame.graph.ordered(values, width), middle, axis=1))
