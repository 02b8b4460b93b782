"""What a learner may be in tiltyard.toml: an `algorithm` of these, for which kind and label, with which params.

Or a `learner` of one's own, which is built here too.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from contracts.config import Learner, Model
from contracts.quantities import ConfigError
from contracts.schema import Schema, Task
from learners import params, user

if TYPE_CHECKING:
    from learners.online import OnlineLearner

Kind = Literal["online", "batch"]


@dataclass(frozen=True)
class Recipe:
    """How one algorithm is built for one task: its params, and the name of its builder in `zoo` or `batch_zoo`."""

    params: type[msgspec.Struct]
    build: str
    numbers_only: bool = False
    learns_many: bool = False
    """Whether River can take it a mini-batch at a time."""


_BAYES = Recipe(params.GaussianBayes, "gaussian", numbers_only=True, learns_many=True)
_TREE = Recipe(params.TreeClassifier, "tree_classifier")
_FOREST = Recipe(params.ForestClassifier, "forest_classifier")
_BOOSTING = Recipe(params.Boosting, "boosting_classifier")
_LOGISTIC = Recipe(params.Logistic, "logistic")

RECIPES: dict[Kind, dict[str, dict[Task, Recipe]]] = {
    "online": {
        "linear": {
            "binary": Recipe(params.LogisticSgd, "logistic", learns_many=True),
            "multiclass": Recipe(params.SoftmaxSgd, "softmax"),
            "regression": Recipe(params.LinearSgd, "linear"),
        },
        "naive_bayes": {"binary": _BAYES, "multiclass": _BAYES},
        "hoeffding_tree": {
            "binary": _TREE,
            "multiclass": _TREE,
            "regression": Recipe(params.TreeRegressor, "tree_regressor"),
        },
        "adaptive_random_forest": {
            "binary": _FOREST,
            "multiclass": _FOREST,
            "regression": Recipe(params.ForestRegressor, "forest_regressor"),
        },
    },
    "batch": {
        "linear": {
            "binary": _LOGISTIC,
            "multiclass": _LOGISTIC,
            "regression": Recipe(params.Ridge, "ridge"),
        },
        "hist_gradient_boosting": {
            "binary": _BOOSTING,
            "multiclass": _BOOSTING,
            "regression": Recipe(params.Boosting, "boosting_regressor"),
        },
    },
}


def build_online(learner: Learner, schema: Schema, name: str = "") -> "OnlineLearner":
    """A fresh online learner, called `name` (else its algorithm) in errors. Raises ConfigError."""
    # River takes seconds to import, and scikit-learn below: `check` runs without them.
    from learners import zoo
    from learners.online import OnlineLearner

    _refuse_other(learner, "online")
    if learner.learner:
        model = user.build(learner, schema, learner.seed)
    else:
        recipe = _recipe(learner, schema)
        model = getattr(zoo, recipe.build)(schema, _params(learner, recipe), learner.seed)
    return OnlineLearner(name or learner.named, model, schema, learner.mini_batch)


def build_batch(learner: Learner, schema: Schema, seed: int | None = None) -> Any:
    """An unfitted scikit-learn pipeline for `batch_zoo.table`; `seed` replaces the learner's. Raises ConfigError."""
    from learners import batch_zoo

    _refuse_other(learner, "batch")
    seed = learner.seed if seed is None else seed
    if learner.learner:
        return user.build(learner, schema, seed)
    recipe = _recipe(learner, schema)
    return getattr(batch_zoo, recipe.build)(schema, _params(learner, recipe), seed)


def check(model: Model) -> None:
    """Raises ConfigError, naming the key, when a learner of the model cannot be built, or has no exact ONNX graph.

    Algorithms of the catalogue are known, and cost no import of their libraries; one's own are built and tried.
    """
    for name, learner in model.learners.items():
        try:
            if learner.learner:
                from learners import trial

                trial.refuse_unfit(learner, model.schema)
            else:
                _params(learner, _recipe(learner, model.schema))
        except ConfigError as error:
            raise ConfigError(f"learners.{name}.{error}") from None


def _refuse_other(learner: Learner, kind: Kind) -> None:
    if learner.kind != kind:
        raise ConfigError(f'kind: "{learner.named}" is configured as {learner.kind}, not {kind}')


def _recipe(learner: Learner, schema: Schema) -> Recipe:
    task, name, kind = schema.label.task, learner.algorithm, learner.kind
    other = "batch" if kind == "online" else "online"
    known = RECIPES[kind]
    if name not in known:
        if name in RECIPES[other]:  # type: ignore[index]  # the other of two kinds
            raise ConfigError(f'algorithm: "{name}" does not learn {kind}; set kind = "{other}"')
        raise ConfigError(f'algorithm: there is no {kind} "{name}"{_nearest(name, known)}')
    if task not in known[name]:
        raise ConfigError(f'algorithm: "{name}" does not fit a {task} label; it fits {", ".join(known[name])}')
    recipe = known[name][task]
    if recipe.numbers_only and schema.categorical_names:
        category = schema.categorical_names[0]
        raise ConfigError(
            f'algorithm: "{name}" reads numbers only, and "{category}" is a category; a "hoeffding_tree" reads both'
        )
    if learner.mini_batch is not None:
        _refuse_mini_batch(learner, schema, recipe)
    return recipe


def _refuse_mini_batch(learner: Learner, schema: Schema, recipe: Recipe) -> None:
    unfit = next((one.name for one in schema.features if one.is_category or one.optional), None)
    if not recipe.learns_many:
        known = [name for name, of in RECIPES["online"].items() if any(one.learns_many for one in of.values())]
        reason = f'"{learner.algorithm}" has no learn_many for a {schema.label.task} label; known are'
        raise ConfigError(f"mini_batch: {reason} {' and '.join(known)}, for classes")
    if unfit is not None:
        raise ConfigError(
            f'mini_batch: needs numbers that are always there, which "{unfit}" is not; leave mini_batch out'
        )


def _params(learner: Learner, recipe: Recipe) -> msgspec.Struct:
    fields = recipe.params.__struct_fields__
    for key in learner.params:
        if key not in fields:
            raise ConfigError(f'params: "{learner.algorithm}" has no "{key}"{_nearest(key, fields)}')
    try:
        return msgspec.convert(learner.params, recipe.params)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise ConfigError(f"params{path.rstrip('`')}: {reason}") from None


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f'; did you mean "{close[0]}"?' if close else f"; known are {', '.join(sorted(known))}"
