"""The mail about a report: all of it in words, in a table, and harmless."""

import re

from contracts.facts import DriftFacts
from drift.letter import compose


def facts(columns: dict[str, float], **changes: object) -> DriftFacts:
    drifted = tuple(name for name, distance in columns.items() if distance >= 0.1)
    given: dict[str, object] = {
        "at": 1_763_800_000.0,
        "report": "r.html",
        "alarm": True,
        "share": 0.5,
        "columns": columns,
        "drifted": drifted,
        "sentence": "1 of 2 columns moved: price (0.31 against 0.10)",
        "reference_rows": 5000,
        "current_rows": 1000,
        "thresholds": dict.fromkeys(columns, 0.1),
        "methods": dict.fromkeys(columns, "Jensen-Shannon distance"),
    }
    return DriftFacts(**(given | changes))  # type: ignore[arg-type]  # fields by name


def test_the_subject_says_it_all() -> None:
    """Model, alarm or not, how many columns, and which: readable in a list of mails."""
    letter = compose("shop", facts({"price": 0.31, "size": 0.01}), {})
    assert letter.subject == "[Tiltyard] shop: drift alarm: 1 of 2 columns moved: price (0.31 against 0.10)"
    assert compose("shop", facts({"price": 0.31}, alarm=False), {}).subject.startswith("[Tiltyard] shop: drift report:")


def test_the_sentence_comes_first_and_the_text_says_what_the_html_says() -> None:
    """Columns by distance, rows, time, method and links are in both."""
    links = {"Report": "http://127.0.0.1:8000/reports/shop/r.html"}
    letter = compose("shop", facts({"size": 0.01, "price": 0.31}), links)
    for body in (letter.text, letter.html):
        words = re.sub(r"<[^>]*>", " ", body)
        assert words.index("1 of 2 columns moved") < words.index("1,000 newest rows against 5,000")
        assert body.rindex("price") < body.index("size ") if body is letter.text else True
        for said in ("0.310", "0.010", "0.100", "Jensen-Shannon distance", "2025-11-22 08:26 UTC", links["Report"]):
            assert said in body


def test_names_are_shown_and_never_run() -> None:
    """A column may be called anything."""
    letter = compose(
        "<b>m", facts({"<script>x</script>": 0.5}, sentence="<i>moved</i>"), {"<u>": "http://h/?a=1&b='2'"}
    )
    assert not re.search(r"<(script|b>m|i>moved|u>)", letter.html)
    assert "&lt;script&gt;x" in letter.html


def test_a_hundred_columns_are_cut_with_a_word() -> None:
    """The farthest thirty are listed; the rest is in the report."""
    letter = compose("m", facts({f"c{i}": i / 100 for i in range(100)}), {})
    assert letter.text.count(" against 0.100") == 30
    assert "c99" in letter.text
    assert "70 more in the report." in letter.text
    assert "70 more in the report." in letter.html
