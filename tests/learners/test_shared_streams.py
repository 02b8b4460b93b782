"""Exactness on real streams that lie beside the project, where they do."""

import csv
import gzip
import itertools
from pathlib import Path
from typing import Any

import pytest

from contracts.config import Learner
from contracts.schema import Feature, Label, Schema, Value
from learners.batch import export, fit
from learners.catalogue import build_online
from learners.export import to_onnx
from learners.parity import ONLINE_TOLERANCE, parity
from tests.learners.streams import Stream, case_id, learners

FOLDER = Path(__file__).parents[2].parent / "shared" / "datasets"
TEXTS = {"carrier", "tailnum", "origin", "dest"}


def shared(name: str, rows: int) -> Stream:
    """The first rows of a shared stream; skips where it is absent."""
    path = FOLDER / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"{name} is not here")
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


CASES = [
    (learner, name)
    for name, task in (
        ("elec2", "binary"),
        ("nycflights13_delay15", "binary"),
        ("bike_sharing_hourly_reg", "regression"),
    )
    for kind in ("online", "batch")
    for learner in learners(kind, task, name.startswith("nyc"))  # type: ignore[arg-type]
]


def _case(learner: Learner, name: str) -> Any:
    is_long = learner.algorithm == "adaptive_random_forest" and name != "elec2"
    return pytest.param(learner, name, marks=[pytest.mark.soak] if is_long else [])


@pytest.mark.parametrize(("learner", "name"), [_case(*case) for case in CASES], ids=case_id)
def test_real_rows_are_answered_exactly(learner: Learner, name: str) -> None:
    """Missing values, thousands of tail numbers, and labels that drift: rounding only, and no label flips."""
    data = shared(name, 5000)
    sample = data.rows[::2]
    if learner.kind == "batch":
        model = fit(learner, data.schema, data.rows, data.labels, 0, 0.2, lambda _: None)
        onnx_bytes, predict = export(model), model.scores
    else:
        online = build_online(learner, data.schema)
        for row, label in data:
            online.learn_one(row, label)
        onnx_bytes, predict = to_onnx(online.model, data.schema).SerializeToString(), online.score_many
    found = parity(onnx_bytes, predict, data.schema, sample)
    assert found.max_abs_difference <= ONLINE_TOLERANCE
    assert found.flips == 0
