"""Changes of what is asked: columns that move, rows that mix anew, sensors that break."""

import math
from typing import Any

from contracts.known_keys import nearest
from contracts.quantities import ConfigError, Fraction, Share
from contracts.schema import Feature, FeatureType, Schema
from data.columns import cell_value
from data.drift_onset import By, Number, Onset, Past
from data.streams import Row

_LARGEST_EXACT = 2**53


class OnColumn(Onset, frozen=True, kw_only=True):
    """A change of one column; of any type, unless a kind says more."""

    column: str

    def check(self, schema: Schema) -> None:
        feature_named(schema, self.column)

    def needs_past(self, schema: Schema) -> bool:
        return False

    def measured(self, features: dict[str, Any], label: Any, schema: Schema) -> Any:
        return features.get(self.column)

    def moved(self, features: dict[str, Any], value: float, schema: Schema) -> dict[str, Any]:
        """The row with another number, as near as its type has it; missing where JSON could not carry it."""
        if not math.isfinite(value):
            return without(features, self.column)
        if feature_named(schema, self.column).type == "int":
            value = min(max(round(value), -_LARGEST_EXACT), _LARGEST_EXACT)
        return {**features, self.column: value}


class OnNumber(OnColumn, frozen=True, kw_only=True):
    """A change of one column of numbers."""

    def check(self, schema: Schema) -> None:
        need_type(schema, self.column, ("float", "int"))


class Shift(OnNumber, frozen=True, kw_only=True):
    """column=x moves by=10 in its unit, or by=2sd in its standard deviations"""

    by: By

    def needs_past(self, schema: Schema) -> bool:
        return self.by.endswith("sd")

    def changed(self, features: dict[str, Any], label: Any, past: Past) -> Row | None:
        value = features.get(self.column)
        return (features if value is None else self.moved(features, value + past.amount(self.by), past.schema)), label

    def told(self, schema: Schema) -> str:
        return f"{self.column} moves by {self.by}"


class Scale(OnNumber, frozen=True, kw_only=True):
    """column=x spreads factor= times as far about its mean"""

    factor: Number

    def needs_past(self, schema: Schema) -> bool:
        return True

    def changed(self, features: dict[str, Any], label: Any, past: Past) -> Row | None:
        value = features.get(self.column)
        if value is None:
            return features, label
        return self.moved(features, past.mean + self.factor * (value - past.mean), past.schema), label

    def told(self, schema: Schema) -> str:
        return f"{self.column} spreads {self.factor:g} times as far about its mean"


class Resample(OnNumber, frozen=True, kw_only=True):
    """rows with a high column=x become frequent: the lower, the more are left out (tilt=2; below 0 the other way)"""

    tilt: Number = 2.0

    def needs_past(self, schema: Schema) -> bool:
        return True

    def changed(self, features: dict[str, Any], label: Any, past: Past) -> Row | None:
        # Selection by the features alone, so that what a label is given them stays: Shimodaira (2000).
        value = features.get(self.column)
        above = (value - past.mean) / past.sd if value is not None and past.sd else 0.0
        kept = 1 / (1 + math.exp(min(max(-self.tilt * above, -700.0), 700.0)))
        return (features, label) if past.random.random() < kept else None

    def told(self, schema: Schema) -> str:
        return f"rows with a {'high' if self.tilt > 0 else 'low'} {self.column} become frequent, by leaving rows out"


class Mix(OnColumn, frozen=True, kw_only=True):
    """value=a of the category column=c becomes share= of all rows: rows with others are left out, or with it"""

    value: str
    share: Fraction

    def check(self, schema: Schema) -> None:
        need_type(schema, self.column, ("category", "bool"))
        value_of(self.value, feature_named(schema, self.column))

    def needs_past(self, schema: Schema) -> bool:
        return True

    def measured(self, features: dict[str, Any], label: Any, schema: Schema) -> Any:
        return float(features.get(self.column) == value_of(self.value, feature_named(schema, self.column)))

    def changed(self, features: dict[str, Any], label: Any, past: Past) -> Row | None:
        wanted = self.measured(features, label, past.schema) > 0
        return (features, label) if past.keeps(wanted, self.share) else None

    def told(self, schema: Schema) -> str:
        return f"{self.column} is {self.value} in {self.share:.0%} of the rows, by leaving others out"


class Stuck(OnColumn, frozen=True, kw_only=True):
    """a broken sensor: column=x stays at value=, or at its last value"""

    value: str | None = None

    def check(self, schema: Schema) -> None:
        feature = feature_named(schema, self.column)
        if self.value is not None:
            value_of(self.value, feature)

    def needs_past(self, schema: Schema) -> bool:
        return self.value is None

    def changed(self, features: dict[str, Any], label: Any, past: Past) -> Row | None:
        value = past.last
        if self.value is not None:
            value = value_of(self.value, feature_named(past.schema, self.column))
        return (features if value is None else {**features, self.column: value}), label

    def told(self, schema: Schema) -> str:
        return f"{self.column} stays at {'its last value' if self.value is None else self.value}"


class Noise(OnNumber, frozen=True, kw_only=True):
    """a broken sensor: column=x with a normal error of by=10 in its unit, or by=1sd"""

    by: By = "1sd"

    def needs_past(self, schema: Schema) -> bool:
        return self.by.endswith("sd")

    def changed(self, features: dict[str, Any], label: Any, past: Past) -> Row | None:
        error, value = past.random.gauss(0, 1) * past.amount(self.by), features.get(self.column)
        return (features if value is None else self.moved(features, value + error, past.schema)), label

    def told(self, schema: Schema) -> str:
        return f"{self.column} gets a normal error of {self.by}"


class Dropout(OnColumn, frozen=True, kw_only=True):
    """a broken sensor: column=x is missing in share= of the rows"""

    share: Share = 0.5

    def changed(self, features: dict[str, Any], label: Any, past: Past) -> Row | None:
        return (without(features, self.column) if past.random.random() < self.share else features), label

    def told(self, schema: Schema) -> str:
        return f"{self.column} is missing in {self.share:.0%} of the rows"


class Missing(OnColumn, frozen=True, kw_only=True):
    """column=x is missing"""

    def changed(self, features: dict[str, Any], label: Any, past: Past) -> Row | None:
        return without(features, self.column), label

    def told(self, schema: Schema) -> str:
        return f"{self.column} is missing"


class Unit(OnNumber, frozen=True, kw_only=True):
    """column=x comes in another unit: factor= times what it was"""

    factor: Number

    def changed(self, features: dict[str, Any], label: Any, past: Past) -> Row | None:
        value = features.get(self.column)
        return (features if value is None else self.moved(features, self.factor * value, past.schema)), label

    def told(self, schema: Schema) -> str:
        return f"{self.column} comes in another unit: {self.factor:g} times what it was"


def without(features: dict[str, Any], column: str) -> dict[str, Any]:
    """The row as it comes where a value is missing."""
    return {name: value for name, value in features.items() if name != column}


def feature_named(schema: Schema, name: str) -> Feature:
    """Raises ConfigError, with the nearest column that there is."""
    if name not in schema.names:
        raise ConfigError(f'there is no column "{name}"{nearest(name, schema.names)}')
    return schema.features[schema.names.index(name)]


def need_type(schema: Schema, column: str, types: tuple[FeatureType, ...]) -> None:
    """Raises ConfigError, with the columns that would do."""
    feature = feature_named(schema, column)
    if feature.type not in types:
        fit = ", ".join(one.name for one in schema.features if one.type in types) or "none"
        raise ConfigError(f"column={column}: is of type {feature.type}; {' or '.join(types)} have: {fit}")


def value_of(text: str, feature: Feature) -> Any:
    """A value as the column has it. Raises ConfigError."""
    try:
        value = cell_value(text, feature.type)
    except ValueError as error:
        raise ConfigError(f"value={text}: {error}") from None
    if value is None:
        raise ConfigError(f"value={text}: means missing; use the kind missing or dropout")
    return value
