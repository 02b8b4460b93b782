"""Columns made fit for comparison, and how far chance alone would move them.

Evidently refuses empty columns, drops missing values silently, and its histograms fail on values that differ by
rounding only. What it gets from here has none of that; missing values are compared as a column of their own.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contracts.schema import Feature, Label, Value
from drift.verdict import JENSEN_SHANNON, MISSING, WASSERSTEIN

Numbers = npt.NDArray[np.float64]

_CATEGORIES = 20
"""A bar chart of more is not read; the rest share one bucket."""
_ABOVE_CHANCE = 2.0
"""Unchanged columns of independent rows reach twice the mean of their chance distance in about 1 of 100 reports, and
0 or 1 columns in up to 1 of 10 while windows have a few hundred rows (simulated)."""
_PLAIN = 12
"""Columns whose largest number has more digits, before or after the point, are shown in powers of ten: histograms of
nearly constant large numbers fail, and squares overflow."""
_DIGITS = 13
"""Digits that count, from the window's largest number: what differs less differs by rounding, which plots fail on."""
_FARTHEST = 1e6
"""Beyond a million standard deviations a number says no more, and infinity is no JSON."""
_NO_MARKUP = str.maketrans("<>", "‹›")
"""Evidently writes names and categories into a script element as they are: "</script>" would end it."""


@dataclass(frozen=True)
class Comparison:
    """Two samples of one feature, the method that measures their distance, and from where on it counts as drift."""

    feature: str
    title: str
    method: str
    reference: Numbers | list[str]
    current: Numbers | list[str]
    threshold: float


def compare(
    feature: Feature, reference: Sequence[Value], current: Sequence[Value], threshold: float
) -> Iterator[Comparison]:
    """What is to be measured of a feature: its values, and how often it is missing where that says more.

    The threshold is raised to twice the distance that chance alone gives, which only matters in small windows.
    """
    title = feature.name.translate(_NO_MARKUP)
    rows = len(reference), len(current)
    if feature.type in ("category", "bool"):
        texts = _bucketed(_texts(reference), _texts(current))
        chance = _chance_of_categories(*rows, len({*texts[0], *texts[1]}))
        yield Comparison(feature.name, title, JENSEN_SHANNON, *texts, max(threshold, _ABOVE_CHANCE * chance))
        return
    power, numbers = _scaled(_numbers(reference), _numbers(current))
    present = [column[~np.isnan(column)] for column in numbers]
    both = all(len(column) for column in present)
    if both:
        chance = _chance_of_numbers(*present)
        unit = f" / 1e{power}" if power else ""
        yield Comparison(feature.name, title + unit, WASSERSTEIN, *numbers, max(threshold, _ABOVE_CHANCE * chance))
    if not both or any(np.isnan(column).any() for column in numbers):
        absent = [np.where(np.isnan(column), "missing", "present").tolist() for column in numbers]
        least = max(threshold, _ABOVE_CHANCE * _chance_of_categories(*rows, 2))
        yield Comparison(feature.name, f"{title} · missing", MISSING, absent[0], absent[1], least)


def compare_answers(
    label: Label, reference: Numbers, current: Numbers, threshold: float, taken: Collection[str] = ()
) -> Comparison:
    """What is to be measured of a version's answers: scores float64[n, k] of two windows, of at least one row each.

    The probability of the positive class, or the value; of more classes, the answered one. `taken` are titles that
    the plots have already.
    """
    named = "value" if label.is_regression else f"P({label.class_texts[1]})" if label.task == "binary" else "class"
    feature = Feature(f"answers: {named}", "category" if named == "class" else "float")
    while feature.name.translate(_NO_MARKUP) in taken:
        feature = Feature(f"{feature.name} ·", feature.type)

    def told(scores: Numbers) -> Sequence[Value]:
        return [label.class_texts[i] for i in scores.argmax(axis=1)] if feature.is_category else scores[:, -1].tolist()

    return next(compare(feature, told(reference), told(current), threshold))


def wasserstein(reference: Numbers, current: Numbers) -> float:
    """Wasserstein distance of two samples in standard deviations of the reference, at most `_FARTHEST`.

    Evidently's own unit is at least 0.001, so that columns of small numbers never drift and constant ones by thousands.
    """
    unit = _spread(reference, current)
    if unit == 0.0:
        return 0.0
    pooled = np.sort(np.concatenate([reference, current]))
    below = [np.searchsorted(np.sort(side), pooled[:-1], side="right") / len(side) for side in (reference, current)]
    return min(float(np.sum(np.abs(below[0] - below[1]) * np.diff(pooled))) / unit, _FARTHEST)


def _spread(reference: Numbers, current: Numbers) -> float:
    """Standard deviation of the reference, or of both windows where that is constant; 0 where both are."""
    varied = reference if np.ptp(reference) > 0 else np.concatenate([reference, current])
    width = float(np.ptp(varied))
    return width * float(np.std((varied - varied.min()) / width)) if width else 0.0


def _numbers(values: Sequence[Value]) -> Numbers:
    """float64[n], missing is NaN."""
    column = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    return np.where(np.isfinite(column), column, math.nan)


def _scaled(reference: Numbers, current: Numbers) -> tuple[int, tuple[Numbers, Numbers]]:
    """(power of ten that both were divided by, or 0; both rounded to the digits that count)."""
    power = _magnitude(np.concatenate([reference, current]))
    power = power if abs(power) >= _PLAIN else 0
    first, second = reference / 10.0**power, current / 10.0**power
    return power, (np.round(first, _DIGITS - _magnitude(first)), np.round(second, _DIGITS - _magnitude(second)))


def _magnitude(column: Numbers) -> int:
    """Power of ten of the largest number; 0 without one, and never so small that it underflows."""
    largest = float(np.nanmax(np.abs(column), initial=0.0))
    return max(math.floor(math.log10(largest)), -290) if largest else 0


def text(value: Value) -> str:
    """A category or a bool as text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _texts(values: Sequence[Value]) -> list[str]:
    shown = {value: "(missing)" if value is None else text(value).translate(_NO_MARKUP) for value in set(values)}
    return [shown[value] for value in values]


def _bucketed(reference: list[str], current: list[str]) -> tuple[list[str], list[str]]:
    """Both columns with all but their commonest values, by mean share, in one bucket."""
    counts = Counter(reference), Counter(current)
    known = counts[0].keys() | counts[1].keys()
    if len(known) <= _CATEGORIES:
        return reference, current
    share = {text: counts[0][text] / len(reference) + counts[1][text] / len(current) for text in known}
    kept = set(sorted(known, key=lambda text: (-share[text], text))[: _CATEGORIES - 1])
    first, second = ([text if text in kept else "(other)" for text in column] for column in (reference, current))
    return first, second


def _chance_of_numbers(reference: Numbers, current: Numbers) -> float:
    """Mean Wasserstein distance, in standard deviations, of two samples of these sizes from one distribution.

    The integral of E|F_n - G_m|, where F_n - G_m is nearly normal with variance F(1 - F)(1/n + 1/m).
    """
    pooled = np.sort(np.concatenate([reference, current]))
    unit = _spread(reference, current)
    if unit == 0.0:
        return 0.0
    below = np.arange(1, len(pooled)) / len(pooled)
    area = float(np.sum(np.sqrt(below * (1 - below)) * np.diff(pooled)))
    return math.sqrt(2 / math.pi * (1 / len(reference) + 1 / len(current))) * area / unit


def _chance_of_categories(reference_rows: int, current_rows: int, categories: int) -> float:
    """Root mean square Jensen-Shannon distance of two samples of one distribution: its square is nearly chi-squared."""
    return math.sqrt((categories - 1) * (1 / reference_rows + 1 / current_rows) / 8)
