"""What two windows say beyond distances: how good the model was, and what is wrong with the data. In words, too."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.facts import ColumnFacts, QualityFacts
from contracts.schema import Feature, Schema, Value
from drift.columns import text
from drift.sketches import Profile

_NOTABLE = 0.01
"""Share of a column below which nothing is said: single rows are no news."""
_NOUNS = {
    "zero_one": "mistakes",
    "cost": "cost",
    "brier": "Brier loss",
    "log": "log loss",
    "absolute": "mean absolute error",
    "squared": "mean squared error",
}


class Labelled(NamedTuple):
    """A version's losses on the labelled rows of one window, float64[n], and what else was measured there."""

    losses: npt.NDArray[np.float64]
    measures: Mapping[str, float]


def quality(loss: str, reference: Labelled, current: Labelled) -> QualityFacts:
    """Both windows beside each other; at least two rows each."""
    sides = reference.losses, current.losses
    return QualityFacts(
        loss=loss,
        reference=float(sides[0].mean()),
        current=float(sides[1].mean()),
        margin=1.96 * math.sqrt(sum(float(side.var(ddof=1)) / len(side) for side in sides)),
        reference_rows=len(sides[0]),
        current_rows=len(sides[1]),
        measures={name: (value, current.measures[name]) for name, value in reference.measures.items()},
    )


def told(facts: QualityFacts) -> str:
    """How the loss changed, as part of a sentence."""
    noun = _NOUNS.get(facts.loss, facts.loss)
    before, now = figure(facts.loss, facts.reference), figure(facts.loss, facts.current)
    change = facts.current - facts.reference
    if abs(change) <= facts.margin:
        return f"the champion's {noun} did not change measurably ({before}, now {now})"
    return f"the champion's {noun} {'rose' if change > 0 else 'fell'} from {before} to {now}"


def figure(loss: str, value: float) -> str:
    """A mean loss; mistakes are per cent."""
    return f"{100 * value:.1f} %" if loss == "zero_one" else f"{value:.4g}"


def columns(
    schema: Schema, reference: Mapping[str, Profile], current: Mapping[str, Sequence[Value]]
) -> dict[str, ColumnFacts]:
    """What is missing, new or out of range in the current window, by column."""
    return {
        feature.name: _column(feature, reference[feature.name], current[feature.name]) for feature in schema.features
    }


def _column(feature: Feature, reference: Profile, values: Sequence[Value]) -> ColumnFacts:
    present = [value for value in values if value is not None]
    missing = reference.missing, (len(values) - len(present)) / max(1, len(values))
    if not present:
        return ColumnFacts(missing=missing)
    if feature.type in ("category", "bool"):
        if reference.categories is None:
            return ColumnFacts(missing=missing)
        unseen = sum(text(value) not in reference.categories for value in present)
        return ColumnFacts(missing=missing, unseen=unseen / len(present))
    if reference.low is None or reference.high is None:
        return ColumnFacts(missing=missing)
    numbers = np.array(present, np.float64)
    return ColumnFacts(missing=missing, outside=float(((numbers < reference.low) | (numbers > reference.high)).mean()))


def notes(found: Mapping[str, ColumnFacts], reference: Mapping[str, Profile]) -> Iterator[str]:
    """A sentence for each thing that is wrong with a column.

    Some new categories are nothing new: in a like sample, their share is about that of the reference's rows whose
    category occurs once (Good 1953, "The population frequencies of species").
    """
    for name, facts in found.items():
        before, now = facts.missing
        if abs(now - before) > _NOTABLE:
            yield f"{name} is missing in {now:.1%} of rows, in the reference in {before:.1%}."
        if facts.unseen is not None:
            usual = _rare(reference[name])
            if facts.unseen > 2 * usual + _NOTABLE:
                yield f"{name}: {facts.unseen:.1%} are categories that the reference has not ({usual:.1%} expected)."
        if facts.outside is not None and facts.outside > _NOTABLE:
            low, high = reference[name].low, reference[name].high
            yield f"{name}: {facts.outside:.1%} lie outside the reference's range, {low:g} to {high:g}."


def _rare(profile: Profile) -> float:
    """Share of present rows whose category occurs once."""
    counts = (profile.categories or {}).values()
    return sum(count == 1 for count in counts) / max(1, sum(counts))
