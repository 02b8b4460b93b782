"""The River pipelines behind the catalogue's names."""

from numbers import Number
from typing import Any

import msgspec
from river import base, compose, forest, linear_model, naive_bayes, optim, preprocessing, tree
from river.forest.adaptive_random_forest import BaseTreeClassifier
from river.tree.nodes.arf_htc_nodes import (
    RandomLeafMajorityClass,
    RandomLeafNaiveBayes,
    RandomLeafNaiveBayesAdaptive,
)
from river.tree.nodes.htc_nodes import LeafMajorityClass, LeafNaiveBayes, LeafNaiveBayesAdaptive
from river.tree.splitter import TEBSTSplitter
from river.tree.splitter.nominal_splitter_classif import NominalSplitterClassif

from contracts.schema import Schema
from learners import params

# River measures its trees with sys.getsizeof, which differs before and after a checkpoint: growth would depend on
# crashes. 2^53 labels never come.
_NEVER = 2**53


class Categories(base.Transformer):
    """Each text feature as a 0/1 feature with the key (feature, value).

    River's OneHotEncoder keys them "feature_value", so that category "dep" with the value "delay" would overwrite a
    number called "dep_delay".
    """

    def transform_one(self, x: dict[Any, Any]) -> dict[Any, Any]:
        """Only the keys of the values at hand: a category not there is 0 to a linear model."""
        return {(name, value): 1 for name, value in x.items() if isinstance(value, str)}


class OrderedTreeClassifier(tree.HoeffdingTreeClassifier):
    """River's Hoeffding tree whose category splits do not depend on PYTHONHASHSEED."""

    def _new_leaf(self, initial_stats: Any = None, parent: Any = None) -> Any:
        return _ordered(super()._new_leaf(initial_stats, parent))  # type: ignore[no-untyped-call]


def _ordered(leaf: Any) -> Any:
    """A new leaf of River's, which will observe categories in order."""
    leaf.__class__ = _ORDERED[type(leaf)]
    return leaf


class OrderedForestTree(BaseTreeClassifier):
    """The same for a member of a forest."""

    def _new_leaf(self, initial_stats: Any = None, parent: Any = None) -> Any:
        return _ordered(super()._new_leaf(initial_stats, parent))  # type: ignore[no-untyped-call]


class OrderedForestClassifier(forest.ARFClassifier):
    """River's adaptive random forest of such trees."""

    def _new_base_model(self) -> Any:
        member = super()._new_base_model()  # type: ignore[no-untyped-call]
        member.__class__ = OrderedForestTree
        return member


class _Ordered:
    @staticmethod
    def new_nominal_splitter() -> Any:
        return _OrderedSplitter()


class _OrderedLeaf(_Ordered, LeafMajorityClass):
    pass


class _OrderedBayesLeaf(_Ordered, LeafNaiveBayes):
    pass


class _OrderedAdaptiveLeaf(_Ordered, LeafNaiveBayesAdaptive):
    pass


class _OrderedRandomLeaf(_Ordered, RandomLeafMajorityClass):
    pass


class _OrderedRandomBayesLeaf(_Ordered, RandomLeafNaiveBayes):
    pass


class _OrderedRandomAdaptiveLeaf(_Ordered, RandomLeafNaiveBayesAdaptive):
    pass


_ORDERED: dict[type, type] = {
    RandomLeafMajorityClass: _OrderedRandomLeaf,
    RandomLeafNaiveBayes: _OrderedRandomBayesLeaf,
    RandomLeafNaiveBayesAdaptive: _OrderedRandomAdaptiveLeaf,
    LeafMajorityClass: _OrderedLeaf,
    LeafNaiveBayes: _OrderedBayesLeaf,
    LeafNaiveBayesAdaptive: _OrderedAdaptiveLeaf,
}


class _OrderedSplitter(NominalSplitterClassif):
    """Tries values in the order they were first seen; River's set gives ties to whichever hash comes first."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._att_values: Any = _OrderedSet()

    def cond_proba(self, att_val: Any, target_val: Any) -> float:
        """River's, but asking does not make an entry for a class that was never seen."""
        if target_val not in self._att_dist_per_class:
            return 0.0
        return float(super().cond_proba(att_val, target_val))  # type: ignore[no-untyped-call]


class _OrderedSet(dict[Any, None]):
    def add(self, value: Any) -> None:
        self[value] = None


def logistic(schema: Schema, options: params.LogisticSgd, seed: int) -> Any:
    """Standardised numbers and one-hot categories into a logistic regression."""
    model = linear_model.LogisticRegression(
        optimizer=optim.SGD(options.learning_rate),
        l2=options.l2,
        intercept_lr=options.intercept_lr,
        clip_gradient=options.clip_gradient,
    )
    return _standardised(schema) | model


def softmax(schema: Schema, options: params.SoftmaxSgd, seed: int) -> Any:
    """Standardised numbers and one-hot categories into a softmax regression."""
    return _standardised(schema) | linear_model.SoftmaxRegression(optim.SGD(options.learning_rate), l2=options.l2)


def linear(schema: Schema, options: params.LinearSgd, seed: int) -> Any:
    """Standardised numbers and one-hot categories into a linear regression of the standardised target."""
    model = linear_model.LinearRegression(
        optimizer=optim.SGD(options.learning_rate),
        l2=options.l2,
        intercept_lr=options.intercept_lr,
        clip_gradient=options.clip_gradient,
    )
    return _standardised(schema) | preprocessing.TargetStandardScaler(model)


def gaussian(schema: Schema, options: params.GaussianBayes, seed: int) -> Any:
    """A Gaussian for each number and class."""
    return naive_bayes.GaussianNB()  # type: ignore[no-untyped-call]


def tree_classifier(schema: Schema, options: params.TreeClassifier, seed: int) -> Any:
    """A Hoeffding tree that reads features as they are."""
    return OrderedTreeClassifier(memory_estimate_period=_NEVER, **msgspec.structs.asdict(options))


def tree_regressor(schema: Schema, options: params.TreeRegressor, seed: int) -> Any:
    """A Hoeffding tree that answers means of its leaves.

    Numbers are scaled to [0, 1] and rounded to two digits before splits are weighed: at most 101 candidates for a
    feature of any scale, where River's default (one digit of the raw number) finds none below 0.1 and grows without
    bound above.
    """
    model = tree.HoeffdingTreeRegressor(
        leaf_prediction="mean",
        splitter=TEBSTSplitter(digits=2),
        memory_estimate_period=_NEVER,
        **msgspec.structs.asdict(options),
    )
    return _prepared(schema, preprocessing.MinMaxScaler(), compose.SelectType(str)) | model


def forest_classifier(schema: Schema, options: params.ForestClassifier, seed: int) -> Any:
    """An adaptive random forest that reads features as they are."""
    return OrderedForestClassifier(memory_estimate_period=_NEVER, **msgspec.structs.asdict(options), seed=seed)


def forest_regressor(schema: Schema, options: params.ForestRegressor, seed: int) -> Any:
    """An adaptive random forest that answers the median of its trees, each the mean of a leaf."""
    model = forest.ARFRegressor(
        leaf_prediction="mean",
        splitter=TEBSTSplitter(digits=2),
        memory_estimate_period=_NEVER,
        **msgspec.structs.asdict(options),
        seed=seed,
    )
    return _prepared(schema, preprocessing.MinMaxScaler(), compose.SelectType(str)) | model


def _standardised(schema: Schema) -> Any:
    return _prepared(schema, preprocessing.StandardScaler(), Categories())


def _prepared(schema: Schema, numbers: Any, categories: Any) -> Any:
    if not schema.categorical_at:
        return numbers
    if not schema.numeric_at:
        return categories
    return (compose.SelectType(Number) | numbers) + categories
