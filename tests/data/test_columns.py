"""Types of columns of text, and the meaning of their cells."""

import pytest

from contracts.schema import BadInput
from data.columns import cell_value, guess, guess_label


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", "+3"], "int"),
        (["1", "2.5", "1e-3", ".5", "NaN"], "float"),
        (["true", "False"], "bool"),
        (["a", "1", "2"], "category"),
        (["2013-01-01T05:15:00", "2013-01-02"], "time"),
        (["", ""], "empty"),
        (["01234", "00017"], "category"),
        (["12345678901234567890", "2"], "category"),
        (["1"] * 99 + ["1.5"], "float"),
        (["1"] * 99 + ["n/a"], "int"),
        (["1"] * 5 + ["n/a"], "category"),
        (["nan", "inf"] * 9, "category"),
        (["1_000", "2_000"], "category"),
    ],
)
def test_the_narrowest_type_is_taken_that_nearly_all_cells_have(cells: list[str], kind: str) -> None:
    """A stray cell among a hundred does not turn numbers into texts; codes with zeros in front stay texts."""
    assert guess("column", cells).type == kind


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("", "float", None),
        ("NA", "float", None),
        ("NA", "category", "NA"),
        ("2", "float", 2.0),
        ("2.0", "int", 2),
        ("TRUE", "bool", True),
    ],
)
def test_a_cell_means_what_its_column_says(text: str, kind: str, value: object) -> None:
    """Missing is None; NA is missing among numbers only."""
    assert cell_value(text, kind) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "kind"), [("inf", "float"), ("1e999", "float"), ("x", "int"), ("1", "bool")])
def test_a_cell_that_does_not_fit_is_refused(text: str, kind: str) -> None:
    """Infinite numbers are no numbers here."""
    with pytest.raises(ValueError, match="is n"):
        cell_value(text, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "task", "classes"),
    [
        (["1", "0", "1"], "binary", (0, 1)),
        (["True", "False"], "binary", (False, True)),
        (["b", "a", "c"], "multiclass", ("a", "b", "c")),
        (["10", "9", "2"], "multiclass", (2, 9, 10)),
        ([str(i) for i in range(30)], "regression", ()),
        ([f"{i}.5" for i in range(30)], "regression", ()),
    ],
)
def test_the_label_tells_the_task(cells: list[str], task: str, classes: tuple[object, ...]) -> None:
    """Few distinct labels are classes in their order; many numbers are a value."""
    label = guess_label("y", cells)
    assert (label.task, label.classes) == (task, classes)


def test_an_identifier_is_no_label() -> None:
    """A text of its own for each row cannot be learned."""
    with pytest.raises(BadInput, match="identifier"):
        guess_label("y", [f"id{i}" for i in range(2_000)])


def test_text_is_no_value() -> None:
    """Asking for a regression on text is refused."""
    with pytest.raises(BadInput, match="regression"):
        guess_label("y", ["a", "b"], task="regression")
