"""A CSV file is read in order, row by row; a bad row costs itself and nothing else."""

import gzip
from pathlib import Path

import pytest

from contracts.schema import Feature, Label, Schema
from data import csvfile, streams
from data.csvfile import BadFile

GOOD = "age,job,member,label\n" + "".join(f"{20 + i},job{i % 3},true,{'yes' if i % 2 else 'no'}\n" for i in range(30))


def write(folder: Path, text: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_types_are_read_off_the_cells(tmp_path: Path) -> None:
    """Whole numbers, texts and booleans become int, category and bool; the label's classes keep their text."""
    schema = streams.stream(write(tmp_path, GOOD), "label").schema
    assert [(f.name, f.type, f.optional) for f in schema.features] == [
        ("age", "int", False),
        ("job", "category", False),
        ("member", "bool", False),
    ]
    assert (schema.label.task, schema.label.classes) == ("binary", ("no", "yes"))


def test_rows_come_in_the_order_of_the_file_with_typed_cells(tmp_path: Path) -> None:
    """The first row is the first line below the header, and it fits the schema."""
    stream = streams.stream(write(tmp_path, GOOD), "label")
    rows = list(stream)
    assert rows[0] == ({"age": 20, "job": "job0", "member": True}, "no")
    assert [features["age"] for features, _ in rows] == list(range(20, 50))
    assert stream.length == len(rows) == 30
    assert all(stream.schema.decode(features) for features, _ in rows)


def test_a_gzipped_file_reads_the_same(tmp_path: Path) -> None:
    """.csv.gz gives the rows of the .csv inside it."""
    packed = write(tmp_path, gzip.compress(GOOD.encode()), "rows.csv.gz")
    assert list(streams.stream(packed, "label")) == list(streams.stream(write(tmp_path, GOOD), "label"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("41,job1,true", "has 3 cells, the header has 4"),
        ("41,job1,true,yes,more", "has 5 cells"),
        ("old,job1,true,yes", "age: 'old' is not a whole number"),
        ("41,job1,maybe,yes", "member: 'maybe' is neither true nor false"),
        ("41,job1,true,", "the label is missing"),
        ('41,"job1,true,yes', "has a quote that is not closed"),
        ('41,"job"1,true,yes', "has a quote that is not closed, or text after one"),
        (b"41,job\xff,true,yes", "job: is not UTF-8 text"),
    ],
)
def test_a_bad_row_is_counted_with_its_line_and_the_others_are_read(
    tmp_path: Path, line: str | bytes, reason: str
) -> None:
    """A row that does not fit is skipped, reported under its line number, and none of its neighbours is lost."""
    lines = GOOD.encode().splitlines(keepends=True)
    lines.insert(5, (line if isinstance(line, bytes) else line.encode()) + b"\n")
    stream = streams.stream(write(tmp_path, b"".join(lines)), "label")
    assert [features["age"] for features, _ in stream] == list(range(20, 50))
    assert stream.bad_rows.count == 1
    assert str(stream.bad_rows.first[0]).startswith(f"line 6: {reason}")


def test_many_bad_rows_are_all_counted_and_a_few_are_kept(tmp_path: Path) -> None:
    """Reports stay short however bad a file is."""
    stream = streams.stream(write(tmp_path, GOOD + "x\n" * 1_000), "label")
    assert len(list(stream)) == 30
    assert (stream.bad_rows.count, len(stream.bad_rows.first)) == (1_000, 20)


def test_a_quoted_cell_may_hold_separators_and_line_breaks(tmp_path: Path) -> None:
    """RFC 4180 quoting, within fifty lines."""
    text = GOOD + '90,"a, ""b""\nc",false,yes\n91,job1,true,no\n'
    rows = list(streams.stream(write(tmp_path, text), "label"))
    assert rows[-2] == ({"age": 90, "job": 'a, "b"\nc', "member": False}, "yes")
    assert rows[-1][0]["age"] == 91


def test_a_blank_cell_of_an_optional_column_is_absent(tmp_path: Path) -> None:
    """A column with blanks becomes optional, and the blanks are left out of the features."""
    stream = streams.stream(write(tmp_path, "a,b,label\n" + "1.5,,0\n,2,1\n" * 20), "label")
    assert [(f.type, f.optional) for f in stream.schema.features] == [("float", True), ("int", True)]
    assert list(stream)[:2] == [({"a": 1.5}, "0"), ({"b": 2}, "1")]


def test_a_timestamp_column_is_left_out(tmp_path: Path) -> None:
    """The order of the rows is the time."""
    path = write(tmp_path, "a,timestamp,label\n" + "1,2013-01-01T05:15:00,0\n2,2013-01-01T05:16:00,1\n" * 9)
    assert [f.name for f in streams.stream(path, "label").schema.features] == ["a"]


def test_semicolons_and_a_byte_order_mark_are_understood(tmp_path: Path) -> None:
    """The separator is the one that the header has most of."""
    path = write(tmp_path, b"\xef\xbb\xbfa;b;label\r\n" + b"1;2,5;x\r\n2;3,5;y\r\n" * 9)
    assert next(iter(streams.stream(path, "label"))) == ({"a": 1, "b": "2,5"}, "x")


def test_a_given_schema_decides_the_types(tmp_path: Path) -> None:
    """Replaying for a configured model reads whole numbers of a float column as floats."""
    path = write(tmp_path, "a,label\n" + "1,x\n2,y\n" * 20)
    schema = Schema((Feature("a", "float"),), Label("binary", ("x", "y")))
    value = next(iter(streams.stream(path, "label", schema=schema)))[0]["a"]
    assert isinstance(value, float)


@pytest.mark.parametrize(("cell", "reason"), [("", "a: is missing"), ("1.5", "a: '1.5' is not a whole number")])
def test_a_row_that_does_not_fit_the_given_schema_is_bad(tmp_path: Path, cell: str, reason: str) -> None:
    """What a configured model would refuse is not asked."""
    path = write(tmp_path, f"a,label\n1,x\n{cell},y\n2,x\n")
    stream = streams.stream(path, "label", schema=Schema((Feature("a", "int"),), Label("binary", ("x", "y"))))
    assert [features["a"] for features, _ in stream] == [1, 2]
    assert [str(row) for row in stream.bad_rows.first] == [f"line 3: {reason}"]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", "label", "is empty; the first line must name the columns"),
        ("a,label\n", "label", "no row below the header"),
        ("a,label\n1,x\n2,y\n", "lable", 'there is no column "lable"; did you mean "label"?'),
        ("a,a,label\n1,2,x\n", "label", "the header names a twice"),
        ("a,label\n1,x\n2,x\n", "label", "a label needs at least two classes"),
        ("label\nx\ny\n", "label", "there is no feature beside label"),
        (b"\xff,label\n1,x\n", "label", "the header is not UTF-8 text"),
        ("a,label\n1,\n2,\n", "label", "has no value in any row"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str | bytes, column: str, message: str) -> None:
    """One line names the file and what is wrong with it."""
    with pytest.raises(BadFile, match=r"rows\.csv") as raised:
        streams.stream(write(tmp_path, text), column)
    assert message in str(raised.value)


def test_a_damaged_archive_says_so(tmp_path: Path) -> None:
    """Half a .gz is refused with its name."""
    with pytest.raises(BadFile, match="cannot be read"):
        streams.stream(write(tmp_path, gzip.compress(GOOD.encode() * 99)[:60], "rows.csv.gz"), "label")


def test_a_file_needs_a_label_column(tmp_path: Path) -> None:
    """Nothing is guessed about what to predict."""
    with pytest.raises(BadFile, match="--label-column"):
        streams.stream(write(tmp_path, GOOD))


def test_rows_are_counted_without_reading_them(tmp_path: Path) -> None:
    """A last line without its line break counts too."""
    assert csvfile.count_rows(write(tmp_path, "a,b\n1,2\n3,4")) == 2
    assert csvfile.count_rows(write(tmp_path, "a,b\n")) == 0
