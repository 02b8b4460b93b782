"""The mail about drift: all of it in words, in a table, and harmless."""

import re
from typing import Any

import pytest

from contracts.facts import DriftFacts
from drift.letter import Letter, Story, compose, together

MOVED = "1 of 2 columns moved: price (0.31 against 0.10)"
BEGAN = 1_763_700_000.0


def facts(columns: dict[str, float], **changes: object) -> DriftFacts:
    drifted = tuple(name for name, distance in columns.items() if distance >= 0.1)
    given: dict[str, object] = {
        "at": 1_763_800_000.0,
        "report": "r.html",
        "alarm": True,
        "share": 0.5,
        "columns": columns,
        "drifted": drifted,
        "sentence": MOVED,
        "reference_rows": 5000,
        "current_rows": 1000,
        "thresholds": dict.fromkeys(columns, 0.1),
        "methods": dict.fromkeys(columns, "Jensen-Shannon distance"),
    }
    return DriftFacts(**(given | changes))  # type: ignore[arg-type]  # fields by name


def story(sentence: str = MOVED, **more: Any) -> Story:
    return Story(**({"sentence": sentence, "severity": "alarm", "news": "begins"} | more))


@pytest.mark.parametrize(
    ("about", "head"),
    [
        (story(), "drift alarm"),
        (story(severity="info"), "drift of inputs"),
        (story(news=None, severity="none"), "drift report"),
        (story(news=None), "drift alarm"),
        (story(news="grows", before="info"), "drift alarm, was drift of inputs"),
        (story(news="stands", before="alarm"), "drift alarm still stands"),
        (story(news="eases", severity="warning", before="alarm"), "drift alarm eased to drift warning"),
        (story(news="ends", severity="none", before="alarm"), "drift alarm is over"),
    ],
)
def test_the_subject_says_it_all(about: Story, head: str) -> None:
    """Model, what happened, how many columns, and which: readable in a list of mails."""
    letter = compose("shop", about, facts({"price": 0.31, "size": 0.01}), {})
    assert letter.subject == f"[Tiltyard] shop: {head}: {MOVED}"


def test_the_sentence_comes_first_and_the_text_says_what_the_html_says() -> None:
    """Columns by distance, rows, time, method and links are in both."""
    links = {"Report": "http://127.0.0.1:8000/reports/shop/r.html"}
    letter = compose("shop", story(), facts({"size": 0.01, "price": 0.31}), links)
    for body in (letter.text, letter.html):
        words = re.sub(r"<[^>]*>", " ", body)
        assert words.index("1 of 2 columns moved") < words.index("1,000 newest rows against 5,000")
        assert body.rindex("price") < body.index("size ") if body is letter.text else True
        for said in ("0.310", "0.010", "0.100", "Jensen-Shannon distance", "2025-11-22 08:26 UTC", links["Report"]):
            assert said in body


def test_an_alarm_of_the_loss_comes_before_what_the_columns_did() -> None:
    """And since when it stands; without a report it stands alone."""
    about = story("The loss rose from 0.21 to 0.35", news="stands", before="alarm", since=BEGAN)
    letter = compose("shop", about, facts({"price": 0.31}), {})
    for body in (letter.text, re.sub(r"<[^>]*>", " ", letter.html)):
        assert body.index("The loss rose") < body.index("It began on 2025-11-21 04:40 UTC.") < body.index(MOVED)
    alone = compose("shop", about, None, {"Page": "http://h/page"})
    assert "The loss rose" in alone.text
    assert "<table" not in alone.html
    assert "http://h/page" in alone.text


def test_names_are_shown_and_never_run() -> None:
    """A column may be called anything."""
    letter = compose(
        "<b>m", story("<i>moved</i>"), facts({"<script>x</script>": 0.5}), {"<u>": "http://h/?a=1&b='2'"}, '"><img.png'
    )
    assert not re.search(r"<(script|b>m|i>moved|u>|img\.png)", letter.html)
    assert "&lt;script&gt;x" in letter.html


def test_a_hundred_columns_are_cut_with_a_word() -> None:
    """The farthest thirty are listed; the rest is in the report."""
    letter = compose("m", story(), facts({f"c{i}": i / 100 for i in range(100)}), {})
    assert letter.text.count(" against 0.100") == 30
    assert "c99" in letter.text
    assert "70 more in the report." in letter.text
    assert "70 more in the report." in letter.html


def test_many_letters_become_one_that_begins_with_what_they_are_about() -> None:
    """Each whole, within one page."""
    first = compose("shop", story(), facts({"price": 0.31}), {})
    second = Letter(
        "[Tiltyard] shop: Version 2 answers",
        "It won.\n",
        "<html><head><style>x</style></head><body><p>Won</p></body></html>",
    )
    letter = together("shop", [first, second])
    assert letter.subject == f"[Tiltyard] shop: 2 messages: drift alarm: {MOVED}; Version 2 answers"
    assert letter.text.index("2. Version 2 answers") < letter.text.index("0.310") < letter.text.index("It won.")
    assert letter.html.count("<body") == letter.html.count("</html>") == 1
    assert "<p>Won</p>" in letter.html
    assert "<style>x" not in letter.html
