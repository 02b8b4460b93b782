"""What a model is asked and what it answers: typed features and a label, validated at the door.

Every ONNX graph in Tiltyard has the same signature, so that one path serves them all:

* input ``numeric``: float64[n, number of float, int and bool features], in schema order, missing is NaN;
* input ``categorical``: string[n, number of category features], in schema order, missing is "";
* output ``scores``: float64 or float32[n, k]: class probabilities in class order, or the value (k = 1).

A graph without features of one sort leaves that input out.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, cast

import msgspec
import numpy as np

FeatureType = Literal["float", "int", "bool", "category"]
Task = Literal["binary", "multiclass", "regression"]
Value = float | int | bool | str | None
ClassValue = bool | int | str

_PYTHON_TYPES: dict[str, Any] = {"float": float, "int": int, "bool": bool, "category": str}


class BadInput(ValueError):
    """A caller's feature or label does not fit the schema; `field` names it."""

    def __init__(self, field: str, reason: str):
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


class Feature(msgspec.Struct, frozen=True):
    """One input column. Optional features may be null or absent."""

    name: str
    type: FeatureType
    optional: bool = False

    @property
    def is_category(self) -> bool:
        return self.type == "category"


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """What is predicted. Classes keep the order of their probabilities; in a binary task the second one is positive."""

    task: Task
    classes: tuple[ClassValue, ...] = ()
    prior: tuple[float, ...] | None = None
    """Answered before any version has earned it: class probabilities in class order, or one value."""

    def __post_init__(self) -> None:
        if self.task == "regression":
            if self.classes:
                raise ValueError("label.classes: a regression label has no classes; remove them")
        elif len(self.classes) < 2:
            raise ValueError(f"label.classes: a {self.task} label needs at least two classes")
        elif self.task == "binary" and len(self.classes) != 2:
            raise ValueError(f"label.classes: a binary label has two classes, not {len(self.classes)}")
        if len({class_text(value) for value in self.classes}) != len(self.classes):
            raise ValueError("label.classes: two classes read the same as text")
        if self.prior is not None:
            self._check_prior(self.prior)

    def _check_prior(self, prior: tuple[float, ...]) -> None:
        if len(prior) != self.width:
            raise ValueError(f"label.prior: needs {self.width} numbers, got {len(prior)}")
        if self.classes and (min(prior) < 0 or abs(sum(prior) - 1) > 1e-6):
            raise ValueError("label.prior: probabilities must not be negative and must sum to 1")

    @property
    def width(self) -> int:
        """Columns of `scores`: one per class, or one for a value."""
        return len(self.classes) or 1

    @property
    def is_regression(self) -> bool:
        return self.task == "regression"

    @cached_property
    def class_texts(self) -> tuple[str, ...]:
        return tuple(class_text(value) for value in self.classes)

    @property
    def prior_scores(self) -> tuple[float, ...]:
        """The supplied prior, or equal probabilities, or 0 for a value."""
        if self.prior is not None:
            return self.prior
        return (1 / len(self.classes),) * len(self.classes) if self.classes else (0.0,)

    def decode(self, value: object) -> str | float:
        """The label as stored: a class's text, or a finite float. Raises BadInput.

        A class is matched by its text, so that ``1``, ``"1"`` and ``1.0`` name the same class, as do ``true`` and
        ``"true"``: labels come back through CSV files and other people's JSON.
        """
        if self.is_regression:
            return _finite("label", value)
        if type(value) is str and value in self.class_texts:
            return value
        text = class_text(value) if isinstance(value, bool | int | float | str) else repr(value)
        if text not in self.class_texts:
            raise BadInput("label", f"{text!r} is not one of the classes {', '.join(self.class_texts)}")
        return text

    def index(self, text: str) -> int:
        """The column of a stored class text; ValueError when there is none."""
        return self.class_texts.index(text)


def class_text(value: object) -> str:
    """How a class reads in JSON, without quotes: True -> "true", 1.0 -> "1", "a" -> "a"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return text.lower() if text in ("True", "False") else text


def _finite(field: str, value: object) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise BadInput(field, f"{value!r} is not a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadInput(field, f"{value!r} is not a number")
    try:
        number = float(value)
    except OverflowError:
        raise BadInput(field, "is too large for a float64") from None
    if not math.isfinite(number):
        raise BadInput(field, f"{number} is not finite")
    return number


class Schema(msgspec.Struct, frozen=True, dict=True):
    """Features in their order, and the label. Equal schemas have equal fingerprints."""

    features: tuple[Feature, ...]
    label: Label

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits over names, types and classes; the prior is no part of it."""
        identity = ([(f.name, f.type, f.optional) for f in self.features], self.label.task, self.label.class_texts)
        return hashlib.sha256(msgspec.json.encode(identity)).hexdigest()[:12]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def numeric_at(self) -> tuple[int, ...]:
        """Positions of float, int and bool features."""
        return tuple(i for i, feature in enumerate(self.features) if not feature.is_category)

    @cached_property
    def categorical_at(self) -> tuple[int, ...]:
        return tuple(i for i, feature in enumerate(self.features) if feature.is_category)

    @property
    def numeric_names(self) -> tuple[str, ...]:
        return tuple(self.features[i].name for i in self.numeric_at)

    @property
    def categorical_names(self) -> tuple[str, ...]:
        return tuple(self.features[i].name for i in self.categorical_at)

    @cached_property
    def struct(self) -> type[msgspec.Struct]:
        """A struct with one field per feature, which decodes and checks a JSON object in one pass.

        Fields are numbered (``f0``, ``f1``) and renamed, since a feature may be called anything.
        """
        fields: list[Any] = []
        renamed: dict[str, str] = {}
        for i, feature in enumerate(self.features):
            kind = _PYTHON_TYPES[feature.type]
            renamed[f"f{i}"] = feature.name
            fields.append((f"f{i}", kind | None, None) if feature.optional else (f"f{i}", kind))
        return msgspec.defstruct(
            "Features", fields, rename=renamed, forbid_unknown_fields=True, frozen=True, kw_only=True
        )

    def row(self, decoded: msgspec.Struct) -> tuple[Value, ...]:
        """Values in schema order from an instance of `struct`. Raises BadInput on an infinite or empty one."""
        values = cast(tuple[Value, ...], msgspec.structs.astuple(decoded))
        for feature, value in zip(self.features, values, strict=True):
            if feature.type == "float" and value is not None and not math.isfinite(cast(float, value)):
                raise BadInput(feature.name, f"{value} is not finite")
            if value == "" and feature.is_category:
                raise BadInput(feature.name, "is empty; send null for a missing category")
            if feature.type == "int" and value is not None and abs(cast(int, value)) > 2**53:
                raise BadInput(feature.name, "is beyond 2^53, where float64 stops being exact")
        return values

    def decode(self, features: object) -> tuple[Value, ...]:
        """Values in schema order from a mapping as JSON gives it. Raises BadInput naming the field."""
        try:
            return self.row(msgspec.convert(features, self.struct))
        except msgspec.ValidationError as error:
            raise bad_input(error) from None

    def as_dict(self, row: Sequence[Value]) -> dict[str, float | int | bool | str]:
        """A row as River reads it: missing features are absent."""
        x: dict[str, Any] = dict(zip(self.names, row, strict=True))
        return {name: value for name, value in x.items() if value is not None} if None in row else x

    def tensors(self, rows: Sequence[Sequence[Value]]) -> dict[str, np.ndarray]:
        """ONNX inputs for rows in schema order: `numeric` float64[n, d] and `categorical` str[n, c], where present."""
        inputs: dict[str, np.ndarray] = {}
        if self.numeric_at:
            at = self.numeric_at
            inputs["numeric"] = np.array(
                [[math.nan if row[i] is None else row[i] for i in at] for row in rows], dtype=np.float64
            ).reshape(len(rows), len(at))
        if self.categorical_at:
            inputs["categorical"] = np.array(
                [[row[i] or "" for i in self.categorical_at] for row in rows], dtype=object
            ).reshape(len(rows), len(self.categorical_at))
        return inputs


def bad_input(error: msgspec.ValidationError) -> BadInput:
    """A msgspec error as "field: reason"; its path ``$.features.age`` becomes ``features.age``."""
    reason, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    if "missing required field" in reason or "unknown field" in reason:
        named = reason.split("`")[1]
        field = f"{field}.{named}" if field else named
        reason = "is required" if "missing" in reason else "is not in the schema"
    return BadInput(field or "body", reason)
