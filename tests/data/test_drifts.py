"""The drift laboratory: what is injected is what was asked for, from its row on, and nothing before."""

import contextlib
import copy
import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.quantities import ConfigError
from contracts.schema import Feature, Label, Schema
from data import drifts
from data.drifts import Injection
from data.streams import Row

FEATURES = (Feature("x", "float", True), Feature("count", "int"), Feature("kind", "category"), Feature("on", "bool"))
CLASSES = Schema(FEATURES, Label("multiclass", ("a", "b", "c")))
VALUES = Schema(FEATURES, Label("regression"))
N, AT = 600, 200
SPECS = {
    "abrupt": "abrupt",
    "gradual": "gradual width=100",
    "recurring": "recurring period=50",
    "shift": "shift column=x by=2sd",
    "scale": "scale column=count factor=3",
    "resample": "resample column=x",
    "mix": "mix column=kind value=red share=0.9",
    "prior": "prior class=a share=0.8",
    "stuck": "stuck column=x",
    "noise": "noise column=x",
    "dropout": "dropout column=kind",
    "missing": "missing column=on",
    "unit": "unit column=count factor=1000",
    "label-noise": "label-noise share=0.3",
}


def made(schema: Schema = CLASSES, n: int = N) -> list[Row]:
    draw = random.Random(1)
    rows: list[Row] = []
    for _ in range(n):
        features: dict[str, Any] = {"x": draw.gauss(10, 2), "count": draw.randrange(9), "kind": draw.choice("rgb")}
        features |= {"kind": draw.choice(("red", "green", "blue")), "on": draw.random() < 0.5}
        label = features["x"] if schema.label.is_regression else draw.choice("abc")
        rows.append((features, label))
    return rows


def injected(specs: str | Sequence[str], rows: list[Row] | None = None, schema: Schema = CLASSES) -> list[Row]:
    texts = [specs] if isinstance(specs, str) else specs
    injection = Injection([drifts.parse(text) for text in texts], schema)
    return list(injection.rows(made(schema) if rows is None else rows))


def column(rows: Sequence[Row], name: str) -> list[Any]:
    return [features.get(name) for features, _ in rows]


def labels(rows: Sequence[Row]) -> list[Any]:
    return [label for _, label in rows]


def test_every_kind_is_tried_here() -> None:
    """Whoever adds a kind adds it to these tests."""
    assert SPECS.keys() == drifts.KINDS.keys()


@pytest.mark.parametrize("kind", SPECS)
@settings(max_examples=15, deadline=None)
@given(at=st.integers(2, N - 1), seed=st.integers(0, 99), data=st.data())
def test_nothing_changes_before_at_nor_after_until(kind: str, at: int, seed: int, data: st.DataObject) -> None:
    """Rows outside the stretch are the very same values, and so is the source, whatever the kind and the seed."""
    until = data.draw(st.integers(at + 1, N))
    rows = made()
    found = injected(f"{SPECS[kind]} at={at} until={until} seed={seed}", rows)
    assert rows == made()
    assert found[:at] == rows[:at]
    assert found[len(found) - (N - until) :] == rows[until:]


@pytest.mark.parametrize("kind", SPECS)
def test_equal_seeds_give_equal_rows_and_other_seeds_other_ones(kind: str) -> None:
    """A replay of a replay is the same; what draws, draws otherwise with another seed."""
    spec = f"{SPECS[kind]} at={AT}"
    assert injected(spec) == injected(spec)
    draws = kind in ("gradual", "resample", "mix", "prior", "noise", "dropout", "label-noise")
    assert (injected(spec) != injected(f"{spec} seed=1")) == draws


@pytest.mark.parametrize(
    ("kind", "schema"),
    [*((kind, CLASSES) for kind in SPECS), *((kind, VALUES) for kind in SPECS if kind != "prior")],
)
def test_changed_rows_still_fit_the_schema(kind: str, schema: Schema) -> None:
    """Whole numbers stay whole, classes are those that there are; only what is missing may be refused."""
    lenient = Schema(tuple(Feature(one.name, one.type, True) for one in FEATURES), schema.label)
    found = injected(f"{SPECS[kind]} at={AT}", schema=schema)
    assert found != made(schema)
    for features, label in found:
        lenient.decode(features)
        schema.label.decode(label)


def test_a_drift_is_the_same_whatever_else_is_injected() -> None:
    """Each draws on its own: a second one moves nothing of the first."""
    alone = injected(f"dropout column=kind at={AT}")
    both = injected([f"dropout column=kind at={AT}", f"label-noise at={AT}"])
    assert [features for features, _ in alone] == [features for features, _ in both]


def test_a_drift_that_leaves_rows_out_moves_no_other_in_time() -> None:
    """Rows are counted in the source, so that `at` means the same beside every other drift."""
    both = injected([f"prior class=a share=0.95 at={AT}", "missing column=on at=400"])
    late = set(column(made()[400:], "x"))
    assert len(both) < N
    assert all(("on" in features) == (features["x"] not in late) for features, _ in both)


def test_classes_change_places() -> None:
    """Each becomes the next one in the schema's order, or only the two that were named."""
    before = labels(made())[AT:]
    assert labels(injected(f"abrupt at={AT}"))[AT:] == ["abc"[("abc".index(one) + 1) % 3] for one in before]
    two = labels(injected(f"abrupt at={AT} classes=a,c"))[AT:]
    assert two == [{"a": "c", "c": "a", "b": "b"}[one] for one in before]


def test_two_classes_are_swapped_in_the_type_that_they_have() -> None:
    """A stream of True and False stays one of True and False."""
    schema = Schema(FEATURES, Label("binary", (False, True)))
    rows = [(features, label == "a") for features, label in made()]
    flipped = labels(injected(f"abrupt at={AT}", rows, schema))
    assert flipped == [label if i < AT else not label for i, label in enumerate(labels(rows))]
    assert set(map(type, flipped)) == {bool}


def test_values_are_mirrored_about_the_mean_of_what_came_before() -> None:
    """High becomes low: what the value is given the features changes, the mean does not; or as was said."""
    before = labels(made(VALUES))
    mean = sum(before[:AT]) / AT
    assert labels(injected(f"abrupt at={AT}", schema=VALUES))[AT:] == pytest.approx([2 * mean - y for y in before[AT:]])
    said = labels(injected(f"abrupt at={AT} factor=2 add=-1", schema=VALUES))
    assert said[AT:] == pytest.approx([2 * y - 1 for y in before[AT:]])


def test_a_gradual_flip_ramps_up_and_stays() -> None:
    """A quarter of the first half of the width, three quarters of the second, all thereafter."""
    rows = made(n=6_200)
    found = injected("gradual at=200 width=4000", rows)
    flipped = [a != b for a, b in zip(labels(found), labels(rows), strict=True)]
    assert sum(flipped[200:2200]) / 2000 == pytest.approx(0.25, abs=0.04)
    assert sum(flipped[2200:4200]) / 2000 == pytest.approx(0.75, abs=0.04)
    assert all(flipped[4200:])


def test_a_recurring_flip_comes_and_goes() -> None:
    """On for a period, off for a period."""
    flipped = [a != b for a, b in zip(labels(injected("recurring at=100 period=50")), labels(made()), strict=True)]
    assert [sum(flipped[i : i + 50]) for i in range(0, N, 50)] == [0, 0, 50, 0, 50, 0, 50, 0, 50, 0, 50, 0]


def test_amounts_are_in_the_columns_unit_or_its_spread() -> None:
    """2sd is twice the standard deviation of the rows before; missing values stay missing."""
    rows = made()
    rows[AT + 1][0].pop("x")
    past = column(rows, "x")[:AT]
    mean = sum(past) / AT
    sd = (sum((value - mean) ** 2 for value in past) / AT) ** 0.5
    for spec, by in ((f"shift column=x by=2sd at={AT}", 2 * sd), (f"shift column=x by=-3.5 at={AT}", -3.5)):
        found = injected(spec, copy.deepcopy(rows))
        assert "x" not in found[AT + 1][0]
        assert found[AT][0]["x"] == pytest.approx(rows[AT][0]["x"] + by)
    (scaled,) = injected(f"scale column=x factor=3 at={AT}", rows[: AT + 1])[AT:]
    assert scaled[0]["x"] == pytest.approx(mean + 3 * (rows[AT][0]["x"] - mean))


def test_noise_has_the_spread_that_was_asked_for() -> None:
    """Around the value as it was."""
    rows = made(n=4_200)
    found = injected("noise column=x by=5 at=200", rows)
    errors = [a - b for a, b in zip(column(found, "x"), column(rows, "x"), strict=True)][200:]
    assert sum(errors) / 4000 == pytest.approx(0, abs=0.4)
    assert (sum(e * e for e in errors) / 4000) ** 0.5 == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("prior class=a share=0.8", "a"),
        ("prior class=a share=0.05", "a"),
        ("mix column=kind value=red share=0.8", "red"),
    ],
)
def test_the_share_asked_for_is_the_share_that_comes(spec: str, wanted: str) -> None:
    """By leaving rows out: those that stay are rows as they came, each once, in their order."""
    rows = made(n=8_000)
    found = injected(f"{spec} at={AT}", rows)[AT:]
    values = labels(found) if wanted == "a" else column(found, "kind")
    assert values.count(wanted) / len(found) == pytest.approx(float(spec.rpartition("=")[2]), abs=0.06)
    source = iter(rows[AT:])
    assert all(any(row == other for other in source) for row in found)


def test_resampling_moves_the_features_and_not_what_the_label_is_given_them() -> None:
    """Covariate shift: the mean of the column rises (or falls), each row stays what it was."""
    rows = made(VALUES, 4_000)
    for tilt, sign in ((2, 1), (-2, -1)):
        found = injected(f"resample column=x tilt={tilt} at={AT}", rows, VALUES)[AT:]
        assert sign * (sum(column(found, "x")) / len(found) - 10) > 0.5
        assert all(features["x"] == label for features, label in found)


def test_a_stuck_sensor_stays_at_its_last_value_or_the_one_given() -> None:
    """In the column's own type."""
    assert set(column(injected(f"stuck column=x at={AT}")[AT:], "x")) == {made()[AT - 1][0]["x"]}
    assert set(column(injected("stuck column=count value=7 at=0"), "count")) == {7}
    assert set(column(injected("stuck column=on value=true at=0"), "on")) == {True}


def test_a_missing_column_is_absent_and_a_dropping_one_now_and_then() -> None:
    """As streams have it where a value is missing: no key."""
    assert all("on" not in features for features, _ in injected(f"missing column=on at={AT}")[AT:])
    dropped = ["kind" not in features for features, _ in injected(f"dropout column=kind share=0.25 at={AT}")[AT:]]
    assert sum(dropped) / len(dropped) == pytest.approx(0.25, abs=0.08)


def test_what_json_cannot_carry_goes_missing() -> None:
    """A factor that leaves the range of floats makes no infinity that would end the replay."""
    found = injected(["unit column=x factor=1e14 at=0"] * 25)
    assert all("x" not in features for features, _ in found)
    assert set(column(injected(["unit column=count factor=1e14 at=0"] * 2), "count")) <= {0, 2**53}


def test_wrong_labels_are_as_many_as_said_and_none_is_right_by_chance() -> None:
    """Another class each time; values get an error of the spread that was asked for."""
    rows = made(n=4_200)
    found = injected("label-noise share=0.3 at=200", rows)
    wrong = Counter((a, b) for a, b in zip(labels(rows), labels(found), strict=True) if a != b)
    assert sum(wrong.values()) / 4000 == pytest.approx(0.3, abs=0.03)
    assert len(wrong) == 6
    values = made(VALUES)
    noisy = injected(f"label-noise share=1 by=4 at={AT}", values, VALUES)
    errors = [a - b for a, b in zip(labels(values), labels(noisy), strict=True)][AT:]
    assert (sum(e * e for e in errors) / len(errors)) ** 0.5 == pytest.approx(4, rel=0.15)


def test_the_tally_says_what_was_done_and_where() -> None:
    """Rows that really differ, counted in the source."""
    injection = Injection(
        [drifts.parse(f"missing column=on at={AT} until=300"), drifts.parse("prior class=b share=0.9 at=400")], CLASSES
    )
    assert [tally.changed for tally in injection.tallies] == [0, 0]
    for _ in range(2):
        kept = list(injection.rows(made()))
    missing, prior = injection.tallies
    assert (missing.changed, missing.left_out, missing.first, missing.last) == (100, 0, AT, 299)
    assert missing.sentence == "in rows 200 to 299: on is missing: 100 rows changed, from row 200 to 299"
    assert prior.left_out == N - len(kept) > 100
    assert prior.told == "from row 400 on: b becomes 90% of the labels, by leaving rows out"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "there is no kind"),
        ("abrut at=5", 'did you mean "abrupt"'),
        ("unit colum=x at=5 factor=3", 'unit has no "colum"; did you mean "column"'),
        ("unit column=x at=5", "factor= is missing"),
        ("abrupt", "at= is missing"),
        ("abrupt at", '"at" is no key=value'),
        ("abrupt at=", '"at=" is no key=value'),
        ("abrupt at=5 at=6", "twice"),
        ("abrupt at=soon", "at=soon: must be a whole number"),
        ("abrupt at=-1", "at=-1: must be >= 0"),
        ("abrupt at=5 until=5", "until=5: must come after at=5"),
        ("abrupt at=5 width=7", "write gradual for abrupt"),
        ("abrupt at=5 period=7", "write recurring for abrupt"),
        ("gradual at=5", "width= is missing"),
        ("unit column=x factor=2 at=5 width=3 period=4", "leave width or period"),
        ("shift column=x at=5 by=2k", "by=2k: must be an amount such as 10 or 2sd"),
        ("prior class=a share=1.5 at=5", "share=1.5: must be < 1.0"),
        ("noise column='x at=5", "quotation mark"),
    ],
)
def test_a_wrong_spec_is_refused_by_its_wrong_part(text: str, told: str) -> None:
    """With the nearest right one, before anything is asked."""
    with pytest.raises(ConfigError) as refused:
        drifts.parse(text)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "schema", "told"),
    [
        ("missing column=knd at=5", CLASSES, 'there is no column "knd"; did you mean "kind"'),
        ("unit column=kind factor=2 at=5", CLASSES, "float or int have: x, count"),
        ("mix column=x value=1 share=0.5 at=5", CLASSES, "category or bool have: kind, on"),
        ("abrupt at=5 classes=a,d", CLASSES, 'there is no class "d"'),
        ("abrupt at=5 classes=a", CLASSES, "name two"),
        ("abrupt at=5 factor=2", CLASSES, "the label is a class"),
        ("abrupt at=5 classes=a,b", VALUES, "the label is a value"),
        ("prior class=a share=0.5 at=5", VALUES, "no classes"),
        ("abrupt at=1", VALUES, "at=1"),
        ("shift column=x by=2sd at=0", CLASSES, "measured on the rows before"),
        ("stuck column=count value=red at=5", CLASSES, "value=red"),
        ("stuck column=count value=NA at=5", CLASSES, "use the kind missing"),
        ("label-noise by=2 at=5", CLASSES, "the label is a class"),
    ],
)
def test_a_spec_that_does_not_fit_the_stream_is_refused(text: str, schema: Schema, told: str) -> None:
    """Columns, types and classes are looked at before the first row."""
    with pytest.raises(ConfigError) as refused:
        Injection([drifts.parse(text)], schema)
    assert told in str(refused.value)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60) | st.builds(" ".join, st.lists(st.sampled_from(
    ["abrupt", "unit", "column=x", "at=3", "at=1e9", "factor=nan", "factor=inf", "share=0.5", "width=0", "by=1sd", "="])
)))  # fmt: skip
def test_no_text_ends_in_anything_but_a_drift_or_a_refusal(text: str) -> None:
    """Whatever is typed."""
    with contextlib.suppress(ConfigError):
        drift = drifts.parse(text)
        assert drift.at >= 0
        assert math.isfinite(getattr(drift, "factor", None) or 0)
