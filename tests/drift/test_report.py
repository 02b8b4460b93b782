"""Real Evidently on real streams: what moved alarms, what did not does not, and the page stands alone."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from river import datasets as river_datasets

from contracts.drift_rules import Drift
from contracts.facts import DriftFacts
from contracts.schema import Feature, Label, Schema, Value
from drift import report
from drift.report import Report
from drift.verdict import JENSEN_SHANNON, MISSING, WASSERSTEIN
from drift.windows import TooFewRows

BINARY = Label("binary", (False, True))
Columns = dict[str, list[Value]]


def stream(name: str) -> tuple[Schema, Columns, Columns]:
    """A real stream's features, its older and its newer half."""
    rows = [x for x, _ in getattr(river_datasets, name)()]
    names = list(rows[0])
    schema = Schema(tuple(Feature(str(n), "float") for n in names), BINARY)
    columns: Columns = {str(n): [float(row[n]) for row in rows] for n in names}
    half = len(rows) // 2
    return schema, {n: c[:half] for n, c in columns.items()}, {n: c[half:] for n, c in columns.items()}


def shifted(columns: Columns, schema: Schema) -> Columns:
    """Every second column, beginning with the first, one standard deviation farther."""
    moved = schema.names[::2]
    return {n: (np.array(c) + np.std(np.array(c)) * (n in moved)).tolist() for n, c in columns.items()}


@pytest.mark.parametrize("name", ["Bananas", "Phishing"])
def test_a_shifted_half_alarms_and_an_unshifted_one_does_not(name: str) -> None:
    """The halves of a real stream, then the same with every second column moved."""
    schema, older, newer = stream(name)
    calm = report.run(older, newer, schema, Drift())
    assert not calm.verdict.alarm, calm.verdict.sentence
    moved = report.run(older, shifted(newer, schema), schema, Drift())
    assert moved.verdict.alarm
    assert set(schema.names[::2]) <= set(moved.verdict.drifted)
    assert f"of {len(schema.names)} columns moved" in moved.verdict.sentence


def hostile(rows: int, moved: bool, seed: int) -> Columns:
    rng = np.random.default_rng(seed)
    evil = ["</script><script>document.title='owned'</script>", "<img src=http://evil.example/x>", "a&b\"'\\\u2028"]
    return {
        "price": rng.normal(moved, 1, rows).tolist(),
        "count": rng.integers(0, 9, rows).tolist(),
        "flag": (rng.random(rows) < 0.3).tolist(),
        "kind": rng.choice(["a", "b", "c"], rows).tolist(),
        "constant": [0.1] * rows,
        "nearly": [0.3 if i % 2 else 0.1 + 0.2 for i in range(rows)],
        "huge": (rng.uniform(-1, 1, rows) * 1.7e308).tolist(),
        "identifier": rng.integers(2**53 - 5, 2**53, rows).tolist(),
        "gone": [None if moved else float(x) for x in rng.normal(size=rows)],
        "never": [None] * rows,
        "nothing": [None] * rows,
        "user": [f"user{x}" for x in rng.integers(0, 10**6, rows)],
        "evil": rng.choice(evil, rows).tolist(),
        "target": rng.normal(size=rows).tolist(),
        "prediction": rng.normal(size=rows).tolist(),
        "id": rng.normal(size=rows).tolist(),
        "</script><b>": rng.normal(size=rows).tolist(),
    }


KINDS = {"count": "int", "identifier": "int", "flag": "bool"} | dict.fromkeys(
    ("kind", "user", "evil", "nothing"), "category"
)
HOSTILE = Schema(
    tuple(Feature(n, KINDS.get(n, "float"), optional=True) for n in hostile(1, False, 0)),  # type: ignore[arg-type]
    BINARY,
)


@pytest.fixture(scope="module")
def awkward() -> Report:
    """Columns of every kind that breaks things; price and gone have moved."""
    return report.run(hostile(3000, False, 1), hostile(1000, True, 2), HOSTILE, Drift(), "Champion <7>.")


def test_awkward_columns_have_well_defined_distances(awkward: Report) -> None:
    """Constant, huge, nearly constant, all missing, a million categories: numbers, and only what moved is moved."""
    assert awkward.verdict.drifted == ("price", "gone")
    found = {column.name: column for column in awkward.columns}
    assert list(found) == list(HOSTILE.names)
    assert all(np.isfinite(column.distance) for column in awkward.columns)
    for name in ("constant", "nearly", "never", "nothing"):
        assert found[name].distance == 0.0
    assert found["gone"].method == MISSING
    assert found["price"].distance == pytest.approx(1.0, abs=0.1)


def test_every_column_names_its_method_and_threshold_on_the_page(awkward: Report) -> None:
    """Evidently would change its method, without saying so, at 1,000 rows."""
    assert {column.method for column in awkward.columns} == {WASSERSTEIN, JENSEN_SHANNON, MISSING}
    assert awkward.html.count(f"Drift detection method: {WASSERSTEIN}") == 10
    assert "<td>price<td>" in awkward.html
    assert "p_value" not in awkward.html
    assert awkward.verdict.sentence in awkward.html
    assert "Champion &lt;7&gt;." in awkward.html


def test_the_page_loads_nothing_from_elsewhere(awkward: Report) -> None:
    """No script, style sheet, picture or frame has an address; fonts and code are inside."""
    loads = re.compile(r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*\b(?:src|href|data)\s*=", re.IGNORECASE)
    markup = re.sub(r"<script>.*?</script>", "<script></script>", awkward.html, flags=re.DOTALL)
    assert not loads.search(markup)
    assert not re.search(r"""(?:@import|url\()\s*["']?https?:""", markup)
    assert "evil.example" not in markup
    assert "<img" not in awkward.html[: awkward.html.index("<body>")]


def test_values_cannot_end_the_script_they_are_written_into(awkward: Report) -> None:
    """A category is whatever a caller sent."""
    assert "owned" in awkward.html
    assert "</script><script>document" not in awkward.html


@pytest.fixture
def chromium_requests(awkward: Report, tmp_path: Path) -> Iterator[tuple[list[str], str, list[str], str]]:
    """(addresses asked for, title, errors, text) of the page in Debian's Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("Chromium is not here")
    page_file = tmp_path / "report.html"
    page_file.write_text(awkward.html)
    asked: list[str] = []
    errors: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(page_file.as_uri())
        page.get_by_text("Drift in column 'price'").wait_for()
        page.get_by_text("DATA DISTRIBUTION").first.click()
        page.wait_for_timeout(500)
        yield asked, page.title(), errors, page.inner_text("body")
        browser.close()


@pytest.mark.browser
def test_a_browser_shows_the_page_and_asks_for_nothing(
    chromium_requests: tuple[list[str], str, list[str], str],
) -> None:
    """The file is the only request, no hostile value ran, and sentence and plots are there."""
    asked, title, errors, text = chromium_requests
    assert [address.rpartition("/")[2] for address in asked if not address.startswith(("data:", "blob:"))] == [
        "report.html"
    ]
    assert title == "Drift"
    assert errors == []
    assert "2 of 17 columns moved" in text


def test_facts_survive_their_way_through_redis(awkward: Report) -> None:
    """They are JSON: no infinity, no NaN, and every column has distance, threshold and method."""
    facts = awkward.facts(1.5, "r.html")
    assert msgspec.json.decode(msgspec.json.encode(facts), type=DriftFacts) == facts
    assert facts.columns.keys() == facts.thresholds.keys() == facts.methods.keys() == set(HOSTILE.names)
    assert json.loads(msgspec.json.encode(facts))["current_rows"] == 1000


def test_too_few_rows_are_said_before_anything_is_computed() -> None:
    """The message names the window, the rows that there are and the rows that are needed."""
    schema, older, newer = stream("Bananas")
    with pytest.raises(TooFewRows, match="the current window has 199 rows and needs 200"):
        report.run(older, {n: c[:199] for n, c in newer.items()}, schema, Drift())
    with pytest.raises(TooFewRows, match="the reference window has 0 rows"):
        report.run({n: [] for n in older}, newer, schema, Drift())


def test_a_report_calls_nobody_and_mails_need_no_evidently() -> None:
    """An audit hook sees no connection and no name look-up from import to page; telemetry code is not even loaded."""
    script = """
import sys
calls = []
sys.addaudithook(lambda event, args: calls.append(event) if event in ("socket.connect", "socket.getaddrinfo") else None)
import drift.windows, drift.verdict, drift.mail, drift.letter, drift.shelf, drift.columns
assert "evidently" not in sys.modules and "pandas" not in sys.modules
from contracts.drift_rules import Drift
from contracts.schema import Feature, Label, Schema
from drift import report
column = {"x": [float(i) for i in range(300)]}
report.run(column, column, Schema((Feature("x", "float"),), Label("binary", (0, 1))), Drift())
assert not calls, calls
assert "evidently.telemetry" not in sys.modules and "iterative_telemetry" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
