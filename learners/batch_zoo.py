"""The scikit-learn pipelines behind the catalogue's names, and the table that they are fitted on."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from contracts.schema import Schema, Value
from learners import params


def logistic(schema: Schema, options: params.Logistic, seed: int) -> Any:
    """Standardised numbers and one-hot categories into a logistic (for several classes: softmax) regression."""
    return _standardised(schema, LogisticRegression(**msgspec.structs.asdict(options), random_state=seed))


def ridge(schema: Schema, options: params.Ridge, seed: int) -> Any:
    """Standardised numbers and one-hot categories into a ridge regression."""
    return _standardised(schema, Ridge(**msgspec.structs.asdict(options), random_state=seed))


def boosting_classifier(schema: Schema, options: params.Boosting, seed: int) -> Any:
    """Numbers as they are and categories as ordinals into gradient boosted trees."""
    return _ordinal(schema, HistGradientBoostingClassifier(**_boosting(options, seed)))


def boosting_regressor(schema: Schema, options: params.Boosting, seed: int) -> Any:
    """Numbers as they are and categories as ordinals into gradient boosted trees, on the squared loss."""
    return _ordinal(schema, HistGradientBoostingRegressor(**_boosting(options, seed)))


def table(schema: Schema, rows: Sequence[Sequence[Value]]) -> pd.DataFrame:
    """Rows in schema order as columns: float64, or text; NaN where missing."""
    tensors = schema.tensors(rows)
    columns: dict[str, Any] = {}
    for names, key in ((schema.numeric_names, "numeric"), (schema.categorical_names, "categorical")):
        for i, name in enumerate(names):
            columns[name] = tensors[key][:, i]
    for name in schema.categorical_names:
        # NaN, since OrdinalEncoder takes None for a category like any other.
        columns[name] = pd.Series(np.where(columns[name] == "", np.nan, columns[name]), dtype=object)
    return pd.DataFrame(columns)


def _boosting(options: params.Boosting, seed: int) -> dict[str, Any]:
    return {**msgspec.structs.asdict(options), "early_stopping": False, "random_state": seed}


def _standardised(schema: Schema, estimator: Any) -> Any:
    """A missing number is its mean; a missing category is one of its own; an unseen one is none of the known."""
    # Scaled first, since StandardScaler leaves NaN out of its means: then the mean is 0 by definition.
    numbers = make_pipeline(StandardScaler(), SimpleImputer(strategy="constant", fill_value=0.0))
    return _prepared(schema, numbers, OneHotEncoder(handle_unknown="ignore"), estimator)


def _ordinal(schema: Schema, estimator: Any) -> Any:
    """An unseen category is a missing one, which the trees send where missing values did best."""
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan, dtype=np.float64
    )
    return _prepared(schema, "passthrough", encoder, estimator)


def _prepared(schema: Schema, numbers: Any, categories: Any, estimator: Any) -> Any:
    steps = (("numeric", numbers, schema.numeric_names), ("categorical", categories, schema.categorical_names))
    columns = [(name, step, partial(_observed, names)) for name, step, names in steps if names]
    return Pipeline([("columns", ColumnTransformer(columns)), ("model", estimator)])


def _observed(names: Sequence[str], fitted: pd.DataFrame) -> list[str]:
    """The columns with any value among the rows to fit on: HistGradientBoosting raises on one without."""
    return [name for name in names if fitted[name].notna().any()]
