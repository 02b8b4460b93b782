"""River's estimators as nodes of a graph, by type."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from river import anomaly, ensemble, forest, linear_model, multiclass, naive_bayes, optim, preprocessing, tree
from river.compose import Pipeline

from learners import zoo
from learners.export import adaptive, anomalies, bayes, ensembles, leaves, reductions, trees
from learners.export.frame import Frame, NotExportable
from learners.export.linear import coefficients, linear, sigmoids
from learners.export.refused import REFUSED
from learners.export.transformers import transform
from learners.online import class_keys, class_scores


def emit(model: Any, frame: Frame, alone: bool) -> str:
    """Scores [n, k]. Where there is no opinion, a model that is `alone` answers equal probabilities, else zeros."""
    while type(model) is Pipeline:  # pipelines may end in pipelines
        *steps, model = model.steps.values()
        for step in steps:
            frame = transform(step, frame)
    exporter = _ESTIMATORS.get(type(model))
    if exporter is None:
        reason = REFUSED.get(type(model), f"known estimators are {', '.join(supported())}")
        raise NotExportable(type(model).__name__, reason)
    return exporter(model, frame, alone)


def supported() -> tuple[str, ...]:
    """Names of the estimators that have an exact equivalent."""
    return tuple(sorted(kind.__name__ for kind in _ESTIMATORS))


def _member(model: Any, frame: Frame) -> str:
    return emit(model, frame, alone=False)


def _nothing(frame: Frame, alone: bool) -> str:
    label = frame.graph.schema.label
    scores = class_scores({}, label) if alone else (0.0,) * label.width
    return frame.graph.constant_scores(frame.graph.weight("before", scores))


def _expect(model: Any, frame: Frame, *tasks: str) -> None:
    task = frame.graph.schema.label.task
    if task not in tasks:
        raise NotExportable(type(model).__name__, f"it does not answer a {task} label")


def _expect_classes(model: Any, frame: Frame, classes: Iterable[Any]) -> None:
    keys = class_keys(frame.graph.schema.label)
    stranger = next((key for key in classes if key not in keys), None)
    if stranger is not None:
        raise NotExportable(type(model).__name__, f'it learned the class "{stranger}", which the schema lacks')


def _logistic(model: Any, frame: Frame, alone: bool) -> str:
    """Both classes as logistic functions of the same sum with opposite signs."""
    _expect(model, frame, "binary")
    positive, bias = coefficients(model)
    if not alone:
        return sigmoids(frame.graph, linear(type(model).__name__, frame, [positive], [bias]))
    negative = {key: -value for key, value in positive.items()}
    return frame.graph.add("Sigmoid", linear(type(model).__name__, frame, [negative, positive], [-bias, bias]))


def _softmax(model: Any, frame: Frame, alone: bool) -> str:
    _expect(model, frame, "binary", "multiclass")
    keys = class_keys(frame.graph.schema.label)
    _expect_classes(model, frame, model.weights)
    if not model.weights and not alone:
        return _nothing(frame, alone)
    bias = [0.0 if key in model.weights or not model.weights else -math.inf for key in keys]
    columns = [model.weights.get(key, {}) for key in keys]
    return frame.graph.add("Softmax", linear("SoftmaxRegression", frame, columns, bias), axis=1)


def _regression(model: Any, frame: Frame, alone: bool) -> str:
    _expect(model, frame, "regression")
    column, bias = coefficients(model)
    value = linear(type(model).__name__, frame, [column], [bias])
    return frame.graph.add("Exp", value) if isinstance(model.loss, optim.losses.Poisson) else value


def _standard_target(model: Any, frame: Frame, alone: bool) -> str:
    """River's inverse: the regressor's answer in standard deviations, about the mean."""
    value = emit(model.regressor, frame, alone)
    spread = frame.graph.weight("target_spread", model.var.get() ** 0.5)
    shift = frame.graph.weight("target_shift", model.var.mean.get())
    return frame.graph.add("Add", frame.graph.add("Mul", value, spread), shift)


def _tree_classifier(model: Any, frame: Frame, alone: bool) -> str:
    _expect(model, frame, "binary", "multiclass")
    return _only(frame, leaves.classes(trees.leaves(frame, [model._root]), model, alone))


def _tree_regressor(model: Any, frame: Frame, alone: bool) -> str:
    _expect(model, frame, "regression")
    return leaves.values(trees.leaves(frame, [model._root]), model)


def _adaptive_classifier(model: Any, frame: Frame, alone: bool) -> str:
    _expect(model, frame, "binary", "multiclass")
    return adaptive.classes(model, frame, alone)


def _adaptive_regressor(model: Any, frame: Frame, alone: bool) -> str:
    _expect(model, frame, "regression")
    return adaptive.values(model, frame)


def _only(frame: Frame, scores: str) -> str:
    """[n, k] of the only tree's [n, 1, k]."""
    return frame.graph.add("Squeeze", scores, frame.graph.constant([1], np.int64))


def _naive_bayes(export: Callable[[Any, Frame], str]) -> "Exporter":
    def classifier(model: Any, frame: Frame, alone: bool) -> str:
        _expect(model, frame, "binary", "multiclass")
        _expect_classes(model, frame, model.class_counts)
        return export(model, frame) if model.class_counts else _nothing(frame, alone)

    return classifier


def _classifiers(export: Callable[[Any, Frame, ensembles.Emit, bool], str]) -> "Exporter":
    def classifier(model: Any, frame: Frame, alone: bool) -> str:
        _expect(model, frame, "binary", "multiclass")
        return export(model, frame, _member, alone)

    return classifier


def _voting(model: Any, frame: Frame, alone: bool) -> str:
    """The shares of the sums by which River chooses the label, which is all that it answers."""
    _expect(model, frame, "binary", "multiclass")
    if not model.use_probabilities:
        reason = "each member's own ties go to the class that it met first; let it use_probabilities"
        raise NotExportable("VotingClassifier", reason)
    return ensembles.bagging_classifier(model, frame, _member, alone)


def _stacking(model: Any, frame: Frame, alone: bool) -> str:
    _expect(model, frame, "binary", "multiclass")
    return emit(model.meta_classifier, ensembles.stacked(model, frame, _member), alone)


def _one_vs_rest(model: Any, frame: Frame, alone: bool) -> str:
    _expect(model, frame, "binary", "multiclass")
    _expect_classes(model, frame, model.classifiers)
    return reductions.one_vs_rest(model, frame, _member, alone)


def _one_vs_one(model: Any, frame: Frame, alone: bool) -> str:
    _expect(model, frame, "binary", "multiclass")
    _expect_classes(model, frame, model.classes)
    _expect_no_ties(model)
    return reductions.one_vs_one(model, frame, _member) if model.classifiers else _nothing(frame, alone)


def _output_code(model: Any, frame: Frame, alone: bool) -> str:
    _expect(model, frame, "binary", "multiclass")
    _expect_classes(model, frame, model.code_book)
    _expect_no_ties(model)
    return reductions.output_code(model, frame, _member) if model.code_book else _nothing(frame, alone)


def _expect_no_ties(model: Any) -> None:
    member = model.classifier
    while type(member) is Pipeline:
        member = member[-1]
    if _ESTIMATORS.get(type(member)) is not _logistic:
        raise NotExportable(
            type(model).__name__,
            f"two classes can be equally near for a {type(member).__name__}, and rounding or the order in which it met "
            "them decides; use a linear model, or a OneVsRestClassifier",
        )


def _regressors(export: Callable[[Any, Frame, ensembles.Emit], str]) -> "Exporter":
    def regressor(model: Any, frame: Frame, alone: bool) -> str:
        _expect(model, frame, "regression")
        return export(model, frame, _member)

    return regressor


def _scorer(export: Callable[[Any, Frame], str]) -> "Exporter":
    def scorer(model: Any, frame: Frame, alone: bool) -> str:
        if not frame.graph.schema.label.is_regression:
            reason = "it scores anomalies and answers no label; use a classifier, or a schema with a regression label"
            raise NotExportable(type(model).__name__, reason)
        return export(model, frame)

    return scorer


def _filter(model: Any, frame: Frame, alone: bool) -> str:
    """What it filters by: the score, not whether that is too high."""
    return emit(model.anomaly_detector, frame, alone)


Exporter = Callable[[Any, Frame, bool], str]
_PLAIN: dict[type, Exporter] = {
    kind: _tree_regressor if issubclass(kind, tree.HoeffdingTreeRegressor) else _tree_classifier for kind in trees.PLAIN
}

_ESTIMATORS: dict[type, Exporter] = {
    **_PLAIN,
    tree.HoeffdingAdaptiveTreeClassifier: _adaptive_classifier,
    tree.HoeffdingAdaptiveTreeRegressor: _adaptive_regressor,
    linear_model.LogisticRegression: _logistic,
    linear_model.Perceptron: _logistic,
    linear_model.PAClassifier: _logistic,
    linear_model.SoftmaxRegression: _softmax,
    linear_model.LinearRegression: _regression,
    linear_model.PARegressor: _regression,
    preprocessing.TargetStandardScaler: _standard_target,
    naive_bayes.GaussianNB: _naive_bayes(bayes.gaussian),
    naive_bayes.BernoulliNB: _naive_bayes(bayes.bernoulli),
    naive_bayes.MultinomialNB: _naive_bayes(bayes.multinomial),
    naive_bayes.ComplementNB: _naive_bayes(bayes.complement),
    forest.ARFClassifier: _classifiers(ensembles.forest_classifier),
    zoo.OrderedForestClassifier: _classifiers(ensembles.forest_classifier),
    forest.ARFRegressor: _regressors(ensembles.forest_regressor),
    ensemble.SRPClassifier: _classifiers(ensembles.patches_classifier),
    ensemble.BaggingClassifier: _classifiers(ensembles.bagging_classifier),
    ensemble.ADWINBaggingClassifier: _classifiers(ensembles.bagging_classifier),
    ensemble.LeveragingBaggingClassifier: _classifiers(ensembles.bagging_classifier),
    ensemble.VotingClassifier: _voting,
    ensemble.BaggingRegressor: _regressors(ensembles.bagging_regressor),
    ensemble.SRPRegressor: _regressors(ensembles.patches_regressor),
    ensemble.EWARegressor: _regressors(ensembles.averaging_regressor),
    ensemble.StackingClassifier: _stacking,
    multiclass.OneVsRestClassifier: _one_vs_rest,
    multiclass.OneVsOneClassifier: _one_vs_one,
    multiclass.OutputCodeClassifier: _output_code,
    ensemble.AdaBoostClassifier: _classifiers(ensembles.boosting_classifier),
    ensemble.ADWINBoostingClassifier: _classifiers(ensembles.boosting_classifier),
    anomaly.HalfSpaceTrees: _scorer(anomalies.half_space_trees),
    anomaly.OneClassSVM: _scorer(anomalies.one_class_svm),
    anomaly.ThresholdFilter: _filter,
    anomaly.QuantileFilter: _filter,
}
