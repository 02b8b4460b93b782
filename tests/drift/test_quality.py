"""How good the model was in two windows, and what is wrong with the data: figures, and sentences."""

import numpy as np

from contracts.facts import ColumnFacts
from contracts.schema import Feature, Label, Schema, Value
from drift.quality import Labelled, columns, notes, quality, told
from drift.sketches import Profile

SCHEMA = Schema(
    (Feature("x", "float", optional=True), Feature("c", "category", optional=True), Feature("b", "bool")),
    Label("binary", (False, True)),
)


def side(mistakes: int, of: int) -> Labelled:
    losses = np.zeros(of)
    losses[:mistakes] = 1
    return Labelled(losses, {"accuracy": 1 - mistakes / of})


def test_a_change_is_told_where_chance_does_not_explain_it() -> None:
    """With both figures; mistakes are per cent."""
    worse = quality("zero_one", side(150, 1_000), side(250, 1_000))
    assert told(worse) == "the champion's mistakes rose from 15.0 % to 25.0 %"
    assert told(quality("zero_one", side(250, 1_000), side(150, 1_000))).endswith("fell from 25.0 % to 15.0 %")
    same = quality("zero_one", side(150, 1_000), side(160, 1_000))
    assert told(same) == "the champion's mistakes did not change measurably (15.0 %, now 16.0 %)"
    assert worse.measures == {"accuracy": (0.85, 0.75)}


def test_the_margin_holds_19_of_20_differences_of_chance() -> None:
    """Simulated: the same model in two windows of 300 and 500 rows."""
    rng = np.random.default_rng(0)
    outside = 0
    for _ in range(1_000):
        first, second = (rng.random(n) < 0.2 for n in (300, 500))
        found = quality("zero_one", Labelled(first.astype(float), {}), Labelled(second.astype(float), {}))
        outside += abs(found.current - found.reference) > found.margin
    assert 30 <= outside <= 70


def test_other_losses_are_numbers() -> None:
    """In units of the label, or of the loss."""
    found = quality("absolute", Labelled(np.full(300, 41.23456), {}), Labelled(np.full(300, 50.0), {}))
    assert told(found) == "the champion's mean absolute error rose from 41.23 to 50"


REFERENCE = {
    "x": Profile(0.0, 0.0, 10.0),
    "c": Profile(0.0, categories={"a": 500, "b": 498, "rare": 1, "rarer": 1}),
    "b": Profile(0.0, categories={"true": 500, "false": 500}),
}


def window(x: list[Value], c: list[Value], b: list[Value]) -> dict[str, list[Value]]:
    return {"x": x * 10, "c": c * 10, "b": b * 10}


def test_missing_new_and_out_of_range_values_are_shares_and_sentences() -> None:
    """Each names its column; a bool is a category."""
    current = window([1.0, 2.0, -1.0, 11.0, None], ["a", "new", "newer", None, None], [True] * 5)
    found = columns(SCHEMA, REFERENCE, current)
    assert found["x"] == ColumnFacts(missing=(0.0, 0.2), outside=0.5)
    assert found["c"] == ColumnFacts(missing=(0.0, 0.4), unseen=2 / 3)
    assert found["b"] == ColumnFacts(missing=(0.0, 0.0), unseen=0.0)
    assert list(notes(found, REFERENCE)) == [
        "x is missing in 20.0% of rows, in the reference in 0.0%.",
        "x: 50.0% lie outside the reference's range, 0 to 10.",
        "c is missing in 40.0% of rows, in the reference in 0.0%.",
        "c: 66.7% are categories that the reference has not (0.2% expected).",
    ]


def test_what_is_as_it_was_is_not_told() -> None:
    """Neither a constant column, nor one that was always missing, nor new names in a column of names."""
    names: dict[str, int] = {f"user{i}": 1 for i in range(900)} | {"often": 100}
    reference = REFERENCE | {"x": Profile(1.0), "c": Profile(0.0, categories=names)}
    current = window([None] * 5, ["often", "new1", "new2", "new3", "new4"], [True, False, True, False, True])
    found = columns(SCHEMA, reference, current)
    assert found["c"].unseen == 0.8
    assert found["x"] == ColumnFacts(missing=(1.0, 1.0))
    assert list(notes(found, reference)) == []
    too_many = reference | {"c": Profile(0.0, categories=None)}
    assert columns(SCHEMA, too_many, current)["c"].unseen is None
    constant = REFERENCE | {"x": Profile(0.0, 3.0, 3.0)}
    current = window([3.0] * 5, ["a"] * 5, [True, False, True, False, True])
    assert list(notes(columns(SCHEMA, constant, current), constant)) == []
