"""From labels to a new champion: registration, bootstrap, retraining and promotion, with a real MLflow on SQLite."""

import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import redis

from contracts import events
from contracts.events import Feedback, Prediction, Shadow
from contracts.releases import PRIOR_VERSION, Board
from flows.bootstrap import open_with_prior
from flows.place import Place
from flows.promote import decide_roles
from flows.reporting import look
from flows.retrain import fit_all
from tests.flows.world import Learning, place_in, question

CONFIG = """
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float", c = "category?"}
[models.m.learners]
linear = {algorithm = "linear"}
boosting = {algorithm = "hist_gradient_boosting", kind = "batch"}
[models.m.gate]
maturity = "200ms"
min_matured = 100
bootstrap_labels = 50
[models.m.retrain]
min_rows = 200
[models.m.drift]
reference_rows = 300
current_rows = 200
min_rows = 50
"""


@pytest.fixture
def place(tmp_path: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)  # where MLflow without a server puts artifacts
    return place_in(tmp_path, client, CONFIG)


class Server:
    """Answers and shadows as the real ones do, one question at a time, with the releases that are published."""

    def __init__(self, place: Place):
        self.place, self.sessions = place, {}

    def ask(self, n: int) -> str:
        """Logs a question with its answer and its shadow scores, and answers later at once."""
        asked, board = question(n), self.place.releases.board()
        scored = {version: self._score(version, asked.row) for version in board.versions}
        assert board.champion is not None
        revision, scores = scored.pop(board.champion)
        schema = self.place.schema.fingerprint
        id_ = self.place.streams.append(Prediction(board.champion, revision, scores, asked.row, schema))
        self.place.streams.append_shadows([(id_, Shadow(scored))])
        self.place.streams.append(Feedback(id_, asked.label))
        return id_

    def _score(self, version: int, row: tuple[float, str | None]) -> tuple[int, tuple[float, ...]]:
        revision = self.place.releases.revisions()[version]
        if (version, revision) not in self.sessions:
            release = self.place.releases.fetch(version)
            assert release is not None
            release.verify(self.place.schema.fingerprint)
            self.sessions[version, revision] = onnxruntime.InferenceSession(release.onnx)
        inputs = self.place.schema.tensors([row])
        session = self.sessions[version, revision]
        wanted = {one.name for one in session.get_inputs()}
        (scores,) = session.run(None, {name: value for name, value in inputs.items() if name in wanted})
        return revision, tuple(np.asarray(scores[0], np.float64).tolist())


def test_a_model_starts_with_no_champion_and_ends_with_one_that_earned_it(place: Place) -> None:
    """Prior, then bootstrap by the first learner, then a retrained challenger promoted over it by evidence of this
    tenure only."""
    open_with_prior(place)
    assert place.releases.board().champion == PRIOR_VERSION
    learning, server = Learning(place), Server(place)
    learning.loop.save_every_s = learning.loop.write_every_s = 0.1
    for n in range(300):
        server.ask(n)
        learning.step()
    _until(learning, lambda: place.releases.board().champion == 1)
    _until(learning, lambda: place.releases.revisions().get(1) == 300)
    # A champion that is no good, so that the challenger has something to win: the board is what serving follows.
    learning.close()
    (line,) = fit_all(place)
    assert "boosting: version 2" in line
    assert place.releases.board() == Board(1, (2,), None, place.releases.board().since)
    manifest = place.registry.load_release(2).manifest
    assert manifest.learner == "boosting"
    assert fit_all(place) == ["boosting: version 2 is still collecting its first evidence; not fitted again."]
    facts = look(place, time.time())
    assert (place.settings.report_folder / "m" / facts.report).stat().st_size > 10_000
    assert [line.kind for line in place.roles.ledger.read()] == ["prior", "enrolled", "bootstrap", "enrolled"]
    assert place.roles.ledger.verify() is None
    _promote_the_better(place)


def _promote_the_better(place: Place) -> None:
    """The better challenger takes over once; run again, nothing changes, and the old champion is under probation."""
    learning, server = Learning(place), Server(place)
    learning.loop.save_every_s = 0.1
    champion = place.releases.board().champion
    assert champion == 1
    _spoil(server, champion)
    for n in range(300, 900):
        server.ask(n)
        learning.step()
    _until(learning, lambda: any(c.decision == "promote" for c in learning.loop.comparisons))
    (done,) = decide_roles(place, time.time())
    assert done.startswith("Version 2 answers instead of 1:")
    board = place.releases.board()
    assert (board.champion, board.challengers, board.previous) == (2, (1,), 1)
    assert place.registry.champion() == 2
    assert decide_roles(place, time.time()) == []
    learning.step()
    promoted = place.roles.ledger.read()[-1]
    assert (promoted.kind, promoted.version, promoted.numbers["over"]) == ("promoted", 2, 1)
    assert events.offset(board.since) > 0
    learning.close()


def _spoil(server: Server, version: int) -> None:
    """Makes the answers of one version a coin's: what is logged is what counts."""
    rng, honest = np.random.default_rng(0), server._score

    def score(asked: int, row: tuple[float, str | None]) -> tuple[int, tuple[float, ...]]:
        if asked != version:
            return honest(asked, row)
        p = float(rng.random())
        return 0, (1 - p, p)

    server._score = score  # type: ignore[method-assign]


def _until(learning: Learning, condition: object) -> None:
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen within a minute"
        learning.step()
