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
from drift.columns import wasserstein
from drift.quality import Labelled, quality
from drift.report import Report
from drift.sketches import Profile
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


CLAIMS = Schema((Feature("x", "float"), Feature("c", "category"), Feature("answers: P(true)", "float")), BINARY)


def claims(rows: int, seed: int, moved: float = 0.0) -> Columns:
    rng = np.random.default_rng(seed)
    return {
        "x": rng.normal(moved, 1, rows).tolist(),
        "c": rng.choice(["a", "b"], rows).tolist(),
        "answers: P(true)": rng.random(rows).tolist(),
    }


def _chance(rng: np.random.Generator, share: float) -> Labelled:
    return Labelled((rng.random(500) < share).astype(float), {})


def test_what_is_known_of_the_champion_is_in_the_sentence_the_facts_and_the_page() -> None:
    """Answers may be of other rows than features are, and a feature may be called as they are."""
    rng = np.random.default_rng(5)
    before, now = rng.uniform(0, 0.5, 700), rng.uniform(0.4, 1, 250)
    known = report.Champion(
        answers=(np.column_stack([1 - before, before]), np.column_stack([1 - now, now])),
        quality=quality("zero_one", _chance(rng, 0.1), _chance(rng, 0.3)),
        importance={"x": (0.2, 0.01), "c": (0.05, 0.01), "answers: P(true)": (-0.01, 0.01)},
        notes=("<b>Something</b> is not known.",),
    )
    profiles = {
        "x": Profile(0.0, -3.0, 3.0),
        "c": Profile(0.0, categories={"a": 200, "b": 200}),
        "answers: P(true)": Profile(0.0, 0.0, 1.0),
    }
    made = report.run(claims(400, 1), claims(300, 2, moved=2.0), CLAIMS, Drift(), "", known, profiles)
    said = "1 of 3 columns moved, with 80% of the champion's permutation importance: x ("
    assert made.verdict.sentence.startswith(said)
    assert "; the champion's answers moved (" in made.verdict.sentence
    assert "; the champion's mistakes rose from " in made.verdict.sentence
    assert [column.name for column in made.columns] == list(CLAIMS.names)
    facts = made.facts(0.0, "r.html")
    assert facts.answers is not None
    assert facts.answers.distance == pytest.approx(wasserstein(before, now), rel=1e-6)
    assert (facts.answers.reference_rows, facts.answers.current_rows) == (700, 250)
    assert facts.importance == pytest.approx({"x": 0.8, "c": 0.2, "answers: P(true)": 0.0})
    assert facts.data["x"].outside is not None
    assert facts.data["x"].outside > 0.1
    assert r"answers: P(true) \u00b7" in made.html
    assert "&lt;b&gt;Something&lt;/b&gt; is not known." in made.html
    assert "80%: +0.2 ± 0.01 loss" in made.html


def test_classes_and_values_are_compared_as_what_they_are() -> None:
    """Of several classes the answered one, of a value its size."""
    rng = np.random.default_rng(6)
    kinds = Schema((Feature("x", "float"),), Label("multiclass", ("a", "b", "c")))
    sure = rng.dirichlet([1, 1, 1], 400), rng.dirichlet([8, 1, 1], 400)
    column: Columns = {"x": rng.normal(size=400).tolist()}
    found = report.run(column, column, kinds, Drift(), "", report.Champion(answers=sure)).answers
    assert found is not None
    assert (found.method, found.distance > found.threshold) == (JENSEN_SHANNON, True)
    values = Schema((Feature("x", "float"),), Label("regression"))
    same = rng.normal(size=(400, 1)), rng.normal(size=(400, 1))
    found = report.run(column, column, values, Drift(), "", report.Champion(answers=same)).answers
    assert found is not None
    assert (found.method, found.distance > found.threshold) == (WASSERSTEIN, False)


def test_a_column_of_a_million_names_is_reported_like_any_other() -> None:
    """One bucket and the commonest names; no chart of a million bars."""
    rng = np.random.default_rng(7)
    names = Schema((Feature("user", "category"),), BINARY)
    older, newer = ({"user": [f"u{i}" for i in rng.permutation(10**6)[:n]]} for n in (50_000, 1_000))
    made = report.run(older, newer, names, Drift())
    assert made.verdict.drifted == ()
    assert len(made.html) < 6_000_000
