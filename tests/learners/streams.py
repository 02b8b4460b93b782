"""Streams for the learners' tests, as schema, rows in schema order and stored labels."""

import csv
import gzip
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from river import datasets
from river.datasets import synth

from contracts.config import Learner
from contracts.schema import Feature, Label, Schema, Task, Value, class_text
from learners.catalogue import RECIPES, Recipe

Row = tuple[Value, ...]

# Trees split within a few hundred rows with these, so that short streams try them too.
EAGER: dict[str, dict[str, Any]] = {
    "hoeffding_tree": {"grace_period": 25, "delta": 0.05, "tau": 0.2},
    "adaptive_random_forest": {"n_models": 3, "grace_period": 25, "delta": 0.05, "tau": 0.2},
}


@dataclass(frozen=True)
class Stream:
    """Rows with their stored labels, in order."""

    name: str
    schema: Schema
    rows: list[Row]
    labels: list[str | float]

    def __iter__(self) -> Iterator[tuple[Row, str | float]]:
        return zip(self.rows, self.labels, strict=True)


def learners(kind: str, task: Task, categories: bool) -> list[Learner]:
    """Every learner of the catalogue that fits, where some features are categories."""
    recipes: dict[str, dict[Task, Recipe]] = RECIPES[kind]  # type: ignore[index]
    names = [name for name, of in recipes.items() if task in of and not (categories and of[task].numbers_only)]
    return [Learner(algorithm=name, kind=kind, params=EAGER.get(name, {})) for name in names]  # type: ignore[arg-type]


@cache
def bundled(name: str) -> Stream:
    """One of River's bundled real streams."""
    pairs = list(getattr(datasets, name)())
    first, answer = pairs[0]
    classes = tuple(sorted({y for _, y in pairs})) if not isinstance(answer, float) else ()
    task: Task = "regression" if not classes else "binary" if len(classes) == 2 else "multiclass"
    schema = Schema(tuple(Feature(key, "float") for key in first), Label(task, classes))
    rows: list[Row] = [tuple(float(x[key]) for key in first) for x, _ in pairs]
    return Stream(name, schema, rows, [class_text(y) if classes else float(y) for _, y in pairs])


def mixed(task: Task, rows: int = 600, seed: int = 7) -> Stream:
    """Numbers of all types and categories, each missing at times, categories that come up late, and a label that all
    of them bear on. The names collide where River's OneHotEncoder would be misled."""
    classes = {"binary": (False, True), "multiclass": ("a", "b", "c"), "regression": ()}[task]
    features = (
        Feature("dep", "category", optional=True),
        Feature("dep_late", "float", optional=True),
        Feature("count", "int", optional=True),
        Feature("flag", "bool", optional=True),
        Feature("colour", "category", optional=True),
        Feature("always", "float"),
    )
    rng = random.Random(seed)
    drawn = [_mixed_row(rng, late=i > rows // 3) for i in range(rows)]
    labels = [_mixed_label(rng, row, classes) for row in drawn]
    return Stream(f"mixed {task}", Schema(features, Label(task, classes)), drawn, labels)


def _mixed_row(rng: random.Random, late: bool) -> Row:
    colours = ["red", "green", "blue", "rot/ünï"] + (["late", "x" * 40] if late else [])
    row: list[Value] = [
        rng.choice(["late", "early", "never"]),
        rng.gauss(1e5, 3.0),
        rng.randrange(5),
        rng.random() < 0.5,
        rng.choice(colours),
        rng.gauss(0, 1),
    ]
    return tuple(value if i == 5 or rng.random() > 0.15 else None for i, value in enumerate(row))


def _mixed_label(rng: random.Random, row: Row, classes: tuple[Any, ...]) -> str | float:
    dep, late, _, flag, colour, always = row
    value = {"late": 2.0, "early": -2.0}.get(str(dep), 0.0) + {"red": 2.0, "blue": -1.0}.get(str(colour), 0.0)
    value += float(always or 0) + (1.0 if flag else 0.0) + (float(late) - 1e5 if late is not None else 0.0) / 3
    value += rng.gauss(0, 0.3)
    if not classes:
        return value
    return class_text(classes[min(len(classes) - 1, max(0, int(value + len(classes) / 2)))])


def generated(name: str, rows: int) -> Stream:
    """One of River's generators, whose concept changes midway."""
    pairs = list(GENERATORS[name](rows))
    first, answer = pairs[0]
    classes = tuple(sorted({int(y) for _, y in pairs})) if not isinstance(answer, float) else ()
    task: Task = "regression" if not classes else "binary" if len(classes) == 2 else "multiclass"
    schema = Schema(tuple(Feature(str(key), "float") for key in first), Label(task, classes))
    values: list[Row] = [tuple(map(float, x.values())) for x, _ in pairs]
    return Stream(name, schema, values, [class_text(int(y)) if classes else float(y) for _, y in pairs])


GENERATORS: dict[str, Callable[[int], Iterator[Any]]] = {
    "Agrawal": lambda n: itertools.chain(
        synth.Agrawal(0, seed=1, perturbation=0.1).take(n // 2), synth.Agrawal(4, seed=2).take(n - n // 2)
    ),
    "RandomRBFDrift": lambda n: synth.RandomRBFDrift(1, 1, n_classes=4, n_features=6, change_speed=0.001).take(n),
    "FriedmanDrift": lambda n: synth.FriedmanDrift(position=(n // 3, n // 2, 2 * n // 3), seed=1).take(n),
}

FOLDER = Path(__file__).parents[2].parent / "shared" / "datasets"
TEXTS = {"carrier", "tailnum", "origin", "dest"}


def shared(name: str, rows: int) -> Stream | None:
    """The first rows of a real stream that lies beside the project, or None where it does not."""
    path = FOLDER / f"{name}.csv.gz"
    if not path.exists():
        return None
    with gzip.open(path, "rt") as lines:
        records = list(itertools.islice(csv.DictReader(lines), rows))
    names = [key for key in records[0] if key not in ("label", "timestamp")]
    features = tuple(Feature(key, "category" if key in TEXTS else "float", optional=True) for key in names)
    regression = name.endswith("_reg")
    classes = () if regression else tuple(sorted({record["label"] for record in records}))
    values = [tuple(_value(key, record[key]) for key in names) for record in records]
    labels = [float(record["label"]) if regression else record["label"] for record in records]
    return Stream(name, Schema(features, Label("regression" if regression else "binary", classes)), values, labels)


def _value(key: str, text: str) -> Value:
    return None if text == "" else text if key in TEXTS else float(text)


BUNDLED: dict[str, Task] = {
    "Phishing": "binary",
    "Bananas": "binary",
    "ImageSegments": "multiclass",
    "TrumpApproval": "regression",
}
MIXED: dict[str, Task] = {"mixed binary": "binary", "mixed multiclass": "multiclass", "mixed regression": "regression"}
STREAMS = {**BUNDLED, **MIXED}
SHARED: dict[str, Task] = {
    "elec2": "binary",
    "nycflights13_delay15": "binary",
    "acs_employment_ma_2015_2018": "binary",
    "bike_sharing_hourly_reg": "regression",
}
LONG: dict[str, Task] = {
    **SHARED,
    "Agrawal": "binary",
    "RandomRBFDrift": "multiclass",
    "FriedmanDrift": "regression",
    **MIXED,
}


def stream(name: str) -> Stream:
    """A stream by its name in STREAMS."""
    return mixed(MIXED[name]) if name in MIXED else bundled(name)


@cache
def long(name: str, rows: int) -> Stream | None:
    """So many rows of a stream by its name in LONG, or None where it is not here."""
    if name in SHARED:
        return shared(name, rows)
    return mixed(MIXED[name], rows) if name in MIXED else generated(name, rows)


def cases(kind: str) -> list[Any]:
    """(learner, stream name) for each that fit, for parametrize."""
    return [(learner, name) for name, task in STREAMS.items() for learner in learners(kind, task, name in MIXED)]


def case_id(value: Any) -> str:
    """How a case reads in pytest's output."""
    return value.algorithm if isinstance(value, Learner) else str(value).replace(" ", "-")
