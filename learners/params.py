"""What `params` may hold for each algorithm, with ranges, defaults and their reasons.

Apart from the libraries they configure, so that a configuration is checked without seconds of imports.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(gt=0, lt=1)]
Count = Annotated[int, Meta(ge=1)]


class LogisticSgd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stochastic gradient descent on the log loss."""

    learning_rate: Positive = 0.01
    l2: NotNegative = 0.0
    intercept_lr: NotNegative = 0.01
    clip_gradient: Positive = 1e12


class SoftmaxSgd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stochastic gradient descent on the cross entropy."""

    learning_rate: Positive = 0.01
    l2: NotNegative = 0.0


class LinearSgd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stochastic gradient descent on the squared loss of the standardised target."""

    learning_rate: Positive = 0.01
    l2: NotNegative = 0.0
    intercept_lr: NotNegative = 0.01
    clip_gradient: Positive = 1.0
    """In standard deviations of the target. River's default, none, diverges to a mean error of 1e12 rentals on the
    bike sharing stream; 1 gives 91, 4 gives 98."""


class GaussianBayes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to set."""


class Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """River's defaults, but for the depth, which keeps recursion (pickle, export) within Python's limit."""

    grace_period: Count = 200
    max_depth: Annotated[int, Meta(ge=1, le=100)] = 50
    delta: Share = 1e-7
    tau: Share = 0.05
    binary_split: bool = False
    remove_poor_attrs: bool = False
    merit_preprune: bool = True


class TreeClassifier(Tree, frozen=True, forbid_unknown_fields=True):
    """Adds what leaves answer, and how splits of classes are compared."""

    leaf_prediction: Literal["nba", "nb", "mc"] = "nba"
    """The leaf's class shares, naive Bayes, or in each leaf whichever of the two has been right more often."""
    split_criterion: Literal["info_gain", "gini", "hellinger"] = "info_gain"
    min_branch_fraction: Share = 0.01
    max_share_to_split: Share = 0.99


class TreeRegressor(Tree, frozen=True, forbid_unknown_fields=True):
    """Adds how many rows each branch of a split must have."""

    min_samples_split: Count = 5


class Forest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """River's adaptive random forest, with its defaults, but for the depth."""

    n_models: Annotated[int, Meta(ge=1, le=100)] = 10
    max_features: Count | Literal["sqrt", "log2"] = "sqrt"
    lambda_value: Count = 6
    grace_period: Count = 50
    max_depth: Annotated[int, Meta(ge=1, le=100)] = 50
    delta: Share = 0.01
    tau: Share = 0.05
    binary_split: bool = False


class ForestClassifier(Forest, frozen=True, forbid_unknown_fields=True):
    """Adds what leaves answer, and how splits of classes are compared."""

    leaf_prediction: Literal["nba", "nb", "mc"] = "nba"
    split_criterion: Literal["info_gain", "gini", "hellinger"] = "info_gain"


class ForestRegressor(Forest, frozen=True, forbid_unknown_fields=True):
    """Adds how the trees' answers become one."""

    aggregation_method: Literal["median", "mean"] = "median"


class Logistic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """scikit-learn's LogisticRegression; more iterations than its 100, which often do not suffice."""

    C: Positive = 1.0
    max_iter: Count = 1000


class Ridge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """scikit-learn's Ridge."""

    alpha: NotNegative = 1.0


class Boosting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """scikit-learn's HistGradientBoosting. It never stops early: its validation rows would be drawn across time."""

    learning_rate: Positive = 0.1
    max_iter: Count = 100
    max_leaf_nodes: Annotated[int, Meta(ge=2)] = 31
    max_depth: Count | None = None
    min_samples_leaf: Count = 20
    l2_regularization: NotNegative = 0.0
    max_bins: Annotated[int, Meta(ge=2, le=255)] = 255
