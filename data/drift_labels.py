"""Changes of what is answered: concepts that flip, classes that become frequent, labels that are wrong."""

from typing import Any

from contracts.known_keys import nearest
from contracts.quantities import ConfigError, Count, Fraction, Share
from contracts.schema import Schema
from data.drift_onset import By, Number, Onset, Past
from data.streams import Row


class Flip(Onset, frozen=True, kw_only=True):
    """Labels become others: classes change places, values are mirrored or `factor` times as large plus `add`."""

    classes: str | None = None
    factor: Number | None = None
    add: Number | None = None

    def check(self, schema: Schema) -> None:
        if schema.label.is_regression:
            _refuse(self.classes, "classes", "the label is a value; give factor=, add= or nothing")
            return
        _refuse(self.factor, "factor", "the label is a class; give classes= or nothing")
        _refuse(self.add, "add", "the label is a class; give classes= or nothing")
        if self.classes is not None and len(set(self._swapped(schema))) != 2:
            raise ConfigError(f"classes={self.classes}: name two, as in classes=a,b")

    def needs_past(self, schema: Schema) -> bool:
        return schema.label.is_regression and self.factor is None and self.add is None

    def measured(self, features: dict[str, Any], label: Any, schema: Schema) -> Any:
        return schema.label.decode(label) if schema.label.is_regression else None

    def changed(self, features: dict[str, Any], label: Any, past: Past) -> Row | None:
        known = past.schema.label.decode(label)
        if isinstance(known, float):
            if self.needs_past(past.schema):
                return features, 2 * past.mean - known
            return features, (1.0 if self.factor is None else self.factor) * known + (self.add or 0.0)
        order = self._swapped(past.schema)
        if known not in order:
            return features, label
        new = order[(order.index(known) + 1) % len(order)]
        return features, past.schema.label.classes[past.schema.label.index(new)]

    def told(self, schema: Schema) -> str:
        if self.needs_past(schema):
            return "values are mirrored about their mean so far"
        if schema.label.is_regression:
            return f"values become {1 if self.factor is None else self.factor:g} × value + {self.add or 0:g}"
        order = self._swapped(schema)
        if len(order) == 2:
            return f"labels {order[0]} and {order[1]} change places"
        return f"each label becomes the next: {', '.join(order)}, and the first again"

    def _swapped(self, schema: Schema) -> tuple[str, ...]:
        if self.classes is None:
            return schema.label.class_texts
        return tuple(class_named(schema, name) for name in self.classes.split(","))


class Abrupt(Flip, frozen=True, kw_only=True):
    """labels flip at once: classes change places (classes=a,b; else each becomes the next), values are mirrored"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width is not None:
            raise ValueError(f"width={self.width}: write gradual for abrupt")
        if self.period is not None:
            raise ValueError(f"period={self.period}: write recurring for abrupt")


class Gradual(Flip, frozen=True, kw_only=True):
    """the same row by row, in more and more of them over width=ROWS"""

    width: Count


class Recurring(Flip, frozen=True, kw_only=True):
    """the same again and again: on for period=ROWS, off for as many"""

    period: Count


class Prior(Onset, frozen=True, kw_only=True, rename={"class_": "class"}):
    """class=a becomes share= of all labels: rows of the classes that are then too frequent are left out"""

    class_: str
    share: Fraction

    def check(self, schema: Schema) -> None:
        if schema.label.is_regression:
            raise ConfigError(f"class={self.class_}: the label is a value, it has no classes")
        class_named(schema, self.class_)

    def needs_past(self, schema: Schema) -> bool:
        return True

    def measured(self, features: dict[str, Any], label: Any, schema: Schema) -> Any:
        return float(schema.label.decode(label) == class_named(schema, self.class_))

    def changed(self, features: dict[str, Any], label: Any, past: Past) -> Row | None:
        wanted = self.measured(features, label, past.schema) > 0
        return (features, label) if past.keeps(wanted, self.share) else None

    def told(self, schema: Schema) -> str:
        return f"{class_named(schema, self.class_)} becomes {self.share:.0%} of the labels, by leaving rows out"


class LabelNoise(Onset, frozen=True, kw_only=True):
    """share= of the labels are wrong: another class, or a value off by a normal error (by=1sd)"""

    share: Share = 0.2
    by: By = "1sd"

    def check(self, schema: Schema) -> None:
        if not schema.label.is_regression and self.by != "1sd":
            raise ConfigError(f"by={self.by}: the label is a class; give share= alone")

    def needs_past(self, schema: Schema) -> bool:
        return schema.label.is_regression and self.by.endswith("sd")

    def measured(self, features: dict[str, Any], label: Any, schema: Schema) -> Any:
        return schema.label.decode(label) if schema.label.is_regression else None

    def changed(self, features: dict[str, Any], label: Any, past: Past) -> Row | None:
        known = past.schema.label.decode(label)
        if past.random.random() >= self.share:
            return features, label
        if isinstance(known, float):
            return features, known + past.random.gauss(0, 1) * past.amount(self.by)
        others = [one for one, text in zip(past.schema.label.classes, past.schema.label.class_texts, strict=True)
                  if text != known]  # fmt: skip
        return features, past.random.choice(others)

    def told(self, schema: Schema) -> str:
        how = f"off by a normal error of {self.by}" if schema.label.is_regression else "another class"
        return f"{self.share:.0%} of the labels are {how}"


def class_named(schema: Schema, name: str) -> str:
    """The text of a class. Raises ConfigError, with the nearest that there is."""
    if name not in schema.label.class_texts:
        raise ConfigError(f'there is no class "{name}"{nearest(name, schema.label.class_texts)}')
    return name


def _refuse(value: object, name: str, why: str) -> None:
    if value is not None:
        raise ConfigError(f"{name}={value}: {why}")
