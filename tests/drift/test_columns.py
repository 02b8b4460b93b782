"""What is compared of a column, and how far chance alone moves it."""

import itertools

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from contracts.schema import Feature, Value
from drift.columns import Comparison, compare, wasserstein
from drift.verdict import JENSEN_SHANNON, MISSING, WASSERSTEIN


def only(feature: Feature, reference: list[Value], current: list[Value]) -> Comparison:
    (found,) = compare(feature, reference, current, 0.1)
    return found


def test_the_distance_is_scipys_in_standard_deviations_of_the_reference() -> None:
    """Ours differs from Evidently's in its unit only."""
    rng = np.random.default_rng(1)
    reference, current = rng.exponential(size=700), rng.exponential(1.4, size=300)
    expected = wasserstein_distance(reference, current) / np.std(reference)
    assert wasserstein(reference, current) == pytest.approx(expected)


@pytest.mark.parametrize("unit", [1e-300, 1e-9, 1.0, 1e15, 1e300])
def test_the_unit_of_a_column_changes_nothing(unit: float) -> None:
    """Metres or nanometres: the same drift. Evidently's own norm is blind below 0.001."""
    rng = np.random.default_rng(2)
    values = (rng.normal(size=400), rng.normal(0.5, size=400))
    found = only(Feature("x", "float"), *((side * unit).tolist() for side in values))
    distance = wasserstein(np.asarray(found.reference, np.float64), np.asarray(found.current, np.float64))
    assert distance == pytest.approx(wasserstein(*values), rel=1e-6)


def test_constant_columns_have_a_distance() -> None:
    """Equal constants 0, different ones a few deviations of both together, never a division by zero."""
    same, other = np.full(300, 0.1), np.full(300, 0.2)
    assert wasserstein(same, same) == 0.0
    assert wasserstein(same, other) == pytest.approx(2.0)
    assert wasserstein(np.array([0.0, 1e-300]), np.full(2, 1e300)) == 1e6


def test_rounding_errors_are_no_variation() -> None:
    """0.3 and 0.1 + 0.2 are one number, or histograms fail."""
    found = only(Feature("x", "float"), [0.3, 0.1 + 0.2] * 200, [0.1 + 0.2] * 300)
    assert np.ptp(np.concatenate([found.reference, found.current])) == 0.0


def test_missing_numbers_are_compared_as_a_column_of_their_own() -> None:
    """A column that is missing throughout one window has nothing else to compare."""
    feature = Feature("x", "float", optional=True)
    values, missing = compare(feature, [1.0, None, 2.0], [None, 1.5, 2.0], 0.1)
    assert (values.method, missing.method, missing.feature) == (WASSERSTEIN, MISSING, "x")
    assert missing.reference == ["present", "missing", "present"]
    assert only(feature, [1.0, 2.0], [None, None]).method == MISSING
    assert only(feature, [None, None], [None, None]).method == MISSING


def test_a_missing_category_is_a_category() -> None:
    """So are both values of a bool; an int is a number."""
    found = only(Feature("c", "category", optional=True), ["a", None], ["b", "a"])
    assert (found.method, found.reference) == (JENSEN_SHANNON, ["a", "(missing)"])
    assert only(Feature("b", "bool", optional=True), [True, None], [False, True]).current == ["false", "true"]
    assert only(Feature("n", "int"), [1, 2], [3, 4]).method == WASSERSTEIN


def test_rare_categories_share_a_bucket_and_new_common_ones_are_named() -> None:
    """A column of identifiers has one bucket; a value that is common in either window has its own."""
    names: list[Value] = [f"user{i}" for i in range(1000)]
    found = only(Feature("c", "category"), names, [*names[:600], *["new"] * 400])
    assert len({*found.reference, *found.current}) == 20
    assert found.current.count("new") == 400  # type: ignore[union-attr]  # a category's column is a list
    assert found.reference.count("(other)") > 900  # type: ignore[union-attr]


def test_markup_in_values_and_names_is_defused() -> None:
    """Evidently writes both into a script element as they are."""
    found = only(Feature("</script>", "category"), ["</script><img>"], ["<!--"])
    assert not set("<>") & set("".join([found.title, *found.reference, *found.current]))  # type: ignore[list-item]
    assert found.feature == "</script>"


@pytest.mark.parametrize(("rows", "expected"), [((200, 200), 0.25), ((1000, 5000), 0.1)])
def test_small_windows_raise_the_threshold_and_default_ones_do_not(rows: tuple[int, int], expected: float) -> None:
    """At 200 rows each, two of three unchanged normal columns lie above 0.1."""
    rng = np.random.default_rng(3)
    found = only(Feature("x", "float"), rng.normal(size=rows[1]).tolist(), rng.normal(size=rows[0]).tolist())
    assert found.threshold == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("kind", ["normal", "skewed", "two categories", "forty categories"])
def test_unchanged_columns_of_small_windows_seldom_drift(kind: str) -> None:
    """200 pairs of windows of 200 rows from one distribution: at most 3 % above the threshold."""
    rng = np.random.default_rng(4)
    draws = {
        "normal": lambda: rng.normal(size=200),
        "skewed": lambda: rng.exponential(size=200),
        "two categories": lambda: rng.choice(["a", "b"], 200),
        "forty categories": lambda: rng.choice([f"c{i}" for i in range(40)], 200),
    }
    feature = Feature("x", "category" if "categories" in kind else "float")
    drifted = 0
    for _ in range(200):
        found = only(feature, draws[kind]().tolist(), draws[kind]().tolist())
        drifted += distance_of(found) >= found.threshold
    assert drifted <= 6


def distance_of(found: Comparison) -> float:
    if found.method == WASSERSTEIN:
        return wasserstein(np.asarray(found.reference, np.float64), np.asarray(found.current, np.float64))
    keys = sorted({*found.reference, *found.current})  # type: ignore[type-var]  # all text here
    shares = [
        np.array([list(side).count(key) / len(side) for key in keys]) for side in (found.reference, found.current)
    ]  # type: ignore[arg-type]
    middle = (shares[0] + shares[1]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.nansum(share * np.log(share / middle)) for share in shares]
    return float(np.sqrt(max(sum(parts), 0) / 2))


def test_every_feature_type_is_compared_by_distance_and_never_by_chance_of_equality() -> None:
    """The methods are the two named ones, whatever the type and the number of rows."""
    cells: dict[str, list[Value]] = {"float": [0.5, 1.5], "int": [1, 2], "bool": [True, False], "category": ["a", "b"]}
    for (kind, values), times in itertools.product(cells.items(), (150, 1500)):
        found = only(Feature("x", kind), values * times, values * times)  # type: ignore[arg-type]  # the keys are types
        assert found.method in (WASSERSTEIN, JENSEN_SHANNON)
