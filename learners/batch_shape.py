"""Which scikit-learn pipelines have a graph: those of the two shapes that `batch_zoo` builds, and what fits in them."""

import math
from collections.abc import Callable
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from learners.export.frame import NotExportable


def parts(pipeline: Any) -> tuple[Any, Any]:
    """The steps "columns" and "model", looked at closely: another transformer would be another function."""
    steps = list(pipeline.named_steps.items()) if type(pipeline) is Pipeline else []
    model = steps[-1][1] if steps else pipeline
    if type(model) not in (*LINEAR, *BOOSTING):
        known = ", ".join(sorted(kind.__name__ for kind in (*LINEAR, *BOOSTING)))
        raise NotExportable(type(model).__name__, f"known are {known}, at the end of a Pipeline")
    if [name for name, _ in steps] != ["columns", "model"] or type(steps[0][1]) is not ColumnTransformer:
        raise NotExportable(
            type(pipeline).__name__, 'it must be Pipeline([("columns", ColumnTransformer(...)), ("model", ...)])'
        )
    if type(model) in BOOSTING:
        _refuse_options(model)
    wanted = _STANDARDISED if type(model) in LINEAR else _ORDINAL
    for name, transformer, of in steps[0][1].transformers_:
        if not of or (name == "remainder" and transformer == "drop"):
            continue
        if name not in wanted or not wanted[name](transformer):
            raise NotExportable(
                f'transformer "{name}" ({type(transformer).__name__})',
                f"before a {type(model).__name__} it must be {_WANTED[wanted is _ORDINAL]}",
            )
    return steps[0][1], model


def _refuse_options(model: Any) -> None:
    if model.loss in ("gamma", "poisson"):
        raise NotExportable(type(model).__name__, f"its loss is {model.loss}, whose answers are exponentials")
    if model.is_categorical_ is not None:
        raise NotExportable(type(model).__name__, "it splits by sets of categories; leave categorical_features out")


def _is_standardised(transformer: Any) -> bool:
    steps = [step for _, step in transformer.steps] if type(transformer) is Pipeline else []
    if [type(step) for step in steps] != [StandardScaler, SimpleImputer]:
        return False
    scaler, imputer = steps
    filled = (imputer.strategy, imputer.fill_value, imputer.add_indicator) == ("constant", 0.0, False)
    return bool(scaler.with_mean and scaler.with_std and filled)


def _is_one_hot(transformer: Any) -> bool:
    return (
        type(transformer) is OneHotEncoder
        and transformer.handle_unknown == "ignore"
        and transformer.drop is None
        and transformer.min_frequency is transformer.max_categories is None
    )


def _is_ordinal(transformer: Any) -> bool:
    return (
        type(transformer) is OrdinalEncoder
        and transformer.handle_unknown == "use_encoded_value"
        and math.isnan(transformer.unknown_value)
        and math.isnan(transformer.encoded_missing_value)
        and transformer.min_frequency is transformer.max_categories is None
    )


def _is_passthrough(transformer: Any) -> bool:
    return transformer == "passthrough" or (type(transformer) is FunctionTransformer and transformer.func is None)


LINEAR = (LogisticRegression, Ridge, LinearRegression, Lasso, ElasticNet)
BOOSTING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_STANDARDISED: dict[str, Callable[[Any], bool]] = {"numeric": _is_standardised, "categorical": _is_one_hot}
_ORDINAL: dict[str, Callable[[Any], bool]] = {"numeric": _is_passthrough, "categorical": _is_ordinal}
_WANTED = (
    '"numeric", make_pipeline(StandardScaler(), SimpleImputer(strategy="constant", fill_value=0.0)), '
    'or "categorical", OneHotEncoder(handle_unknown="ignore")',
    '"numeric", "passthrough", or "categorical", an OrdinalEncoder with NaN as unknown_value and encoded_missing_value',
)
