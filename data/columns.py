"""What type a column of text has, and what each of its cells means."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from contracts.schema import BadInput, ClassValue, Feature, FeatureType, Label, Task, Value

ColumnType = Literal["float", "int", "bool", "category", "time", "empty"]

MOST_CLASSES = 20
"""A column of numbers with more distinct labels than this is a value to predict, not a class."""
_MOST_TEXT_CLASSES = 1_000
_LARGEST_EXACT = 2**53

_INT = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_NO_NUMBER = frozenset({"NA", "N/A", "NaN", "nan", "null", "NULL", "None"})
"""Read as missing in columns of numbers; in a column of text they may be meant (NA is Namibia)."""


@dataclass(frozen=True)
class Column:
    """A column as guessed from the cells that were looked at."""

    name: str
    type: ColumnType
    seen: int
    missing: int
    odd: int
    """Cells that do not fit the type: rows with them are refused."""
    distinct: int

    @property
    def feature(self) -> Feature | None:
        """The feature it can be, or None for times and empty columns."""
        if self.type in ("time", "empty"):
            return None
        return Feature(self.name, self.type, optional=self.missing > 0)  # type: ignore[arg-type]  # both left out above


def guess(name: str, cells: Sequence[str]) -> Column:
    """The narrowest type that all but a few stray cells have: one in a hundred, and at least ten fit for each."""
    given = [cell for cell in cells if cell]
    numbers = [cell for cell in given if cell not in _NO_NUMBER]
    for kind, fits, among in (
        ("bool", _is_bool, given),
        ("int", _is_int, numbers),
        ("float", _is_number, numbers),
        ("time", _is_time, given),
    ):
        odd = sum(not fits(cell) for cell in among)
        if among and odd <= max(1, len(among) // 100) and len(among) >= 10 * odd:
            if kind == "int" and odd and sum(not _is_number(cell) for cell in among) < odd:
                continue  # the stray cells are fractions, so the column is one of fractions
            return Column(name, kind, len(cells), len(cells) - len(among), odd, len(set(among)))  # type: ignore[arg-type]  # a literal above
    missing = len(cells) - len(given)
    return Column(name, "category" if given else "empty", len(cells), missing, 0, len(set(given)))


def cell_value(text: str, kind: FeatureType) -> Value:
    """What a cell means; None when it is missing. Raises ValueError."""
    if text == "" or (kind in ("int", "float") and text in _NO_NUMBER):
        return None
    if kind == "category":
        return text
    if kind == "bool":
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text.lower() == "true"
    if kind == "int":
        return _whole(text)
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a finite number")
    return number


def guess_label(name: str, cells: Sequence[str], task: Task | None = None) -> Label:
    """The task and its classes: two or a few distinct labels are classes, many numbers are values.

    Raises BadInput when it can be neither.
    """
    counts = Counter(cell for cell in cells if cell)
    if not counts:
        raise BadInput(name, "has no value in any row that was looked at, so it cannot be the label")
    numbers = guess(name, list(counts.elements())).type in ("int", "float")
    if task == "regression" or (task is None and numbers and len(counts) > MOST_CLASSES):
        if not numbers:
            raise BadInput(name, "holds text, so it cannot be the label of a regression")
        return Label("regression")
    if len(counts) > _MOST_TEXT_CLASSES:
        raise BadInput(name, f"has {len(counts)} different texts: is it an identifier rather than a label?")
    if len(counts) < 2:
        raise BadInput(name, f"is {next(iter(counts))!r} in all rows looked at; a label needs at least two classes")
    return Label("binary" if len(counts) == 2 else "multiclass", _classes(list(counts)))


def _classes(texts: list[str]) -> tuple[ClassValue, ...]:
    """Whole numbers and booleans in their order, text in the alphabet's: in a binary task the last is positive."""
    if all(_is_bool(text) for text in texts) and len({text.lower() for text in texts}) == len(texts):
        return tuple(sorted(text.lower() == "true" for text in texts))
    if all(_is_int(text) and str(int(text)) == text for text in texts):
        return tuple(sorted(int(text) for text in texts))
    return tuple(sorted(texts))


def _whole(text: str) -> int:
    if not _INT.fullmatch(text):
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
        if not number.is_integer():
            raise ValueError(f"{text!r} is not a whole number")
        return int(number)
    return int(text)


def _is_bool(text: str) -> bool:
    return text.lower() in ("true", "false")


def _is_int(text: str) -> bool:
    """A whole number that is no code: codes start with zeros, or are longer than a float can tell apart."""
    digits = text.lstrip("+-")
    return bool(_INT.fullmatch(text)) and not _is_code(digits) and abs(int(text)) <= _LARGEST_EXACT


def _is_number(text: str) -> bool:
    if _INT.fullmatch(text):
        return _is_int(text)
    return bool(_NUMBER.fullmatch(text))


def _is_code(digits: str) -> bool:
    return len(digits) > 15 or (len(digits) > 1 and digits.startswith("0"))


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
