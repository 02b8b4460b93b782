"""When and on what batch learners are fitted: looks at a log that grows, with a real MLflow on SQLite."""

import logging
import random
import time
from pathlib import Path

import pytest
import redis

from contracts import events
from contracts.alarm_facts import AlarmFacts
from contracts.events import Feedback, Prediction, Shadow
from contracts.fits import RetrainFacts
from flows.bootstrap import open_with_prior
from flows.lasting import told_while_it_lasts
from flows.place import Place
from flows.retrain import fit_all
from tests.flows.world import START_MS, place_in

CONFIG = """
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float", c = "category?"}
[models.m.learners]
line = {algorithm = "linear", kind = "batch"}
[models.m.retrain]
min_rows = 200
"""
BENEFIT = 'when = ["benefit", "drift"]\nprice = 0.001\nmax_share = 1.0\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # where MLflow without a server puts artifacts
    return tmp_path


class Growing:
    """A log to which labelled predictions are added; the label is whether x exceeds a bound."""

    def __init__(self, place: Place):
        self.place, self.rng, self.n = place, random.Random(0), 0
        open_with_prior(place)

    def add(self, count: int, bound: float = 0.0) -> None:
        predictions, labels = [], []
        for _ in range(count):
            self.n += 1
            id_ = f"{START_MS + self.n * 1000}-0"
            x = self.rng.gauss(0, 1)
            asked = Prediction(0, 0, (0.5, 0.5), (x, None), self.place.schema.fingerprint)
            predictions.append((events.offset(id_), asked, Shadow({})))
            labels.append((events.offset(id_) + 1, Feedback(id_, str(x > bound).lower())))
        self.place.log.append_predictions(predictions)
        self.place.log.append_labels(labels)

    def look(self) -> str:
        """Looks whether a fit is due; its version leaves the shadow at once, so that no comparison is waited for."""
        (line,) = fit_all(self.place)
        for version in self.place.releases.board().challengers:
            self.place.roles.retire(version, "made room", cause="test")
        return line

    def kinds(self) -> list[str]:
        return [line.kind for line in self.place.roles.ledger.read() if line.kind in ("forecast", "outcome")]


def test_a_fit_is_made_when_it_pays_and_what_came_of_its_forecast_is_written_down(
    folder: Path, client: redis.Redis
) -> None:
    """The first at once; none while nothing is lost; one after the world has changed, whose forecast meets its truth;
    and one at an alarm of drift, however little is lost, but once for that alarm."""
    place = place_in(folder, client, CONFIG + BENEFIT)
    log = Growing(place)
    log.add(300)
    assert "line: version 1. line, fitted on 240" in log.look()
    assert log.look() == "line: Not due: 0 new labels since the last look; 50 tell something."
    log.add(200, bound=1.0)
    assert "line: version 2." in log.look()
    log.add(200, bound=1.0)
    log.look()
    assert log.kinds()[:2] == ["forecast", "outcome"]
    due, outcome = [line for line in place.roles.ledger.read() if line.kind in ("forecast", "outcome")][:2]
    assert due.numbers["forecast"]["regret"] > 0
    assert outcome.version == 2
    assert outcome.numbers["saved"] > 0.02
    assert outcome.numbers["over"] == 1
    facts = place.streams.fact("retrain", RetrainFacts)
    assert facts is not None
    known = facts.learners["line"]
    assert [fit.version for fit in known.fits][:2] == [1, 2]
    assert known.blocks[-1].losses[2] < known.blocks[-1].losses[1]
    assert len(known.errors) == 1
    place.streams.set_fact(
        "alarm", AlarmFacts(at=time.time(), version=1, severity="alarm", sentence="The loss rose.", budget=1.0)
    )
    assert "version" in log.look()
    assert place.roles.ledger.read()[-3].reason == "line: Due: The loss rose."
    assert "Not due" in log.look()


def test_the_window_that_does_best_on_the_newest_labels_is_chosen_and_fitted_whole(
    folder: Path, client: redis.Redis
) -> None:
    """After a change, the window that has forgotten what was before; the losses of each are in the ledger."""
    place = place_in(folder, client, CONFIG + 'windows = ["all", "last", "reservoir"]\nwindow_rows = 300\n')
    log = Growing(place)
    log.add(900)
    log.add(300, bound=1.0)
    line = log.look()
    assert "line, fitted on 300 labelled predictions" in line
    assert 'the window "last" did best there: all ' in line
    enrolled = next(one for one in place.roles.ledger.read() if one.kind == "enrolled" and one.version == 1)
    losses = enrolled.numbers["windows"]
    assert list(losses) == ["all", "last", "reservoir"]
    assert losses["last"] < min(losses["all"], losses["reservoir"])
    assert enrolled.numbers["training_set"]["window"] == "last"


def test_labels_make_a_fit_due_by_their_number_and_a_person_at_once(folder: Path, client: redis.Redis) -> None:
    """Not one too early; and "now" fits whatever is due."""
    place = place_in(folder, client, CONFIG + 'when = ["labels"]\nevery_labels = 100\n')
    log = Growing(place)
    log.add(200)
    assert "version 1." in log.look()
    log.add(99)
    assert log.look() == "line: Not due: 99 labels since version 1; 100 are waited for."
    (line,) = fit_all(place, window="all", now=True)
    assert "line: version 2. line, fitted on 239" in line


def test_what_takes_long_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """From a given time on, and not before."""
    with caplog.at_level(logging.INFO, "flows.lasting"):
        with told_while_it_lasts("quick", first_s=5.0):
            pass
        with told_while_it_lasts("line: fitting", first_s=0.05, then_s=0.05):
            deadline = time.monotonic() + 10
            while len(caplog.records) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
    told = [record.message for record in caplog.records]
    assert len(told) >= 2
    assert all(one.startswith("line: fitting, for ") for one in told)
