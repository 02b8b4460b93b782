"""Rows that a schema allows, with labels that the features bear on: to try a learner before there are real ones."""

import random
from dataclasses import dataclass
from typing import Any

from contracts.schema import Feature, Label, Schema, Value

_CATEGORIES = ("a", "b", "c", "ünï/çode", "")  # the last is one that comes up late
_MISSING = 0.1


@dataclass(frozen=True)
class Examples:
    """Rows in schema order with their stored labels, in order of time."""

    schema: Schema
    rows: list[tuple[Value, ...]]
    labels: list[str | float]

    @property
    def pairs(self) -> tuple[list[tuple[Value, ...]], list[str | float]]:
        """Rows and labels, as learners take them."""
        return self.rows, self.labels


def examples(schema: Schema, count: int, seed: int = 0) -> Examples:
    """`count` rows of the right types, optional features missing at times, and a new category from the middle on.

    Numbers are not negative, which some learners could not read.
    """
    rng = random.Random(seed)
    weights = [rng.choice((-1, 1)) * rng.uniform(0.5, 1) for _ in schema.features]
    scales = [10.0 ** rng.randint(-1, 3) for _ in schema.features]
    rows: list[tuple[Value, ...]] = []
    labels: list[str | float] = []
    for i in range(count):
        units = [rng.random() for _ in schema.features]
        drawn = zip(schema.features, units, scales, strict=True)
        rows.append(
            tuple(
                None if feature.optional and rng.random() < _MISSING else _value(feature, unit, scale, 2 * i >= count)
                for feature, unit, scale in drawn
            )
        )
        score = sum(weight * (unit - 0.5) for weight, unit in zip(weights, units, strict=True))
        labels.append(_label(schema.label, score / len(units) ** 0.5 + rng.gauss(0, 0.05)))
    return Examples(schema, rows, labels)


def strangers(schema: Schema) -> list[tuple[Value, ...]]:
    """Rows with every optional feature missing, with categories never seen, and with both."""
    plain = tuple(_value(feature, 0.5, 1.0, late=False) for feature in schema.features)
    gone = tuple(None if feature.optional else value for feature, value in zip(schema.features, plain, strict=True))
    unseen = [tuple("never seen" if isinstance(v, str) else v for v in row) for row in (plain, gone)]
    return list(dict.fromkeys([gone, *unseen]))


def _value(feature: Feature, unit: float, scale: float, late: bool) -> Value:
    """A value that grows with `unit`, which is from [0, 1)."""
    by_type: dict[str, Any] = {
        "float": unit * scale,
        "int": int(unit * 10),
        "bool": unit > 0.5,
        "category": _CATEGORIES[int(unit * (len(_CATEGORIES) - (not late)))] or "late",
    }
    return by_type[feature.type]  # type: ignore[no-any-return]  # each is a Value


def _label(label: Label, score: float) -> str | float:
    """Classes in equal parts of the scores from -0.5 to 0.5."""
    if label.is_regression:
        return 100 * score
    at = int((score + 0.5) * label.width)
    return label.class_texts[min(label.width - 1, max(0, at))]
