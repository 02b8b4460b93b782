"""What a person decides of a learner: frozen, accepted, pardoned, each with a reason, over real trainers."""

import contextlib
import dataclasses
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from contracts import config
from contracts.facts import LearnerFacts
from contracts.journal import Example, Journal
from contracts.releases import Board
from flows import checkpoint, publishing
from flows.aside import Inline
from flows.place import Place, open_place
from flows.trainer import Trainer
from flows.training import TrainState
from tests.tiltyard.commands import done, refused
from tiltyard import instance, switches, up
from tiltyard.instance import Instance

CONFIG = """
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float"}
[models.m.learners]
linear = {algorithm = "linear"}
tree = {algorithm = "hoeffding_tree"}
boosting = {algorithm = "hist_gradient_boosting", kind = "batch"}
[models.m.safeguards]
max_change = 0.3
"""
BRITTLE = """
from pathlib import Path
from river import linear_model

class Brittle(linear_model.LogisticRegression):
    def learn_one(self, x, y):
        if x["x"] == 13.0 and not Path(__file__).with_name("mended").exists():
            raise ArithmeticError("cannot learn 13")
        super().learn_one(x, y)

def build(schema, params, seed):
    return Brittle()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test runs in an empty folder, with no variable of Tiltyard set."""
    for name in os.environ:
        if name.startswith("TILTYARD_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def place_of(home: Path, redis_url: str, client: redis.Redis, text: str = CONFIG) -> Place:
    """A model of an instance that the command line finds."""
    (home / "tiltyard.toml").write_text(text)
    chosen = up.settings_for(None, None, 8700, {"TILTYARD_REDIS_URL": redis_url})
    chosen.state.mkdir()
    instance.write(Instance.of(chosen))
    return open_place("m", config.load(chosen.config).model("m"), chosen, client)


@pytest.fixture
def place(home: Path, redis_url: str, client: redis.Redis) -> Place:
    return place_of(home, redis_url, client)


class Labels:
    """The joiner's end: labelled examples, true where x is above 0 unless `flipped`."""

    def __init__(self, place: Place):
        self.journal, self.dice = Journal(place.journal_folder), random.Random(5)

    def give(self, count: int, flipped: bool = False, x: float | None = None) -> None:
        for at in range(self.journal.end + 1, self.journal.end + 1 + count):
            drawn = self.dice.gauss(0, 1) if x is None else x
            label = str((drawn > 0) != flipped).lower()
            self.journal.append([Example(at, at, label, (drawn,))])

    def close(self) -> None:
        self.journal.close()


@pytest.fixture
def labels(place: Place) -> Iterator[Labels]:
    with contextlib.closing(Labels(place)) as opened:
        yield opened


@contextlib.contextmanager
def training(place: Place, name: str = "linear") -> Iterator[Trainer]:
    """A trainer at work beside the test, whose learner is the champion."""
    trainer, over = Trainer(place, name, Inline), threading.Event()
    trainer.tell_every_s = 0.1
    trainer.state.version = 1
    place.releases.set_board(Board(champion=1))

    def work() -> None:
        while not over.is_set():
            if not trainer.step():
                time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield trainer
    finally:
        over.set()
        thread.join()
        trainer.close()


@contextlib.contextmanager
def running(place: Place) -> Iterator[None]:
    """The model's trainers, each in a process of its own."""
    command = [sys.executable, "-m", "flows.trainers", place.name]
    process = subprocess.Popen(command, env=os.environ | place.settings.environment())
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within a minute"
        time.sleep(0.02)


def facts(place: Place, name: str = "linear") -> LearnerFacts:
    found = place.streams.fact(f"learner:{name}", LearnerFacts)
    assert found is not None
    return found


def is_benched(place: Place, name: str = "linear") -> bool:
    found = place.streams.fact(f"learner:{name}", LearnerFacts)
    return found is not None and found.benched is not None


def stored(place: Place) -> TrainState:
    state = checkpoint.load(place.checkpoint_folder / "learners" / "linear")
    assert isinstance(state, TrainState)
    return state


def published(place: Place) -> int:
    manifest = place.releases.manifest(1)
    return -1 if manifest is None else manifest.learned


def test_a_frozen_learner_goes_on_learning_and_publishes_nothing(place: Place, labels: Labels) -> None:
    """It is confirmed by its process and checkpointed all the same; unfrozen, all that it has learned is published."""
    with training(place):
        labels.give(300)
        until(lambda: published(place) == 300)
        told = done("freeze", "m", "linear", "--reason", "the new reporter looks wrong")
        assert "Frozen: linear of m. Learning goes on, nothing is published (ledger line 0)." in told
        assert "Its process confirmed it after" in told
        labels.give(200)
        until(lambda: facts(place).learned == 500)
        until(lambda: stored(place).learner.learned == 500)
        assert published(place) == 300
        assert "linear of m is frozen: `tiltyard unfreeze m linear`" in refused("accept", "m", "linear")
        assert "linear of m is frozen already" in refused("freeze", "m", "linear", "--reason", "again")
        assert "confirmed it after" in done("unfreeze", "m", "--reason", "it was right")
        until(lambda: published(place) == 500)
    frozen, unfrozen = place.roles.ledger.read()
    assert (frozen.kind, frozen.version, frozen.numbers) == ("frozen", 1, {"learners": ["linear"]})
    assert frozen.reason.endswith("the new reporter looks wrong")
    assert (unfrozen.kind, unfrozen.cause) == ("unfrozen", frozen.cause)
    assert place.roles.ledger.verify() is None


def test_a_whole_model_is_frozen_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every online learner; one line; and it holds although no process is there to confirm it."""
    monkeypatch.setattr(switches, "CONFIRMED_WITHIN_S", 0.2)
    told = done("freeze", "m", "--reason", "an audit")
    assert "Frozen: linear and tree of m." in told
    assert "Each process has not confirmed it within 0.2 s" in told
    assert place.streams.publishing() == {"linear": "frozen", "tree": "frozen"}
    assert "every learner of m is frozen already" in refused("freeze", "m", "--reason", "an audit")
    done("unfreeze", "m", "tree", "--reason", "seen")
    assert place.streams.publishing() == {"linear": "frozen"}
    assert "tree of m is not frozen" in refused("unfreeze", "m", "tree", "--reason", "seen")
    assert [line.kind for line in place.roles.ledger.read()] == ["frozen", "unfrozen"]


def test_a_frozen_learner_does_not_join_as_a_challenger(place: Place, labels: Labels) -> None:
    """To register is to publish: it waits, however much was learned."""
    labels.give(400)
    place.streams.set_publishing("linear", "frozen")
    trainer = Trainer(place, "linear", Inline)
    while trainer.step():
        pass
    trainer.step()
    assert trainer.state.learner.learned == 400
    assert trainer.state.version is None
    assert place.releases.revisions() == {}
    trainer.close()


def test_a_held_revision_is_published_when_a_person_accepts_it(place: Place, labels: Labels) -> None:
    """Labels that turned over are held; accepted, that revision is published, and later ones are compared with it."""
    with training(place):
        labels.give(3_000)
        until(lambda: published(place) == 3_000)
        assert "no revision of linear of m is held" in refused("accept", "m", "linear")
        labels.give(2_900, flipped=True)  # as many as it knew would be another model, which is not held
        until(lambda: facts(place).learned == 5_900 and facts(place).held is not None)
        assert published(place) < 5_900
        told = done("accept", "m", "linear", "--reason", "the classes were renamed")
        assert "that was held is accepted (ledger line 0). Revision" in told
        until(lambda: published(place) == 5_900)
        until(lambda: facts(place).held is None)
        assert place.streams.publishing() == {}
    (line,) = place.roles.ledger.read()
    assert (line.kind, line.version) == ("accepted", 1)
    assert line.reason == "linear: the revision that was held is published. the classes were renamed"


def test_a_revision_whose_graph_is_at_fault_cannot_be_accepted(
    place: Place, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says why, and says nothing in the ledger: a person can let a large change through, no wrong answers."""
    right = publishing.export.revision

    def off(*given: Any, **named: Any) -> Any:
        found = right(*given, **named)
        return dataclasses.replace(found, weights={name: array + 0.01 for name, array in found.weights.items()})

    with training(place) as trainer:
        labels.give(300)
        until(lambda: published(place) == 300)
        monkeypatch.setattr(publishing.export, "revision", off)
        trainer.publisher.check_at = 0.0
        labels.give(10)
        until(lambda: facts(place).is_faulty)
        refusal = refused("accept", "m", "linear", "--reason", "let it be")
        monkeypatch.setattr(publishing.export, "revision", right)
        assert "of linear of m that is held cannot be let through: its graph does not answer as River does" in refusal
        assert place.streams.publishing() == {}
        labels.give(10)
        until(lambda: published(place) == 320 and not facts(place).is_faulty)
    assert place.roles.ledger.read() == []


def test_a_benched_learner_is_pardoned_and_benched_again_where_nothing_has_changed(
    home: Path, redis_url: str, client: redis.Redis
) -> None:
    """A real process: it goes on from its checkpoint, fails at the same event, and learns on once that is mended."""
    (home / "brittle.py").write_text(BRITTLE)
    own = CONFIG.replace('linear = {algorithm = "linear"}', 'linear = {learner = "brittle:build"}')
    place = place_of(home, redis_url, client, own.replace('tree = {algorithm = "hoeffding_tree"}\n', ""))
    assert "linear of m is not benched" in refused("pardon", "m", "linear")
    labels = Labels(place)
    labels.give(100)
    with running(place):
        until(lambda: (place.checkpoint_folder / "learners" / "linear" / "current").exists())
        labels.give(1, x=13.0)
        labels.give(50)
        until(lambda: is_benched(place))
        told = done("pardon", "m", "linear")
        assert "if it fails at the same event again, it is benched again. It was, after" in told
        assert "cannot learn 13" in told
        (home / "mended").touch()
        assert "It learns again, after" in done("pardon", "m", "linear", "--reason", "mended")
        until(lambda: facts(place).learned == 151)
    labels.close()
    first, second = place.roles.ledger.read()
    assert first.kind == second.kind == "pardoned"
    assert "cannot learn 13" in first.reason
    assert second.reason.endswith("mended")


def test_a_learner_that_outgrew_its_memory_goes_on_with_more(home: Path, redis_url: str, client: redis.Redis) -> None:
    """Its configuration is read anew when it is pardoned, and it does not begin anew for that."""
    small = CONFIG.replace('{algorithm = "linear"}', '{algorithm = "linear", memory_mb = 20}')
    place = place_of(home, redis_url, client, small.replace('tree = {algorithm = "hoeffding_tree"}\n', ""))
    labels = Labels(place)
    labels.give(100)
    labels.close()
    with running(place):
        until(lambda: is_benched(place))
        assert "beyond memory_mb = 20; give it more" in str(facts(place).benched)
        before = stored(place)
        larger = place.settings.config.read_text().replace("memory_mb = 20", "memory_mb = 4000")
        place.settings.config.write_text(larger)
        assert "It learns again, after" in done("pardon", "m", "linear", "--reason", "more memory")
        until(lambda: facts(place).learned == 100)
    assert stored(place).genesis == before.genesis


def test_who_and_why_must_be_named(place: Place) -> None:
    """An unknown model or learner is answered with the nearest, a batch learner with those that publish."""
    assert "--reason is empty" in refused("freeze", "m", "linear", "--reason", " ")
    assert 'no online learner "liner"; did you mean "linear"?' in refused("freeze", "m", "liner", "--reason", "x")
    assert "it has linear and tree" in refused("accept", "m", "boosting")
    assert 'there is no model "n"' in refused("pardon", "n", "linear")
    assert place.streams.publishing() == {}
    assert place.roles.ledger.read() == []
