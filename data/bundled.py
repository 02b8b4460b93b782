"""Streams that need no file: data sets that River carries, and a made-up one with a change to switch on."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from contracts.schema import Feature, FeatureType, Label, Schema, Task

_SYNTHETIC_ROWS = 20_000
_SYNTHETIC_CLASSIFIERS = (0, 3)
"""Agrawal's loan rules before and after the change: by age alone, then by age and education."""


@dataclass(frozen=True)
class Entry:
    """One stream. `dataset` is the class in river.datasets; None for the made-up ones."""

    dataset: str | None
    description: str
    provenance: str
    length: int
    task: Task
    classes: tuple[bool | int | str, ...] = ()
    real: bool = True


_SEGMENTS = ("brickface", "cement", "foliage", "grass", "path", "sky", "window")

CATALOGUE: dict[str, Entry] = {
    "image-segments": Entry(
        "ImageSegments",
        "which of seven things a patch of an outdoor picture shows, from 18 measurements of its colours and edges",
        "Real: 3 x 3 patches of seven outdoor photographs, segmented by hand (UCI Statlog, 1990), carried by River; "
        "order as published there, which is shuffled, so nothing drifts.",
        2_310,
        "multiclass",
        _SEGMENTS,
    ),
    "phishing": Entry(
        "Phishing",
        "whether a web page is after passwords, from 9 properties of the page and its address",
        "Real: web pages collected and labelled for UCI's Website Phishing set (2014), carried by River; no "
        "timestamps, order as published.",
        1_250,
        "binary",
        (False, True),
    ),
    "shuttle": Entry(
        "Shuttle",
        "whether nine sensor readings of a NASA space shuttle are an anomaly (7 % are)",
        "Real: UCI Statlog Shuttle in the form of the ODDS anomaly benchmark, carried by River; its classes were "
        "merged to normal and anomaly, one was left out; order as published there.",
        49_097,
        "binary",
        (0, 1),
    ),
    "bananas": Entry(
        "Bananas",
        "which of two banana-shaped clusters a point belongs to: no straight line parts them",
        "Made up: an artificial benchmark (OpenML 1460, carried by River), no measurement of anything; nothing drifts.",
        5_300,
        "binary",
        (False, True),
        real=False,
    ),
    "trump-approval": Entry(
        "TrumpApproval",
        "FiveThirtyEight's approval rating of a president, from the date and five pollsters' ratings",
        "Real: daily ratings from January 2017 on, in order of time, carried by River; gaps were filled by whoever "
        "published it.",
        1_001,
        "regression",
    ),
    "chick-weights": Entry(
        "ChickWeights",
        "the weight of a chick in grams, from its age, its number and its diet",
        "Real: 50 chicks on four diets, weighed every second day, in order of time (Crowder and Hand, 1990), carried "
        "by River.",
        578,
        "regression",
    ),
    "water-flow": Entry(
        "WaterFlow",
        "litres per second through a branch of a water pipeline, from the hour and the day",
        "Real: hourly readings from March to May 2022 with four anomalous stretches, given by Tecnojest, carried by "
        "River. Its one feature, the time, is turned into hour, weekday and days since the start.",
        1_268,
        "regression",
    ),
    "synthetic": Entry(
        None,
        "whether a loan is granted, by one fixed rule on nine properties of the applicant",
        "Made up by a program (River's Agrawal generator, seeds 1 and 2): 20,000 rows under one rule, nothing drifts.",
        _SYNTHETIC_ROWS,
        "binary",
        (0, 1),
        real=False,
    ),
    "synthetic-drift": Entry(
        None,
        "whether a loan is granted, by a rule that is replaced by another after half of the rows",
        "Made up by a program (River's Agrawal generator, seeds 1 and 2): 20,000 rows, another rule from 10,000 on.",
        _SYNTHETIC_ROWS,
        "binary",
        (0, 1),
        real=False,
    ),
}

_AGRAWAL_CATEGORIES = ("elevel", "car", "zipcode")
_LOOKED_AT = 2_000


def schema(name: str) -> Schema:
    """Features with the types that the first rows have, and the label."""
    entry = CATALOGUE[name]
    found: dict[str, set[type]] = {}
    for features, _ in islice(rows(name), _LOOKED_AT):
        for feature, value in features.items():
            found.setdefault(feature, set()).add(type(value))
    label = Label(entry.task, entry.classes)
    return Schema(tuple(Feature(feature, _type(types)) for feature, types in found.items()), label)


def rows(name: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """(features, label) in order. Imports River, which takes seconds."""
    entry = CATALOGUE[name]
    if entry.dataset is None:
        yield from _agrawal(drift=name == "synthetic-drift")
        return
    from river import datasets

    for features, label in getattr(datasets, entry.dataset)():
        yield (_clock(features["Time"]) if "Time" in features else features), label


def _type(types: set[type]) -> FeatureType:
    for kind, name in ((str, "category"), (float, "float"), (int, "int")):
        if kind in types:
            return name  # type: ignore[return-value]  # literals above
    return "bool"


def _clock(time: datetime) -> dict[str, float | int]:
    start = datetime(2022, 3, 1, tzinfo=UTC)
    return {"hour": time.hour, "weekday": time.weekday(), "day": (time - start).total_seconds() / 86_400}


def _agrawal(drift: bool) -> Iterator[tuple[dict[str, Any], int]]:
    before, after = _SYNTHETIC_CLASSIFIERS
    half = _SYNTHETIC_ROWS // 2
    from river.datasets import synth

    for seed, rule in ((1, before), (2, after if drift else before)):
        for features, label in synth.Agrawal(classification_function=rule, seed=seed).take(half):
            yield {k: str(v) if k in _AGRAWAL_CATEGORIES else v for k, v in features.items()}, int(label)
