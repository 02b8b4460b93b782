"""Drift reports of a whole model: a real fit, its release, MLflow on SQLite, the log and the report on disk."""

import resource
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import redis

from contracts import events
from contracts.config import parse
from contracts.events import Feedback, Prediction, Shadow
from contracts.facts import DriftFacts
from contracts.releases import Board
from contracts.settings import Settings
from drift.windows import TooFewRows
from flows.place import Place, open_place
from flows.reporting import look
from flows.retrain import fit_all
from learners.importance import scorer

CONFIG = """
[models.{name}]
label = {{task = "binary", classes = [false, true]}}
features = {{x = "float", noise = "float", c = "category?"}}
[models.{name}.learners]
boosting = {{algorithm = "hist_gradient_boosting", kind = "batch", params = {{max_iter = 20}}}}
[models.{name}.gate]
maturity = "1s"
[models.{name}.retrain]
min_rows = 200
[models.{name}.drift]
reference_rows = 400
current_rows = 300
min_rows = 100
"""
ROWS = 1_200
NOW = time.time()
START_MS = round(1000 * (NOW - 7_200))


@pytest.fixture
def place(tmp_path: Path, mlflow_folder: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(mlflow_folder)
    name = f"r{abs(hash(str(tmp_path)))}"
    settings = Settings(state=tmp_path, mlflow_url=f"sqlite:///{mlflow_folder}/store.db")
    return open_place(name, parse(CONFIG.format(name=name)).model(name), settings, client)


def ask(place: Place, first: int, last: int, moved: float = 0.0) -> None:
    """Questions at one a second, their answers by the champion, and their labels: true where x is above 0, with noise.

    `moved` shifts x.
    """
    rng = np.random.default_rng(first)
    rows = [(float(rng.normal() + moved), float(rng.normal()), str(rng.choice(["a", "b"]))) for _ in range(first, last)]
    labels = [str((row[0] > 0) != (rng.random() < 0.1)).lower() for row in rows]
    champion = place.releases.board().champion or 0
    release = place.releases.fetch(champion)
    scores = scorer(release)(place.schema.tensors(rows)).tolist() if release else [[0.5, 0.5]] * len(rows)
    at = [events.offset(f"{START_MS + 1000 * n}-0") for n in range(first, last)]
    place.log.append_predictions(
        [
            (offset, Prediction(champion, 0, tuple(s), row, place.schema.fingerprint), Shadow())
            for offset, s, row in zip(at, scores, rows, strict=True)
        ]
    )
    place.log.append_labels(
        [(offset + 1, Feedback(events.offset_id(offset), label)) for offset, label in zip(at, labels, strict=True)]
    )


def crowned(place: Place) -> int:
    """A version that was fitted on the first rows, and answers from now on."""
    ask(place, 0, ROWS)
    (line,) = fit_all(place)
    assert "boosting: version 1." in line, line
    place.roles.bootstrap(1, "the first", cause="test")
    return 1


def sketches(place: Place) -> Sequence[tuple[str, int]]:
    return sorted((path.name, path.stat().st_mtime_ns) for path in place.reference_folder.iterdir())


def test_a_report_says_what_moved_how_much_it_matters_and_how_good_the_champion_was_and_is(place: Place) -> None:
    """The reference is the training set; scores and losses are those of the rows that were held out of the fit."""
    version = crowned(place)
    ask(place, ROWS, ROWS + 400, moved=1.0)
    facts = look(place, NOW)
    assert facts == place.streams.fact("watch", DriftFacts)
    assert (facts.reference_rows, facts.current_rows) == (400, 300)
    assert facts.drifted == ("x",)
    assert facts.importance["x"] > 0.9
    assert "1 of 3 columns moved, with " in facts.sentence
    assert "of the champion's permutation importance: x (" in facts.sentence
    assert "the champion's answers moved" in facts.sentence
    assert facts.answers is not None
    assert facts.answers.reference_rows == 240  # a fifth of the rows is held out
    assert facts.quality is not None
    enrolled = next(line for line in place.roles.ledger.read() if line.kind == "enrolled")
    assert facts.quality.measures["accuracy"][0] == pytest.approx(enrolled.numbers["metrics"]["accuracy"])
    assert facts.quality.reference == pytest.approx(1 - enrolled.numbers["metrics"]["accuracy"])
    assert facts.quality.current_rows == 300
    assert facts.data["x"].outside is not None
    html = (place.settings.report_folder / place.name / facts.report).read_text()
    assert "400 of 1,200 rows of" in html
    assert "what the champion was made from" in html
    run = place.registry._mlflow.get_model_version(place.name, str(version)).run_id or ""
    assert [item.path for item in place.registry._mlflow.list_artifacts(run, "drift")]
    _look_again(place)


def _look_again(place: Place) -> None:
    """The reference was read once; after an erasure it is another one."""
    kept = sketches(place)
    assert [name.rpartition(".")[2] for name, _ in kept].count("parquet") == 2
    look(place, NOW)
    assert sketches(place) == kept
    gone = events.offset(f"{START_MS + 5_000}-0")
    place.log.erase([gone])
    look(place, NOW)
    assert kept != sketches(place)
    for path in place.reference_folder.glob("*.parquet"):
        assert gone not in pq.read_table(path)["offset"].to_pylist()


def test_a_disk_that_is_full_loses_the_report_and_not_the_alarm(place: Place) -> None:
    """Facts say so, and what could not be kept beside it is made again next time."""
    place.releases.set_board(Board(champion=0))
    ask(place, 0, 300)
    ask(place, 300, 600, moved=3.0)
    model = msgspec.structs.replace(place.model, drift=msgspec.structs.replace(place.model.drift, share=0.3))
    place = open_place(place.name, model, place.settings, place.client)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # as a full disk: writing beyond is an OSError
    try:
        facts = look(place, NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert facts.alarm
    assert place.streams.fact("watch", DriftFacts) == facts
    assert facts.report == ""
    assert "could not be kept" in facts.notes[0]
    assert "File too large. Make room there" in facts.notes[0]
    assert not list((place.settings.report_folder / place.name).glob("*.html"))
    assert look(place, NOW).report


def test_a_report_that_waits_for_rows_says_so_beside_the_one_before(place: Place) -> None:
    """Also where there is none yet."""
    place.releases.set_board(Board(champion=0))
    ask(place, 0, 150)
    with pytest.raises(TooFewRows):
        look(place, NOW)
    facts = place.streams.fact("watch", DriftFacts)
    assert facts is not None
    assert (facts.report, facts.columns) == ("", {})
    assert "the reference window has 75 rows and needs 100" in facts.waiting
    ask(place, 150, 400)
    assert look(place, NOW).waiting == ""
    assert "Reference" in (place.settings.report_folder / place.name / look(place, NOW).report).read_text()


def test_labels_of_one_class_are_compared_all_the_same(place: Place) -> None:
    """Accuracy and loss have no need of both classes; nothing is divided by none."""
    crowned(place)
    rng = np.random.default_rng(9)
    release = place.releases.fetch(1)
    assert release is not None
    rows = [(float(abs(rng.normal())), 0.0, None) for _ in range(300)]
    scores = scorer(release)(place.schema.tensors(rows)).tolist()
    at = [events.offset(f"{START_MS + 1000 * (ROWS + n)}-0") for n in range(300)]
    place.log.append_predictions(
        [
            (offset, Prediction(1, 0, tuple(s), row, "f"), Shadow())
            for offset, s, row in zip(at, scores, rows, strict=True)
        ]
    )
    place.log.append_labels([(offset + 1, Feedback(events.offset_id(offset), "true")) for offset in at])
    facts = look(place, NOW)
    assert facts.quality is not None
    assert np.isfinite([facts.quality.current, facts.quality.margin]).all()
    assert facts.data["c"].missing == (0.0, 1.0)
    assert any("c is missing in 100.0% of rows" in note for note in facts.notes)
