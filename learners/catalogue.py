"""What `algorithm = "..."` may say in tiltyard.toml, for which kind of learner and label, with which params."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from contracts.config import ConfigError, Learner, Model
from contracts.schema import Schema, Task
from learners import params

if TYPE_CHECKING:
    from learners.online import OnlineLearner

Kind = Literal["online", "batch"]


@dataclass(frozen=True)
class Recipe:
    """How one algorithm is built for one task: its params, and the name of its builder in `zoo` or `batch_zoo`."""

    params: type[msgspec.Struct]
    build: str
    numbers_only: bool = False


_BAYES = Recipe(params.GaussianBayes, "gaussian", numbers_only=True)
_TREE = Recipe(params.TreeClassifier, "tree_classifier")
_FOREST = Recipe(params.ForestClassifier, "forest_classifier")
_BOOSTING = Recipe(params.Boosting, "boosting_classifier")
_LOGISTIC = Recipe(params.Logistic, "logistic")

RECIPES: dict[Kind, dict[str, dict[Task, Recipe]]] = {
    "online": {
        "linear": {
            "binary": Recipe(params.LogisticSgd, "logistic"),
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

    recipe = _recipe(learner, schema, "online")
    model = getattr(zoo, recipe.build)(schema, _params(learner, recipe), learner.seed)
    return OnlineLearner(name or learner.algorithm, model, schema)


def build_batch(learner: Learner, schema: Schema, seed: int | None = None) -> Any:
    """An unfitted scikit-learn pipeline for `batch_zoo.table`; `seed` replaces the learner's. Raises ConfigError."""
    from learners import batch_zoo

    recipe = _recipe(learner, schema, "batch")
    build = getattr(batch_zoo, recipe.build)
    return build(schema, _params(learner, recipe), learner.seed if seed is None else seed)


def check(model: Model) -> None:
    """Raises ConfigError, naming the key, when a learner of the model cannot be built."""
    for name, learner in model.learners.items():
        try:
            _params(learner, _recipe(learner, model.schema, learner.kind))
        except ConfigError as error:
            raise ConfigError(f"learners.{name}.{error}") from None


def _recipe(learner: Learner, schema: Schema, kind: Kind) -> Recipe:
    task, name, other = schema.label.task, learner.algorithm, "batch" if kind == "online" else "online"
    if learner.kind != kind:
        raise ConfigError(f'kind: "{name}" is configured as {learner.kind}, not {kind}')
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
    return recipe


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
