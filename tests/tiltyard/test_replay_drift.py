"""`tiltyard replay --drift`: the drift laboratory at a running instance."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts import events, streams
from contracts.events import Feedback, Prediction
from contracts.streams import Streams
from data.drifts import KINDS
from tests.serving import harness
from tests.serving.harness import Server
from tests.tiltyard.commands import done, refused

ROWS = 60


@pytest.fixture(scope="module")
def server(valkey_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    url = f"redis://127.0.0.1:{valkey_port}/0"
    with streams.connect(url) as client:
        client.flushall()
        harness.crown_all(client)
        with harness.serving(harness.settings(tmp_path_factory.mktemp("laboratory"), url)) as server:
            yield server


def history(folder: Path) -> str:
    path = folder / "history.csv"
    path.write_text("a,b,y\n" + "".join(f"{i}.5,1.5,{'true' if i % 3 else 'false'}\n" for i in range(ROWS)))
    return str(path)


def replayed(server: Server, folder: Path, *more: str) -> str:
    url = f"http://127.0.0.1:{server.port}"
    return done("replay", history(folder), "--model", "fruit", "--label-column", "y", "--url", url, *more)


def test_what_was_injected_is_what_was_asked_and_answered(server: Server, tmp_path: Path) -> None:
    """The log holds the changed rows from their row on, and labels as they were flipped; the summary says so."""
    drifts = ("--drift", "unit column=a factor=1000 at=20 until=40", "--drift", "abrupt at=50")
    told = json.loads(replayed(server, tmp_path, "--json", "--delay", "5", *drifts))
    assert [(one["changed"], one["first"], one["last"]) for one in told["drifts"]] == [(20, 20, 39), (10, 50, 59)]
    with streams.connect(server.where.redis_url) as client:
        kept = Streams(client, "fruit")
        asked = [events.decode(Prediction, fields).row[0] for _, fields in kept.scan("predictions", streams.START)]
        labels = [events.decode(Feedback, fields).label for _, fields in kept.scan("feedback", streams.START)]
    assert asked == [(i + 0.5) * (1000 if 20 <= i < 40 else 1) for i in range(ROWS)]
    assert labels == ["true" if bool(i % 3) != (i >= 50) else "false" for i in range(ROWS)]


def test_a_person_is_told_before_and_after(server: Server, tmp_path: Path) -> None:
    """What is injected and when, then what became of it."""
    output = replayed(server, tmp_path, "--drift", "shift column=b by=-3 at=30")
    first, _, last = output.partition("asked")
    assert "Injected from row 30 on: b moves by -3." in first
    assert "injected from row 30 on: b moves by -3: 30 rows changed, from row 30 to 59" in last


def test_a_drift_that_cannot_be_is_refused_before_anything_is_asked(server: Server, tmp_path: Path) -> None:
    """A kind, a column or a row that is not there, in one line."""
    start = ("replay", history(tmp_path), "--label-column", "y", "--model", "fruit")
    here = (*start, "--url", f"http://127.0.0.1:{server.port}", "--drift")
    assert 'did you mean "abrupt"' in refused(*here, "abrut at=5")
    assert 'there is no column "c"; known are a, b' in refused(*here, "missing column=c at=5")
    assert "the replay ends after 60 rows" in refused(*here, "abrupt at=60")
    assert "the replay ends after 30 rows" in refused(*here, "abrupt at=40", "--limit", "30")


def test_the_help_names_each_kind() -> None:
    """With one line each."""
    text = " ".join(done("replay", "--help").split())
    for name, kind in KINDS.items():
        assert f"{name} {kind.__doc__}" in text
