"""One learner beside others: what it may publish, what stops it, and how it goes on from what was stored."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import redis

from contracts import events, journal
from contracts.facts import LearnerFacts
from contracts.journal import Example, Journal
from contracts.releases import Board
from flows.aside import Aside, AsideFailed, Inline
from flows.checkpoint import CheckpointRefused
from flows.place import Place
from flows.trainer import Saved, Trainer
from learners.catalogue import build_online
from learners.safeguards import Spread
from tests.flows.world import CONFIG, Learning, fill, place_in, question
from tests.serving.harness import until

VERSION = 7
BROKEN = '''
"""Learners of one's own that cannot take a row far from all others."""
from river import linear_model, optim


class Loss(optim.losses.Log):
    def __init__(self, far):
        super().__init__()
        self.far = far

    def gradient(self, y_true, y_pred):
        if abs(y_pred) > 6:
            return float(self.far)
        return super().gradient(y_true, y_pred)


def choosy(schema, params, seed):
    return linear_model.LogisticRegression(loss=Loss("thirteen"))


def vain(schema, params, seed):
    return linear_model.LogisticRegression(loss=Loss("nan"), clip_gradient=float("inf"))
'''
NUMBERS = CONFIG.replace('features = {x = "float", c = "category?"}', 'features = {x = "float"}')


@pytest.fixture
def place(tmp_path: Path, client: redis.Redis) -> Place:
    return place_in(tmp_path, client)


def examples(count: int, first: int = 0, flipped: bool = False) -> list[Example]:
    """Labelled questions as the learn loop writes them, one every 10 ms."""
    made = []
    for n in range(first, first + count):
        asked = question(n)
        label = asked.label if not flipped else {"true": "false", "false": "true"}[asked.label]
        offset = events.offset(asked.id)
        made.append(Example(offset + events.span(1), offset, label, asked.row))
    return made


def write(place: Place, *batches: list[Example]) -> None:
    with contextlib.closing(Journal(place.journal_folder)) as kept:
        for batch in batches:
            kept.append(batch)


@contextlib.contextmanager
def training(place: Place, name: str = "linear") -> Iterator[Trainer]:
    """A trainer whose version is enrolled, as after its registration."""
    trainer = Trainer(place, name, Inline)
    trainer.state.version = VERSION
    trainer.save_every_s = trainer.behind_every_s = trainer.tell_every_s = 0.0
    trainer.save_share = 1e9
    place.releases.set_board(Board(champion=VERSION))
    with contextlib.closing(trainer):
        yield trainer


def drain(trainer: Trainer) -> None:
    while trainer.step():
        pass
    trainer.step()


def facts(place: Place, name: str = "linear") -> LearnerFacts:
    return place.streams.facts_of("learner", LearnerFacts)[name]


def test_each_revision_is_newer_than_the_last_and_counts_what_was_learned(place: Place) -> None:
    """The manifest says how many labels are in it; the graph is sent once and weights after that."""
    with training(place) as trainer:
        revisions = []
        for n in range(5):
            write(place, examples(50, 50 * n))
            drain(trainer)
            release = place.releases.fetch(VERSION)
            assert release is not None
            release.verify(place.schema.fingerprint)
            revisions.append((release.manifest.revision, release.manifest.learned, release.manifest.onnx_sha256))
    assert [learned for _, learned, _ in revisions] == [50, 100, 150, 200, 250]
    assert len({graph for _, _, graph in revisions[1:]}) == 1
    assert place.releases.revisions() == {VERSION: 250}
    assert place.streams.revision_since(VERSION, events.offset_id(examples(1, 120)[0].at)) == 150


def test_a_revision_that_moved_too_far_is_held_and_shown_and_the_last_one_stays(place: Place) -> None:
    """A flood of wrong labels is not published; a person may say otherwise, and then it is."""
    text = CONFIG + "[models.m.safeguards]\nmax_change = 0.2\nanchor_rows = 64\n"
    place = place_in(place.settings.state, place.client, text)
    with training(place, "tree") as trainer:
        write(place, examples(4_000))
        drain(trainer)
        good = place.releases.revisions()[VERSION]
        write(place, examples(3_900, 4_000, flipped=True))
        drain(trainer)
        assert trainer.state.learner.learned == 7_900
        assert place.releases.revisions()[VERSION] == good
        held = facts(place, "tree").held
        assert held is not None
        assert "max_change = 0.2" in held
        place.streams.set_publishing("tree", "accept")
        drain(trainer)
        assert place.releases.revisions()[VERSION] > good
        assert place.streams.publishing() == {}
    assert facts(place, "tree").held is None


def test_a_held_revision_is_published_in_time(place: Place) -> None:
    """The world may really have changed: after `hold`, what is learned answers."""
    text = CONFIG + '[models.m.safeguards]\nmax_change = 0.2\nhold = "100ms"\n'
    place = place_in(place.settings.state, place.client, text)
    with training(place, "tree") as trainer:
        write(place, examples(4_000))
        drain(trainer)
        good = place.releases.revisions()[VERSION]
        write(place, examples(3_900, 4_000, flipped=True))
        drain(trainer)
        assert place.releases.revisions()[VERSION] == good
        time.sleep(0.15)
        write(place, examples(1, 7_900))
        drain(trainer)
        assert place.releases.revisions()[VERSION] > good


def test_a_model_that_doubled_what_it_knows_is_not_held(place: Place) -> None:
    """A young one moves far with every label, and is another one soon."""
    text = CONFIG + "[models.m.safeguards]\nmax_change = 0.001\n"
    place = place_in(place.settings.state, place.client, text)
    with training(place) as trainer:
        published = []
        for n in range(8):
            write(place, examples(10, 10 * n))
            drain(trainer)
            published.append(place.releases.revisions()[VERSION])
    assert published == [10, 20, 20, 40, 40, 40, 40, 80]


def test_the_spread_of_labels_does_not_depend_on_how_they_come() -> None:
    """Counted in pieces or at once, to rounding."""
    values = np.random.default_rng(0).normal(1e6, 3, 1_000)
    spread = Spread()
    for piece in np.split(values, [1, 7, 400, 400]):
        spread.add(piece)
    assert spread.deviation == pytest.approx(values.std(), rel=1e-9)


def test_a_frozen_learner_learns_and_stores_and_publishes_nothing(place: Place) -> None:
    """Thawed, it publishes what it has learned in the meantime."""
    with training(place) as trainer:
        write(place, examples(100))
        drain(trainer)
        place.streams.set_publishing("linear", "frozen")
        write(place, examples(100, 100))
        drain(trainer)
        assert place.releases.revisions() == {VERSION: 100}
        assert trainer.state.learner.learned == 200
        assert facts(place).frozen
        place.streams.set_publishing("linear", None)
        drain(trainer)
        assert place.releases.revisions() == {VERSION: 200}


@pytest.mark.parametrize(("builder", "why"), [("choosy", "ValueError: could not convert"), ("vain", "nan")])
def test_a_learner_that_fails_at_one_label_is_benched_and_the_others_go_on(
    tmp_path: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, builder: str, why: str
) -> None:
    """The reason is kept over restarts; what it had published stays; pardoned, it goes on from what was stored."""
    (tmp_path / "own_learners.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = NUMBERS.replace('linear = {algorithm = "linear"}', f'own = {{learner = "own_learners:{builder}"}}')
    place = place_in(tmp_path, client, own)
    bad = examples(1, 350)[0]
    with training(place, "own") as trainer, training(place, "tree") as other:
        rows = [Example(one.at, one.prediction, one.label, (one.row or (0.0,))[:1]) for one in examples(400)]
        write(place, rows[:300])
        drain(trainer)
        good = place.releases.revisions()[VERSION]
        write(place, [*rows[300:350], Example(bad.at, bad.prediction, "true", (100.0,)), *rows[351:]])
        drain(trainer)
        drain(other)
        assert trainer.benched is not None
        assert why in trainer.benched
        if builder == "choosy":
            assert events.offset_id(bad.prediction) in trainer.benched
        assert other.benched is None
        assert other.state.learner.learned == 400
        assert place.releases.revisions()[VERSION] >= good
    assert facts(place, "own").benched == trainer.benched
    with contextlib.closing(Trainer(place, "own", Inline)) as again:
        assert again.benched == trainer.benched
        assert not again.is_pardoned()
        (again.folder / "benched").unlink()
        assert again.is_pardoned()


def test_a_learner_that_outgrows_its_memory_is_benched(tmp_path: Path, client: redis.Redis) -> None:
    """The process's resident memory counts; the reason names the setting."""
    place = place_in(
        tmp_path, client, CONFIG.replace('{algorithm = "linear"}', '{algorithm = "linear", memory_mb = 1}')
    )
    with training(place) as trainer:
        write(place, examples(10))
        drain(trainer)
        assert trainer.benched is not None
        assert "memory_mb = 1" in trainer.benched


def test_a_truncated_checkpoint_costs_only_repeated_work(place: Place) -> None:
    """The previous one is used, and nothing is learned twice: the state equals that of learning once."""
    write(place, examples(100), examples(100, 100))
    with training(place) as trainer:
        drain(trainer)
    current = trainer.folder / "current"
    current.write_bytes(current.read_bytes()[:-100])
    with training(place) as trainer:
        drain(trainer)
        by_hand = build_online(place.model.learners["linear"], place.schema)
        for example in examples(200):
            assert example.row is not None
            by_hand.learn_one(example.row, example.label)
        assert trainer.state.learner.state_hash() == by_hand.state_hash()


def test_a_checkpoint_of_another_river_is_refused_with_what_to_do(place: Place) -> None:
    """Nothing is learned and nothing is overwritten."""
    write(place, examples(10))
    with training(place) as trainer:
        drain(trainer)
    for name in ("current", "previous"):
        path = trainer.folder / name
        if path.exists():
            line, _, body = path.read_bytes().partition(b"\n")
            path.write_bytes(json.dumps(json.loads(line) | {"river": "0.0.1"}).encode() + b"\n" + body)
    with pytest.raises(CheckpointRefused, match=r"written with river 0\.0\.1.*install that version"):
        Trainer(place, "linear", Inline)


def test_a_learner_that_is_new_in_the_configuration_learns_the_whole_journal(place: Place) -> None:
    """So does one whose parameters changed: it begins anew, since it would be another learner."""
    write(place, examples(300))
    with training(place) as trainer:
        drain(trainer)
    text = CONFIG.replace('{algorithm = "linear"}', '{algorithm = "linear", params = {learning_rate = 0.5}}')
    changed = place_in(place.settings.state, place.client, text)
    with training(changed) as trainer:
        drain(trainer)
        by_hand = build_online(changed.model.learners["linear"], changed.schema)
        for example in examples(300):
            assert example.row is not None
            by_hand.learn_one(example.row, example.label)
        assert trainer.state.learner.state_hash() == by_hand.state_hash()


def test_a_mini_batch_is_the_same_however_examples_come(tmp_path: Path, client: redis.Redis) -> None:
    """Blocks lie at fixed places of the journal: neither appends nor restarts move them."""
    text = NUMBERS.replace('{algorithm = "linear"}', '{algorithm = "linear", mini_batch = 32}')
    hashes = []
    rows = [Example(one.at, one.prediction, one.label, (one.row or (0.0,))[:1]) for one in examples(200)]
    for cuts in ([200], [7, 50, 31, 1, 111]):
        place = place_in(tmp_path / str(len(cuts)), client, text)
        start = 0
        for cut in cuts:
            write(place, rows[start : start + cut])
            start += cut
            with training(place) as trainer:
                drain(trainer)
        assert trainer.state.position == 192
        hashes.append(trainer.state.learner.state_hash())
    assert hashes[0] == hashes[1]


def test_what_is_done_beside_learning_dies_with_it_and_says_so() -> None:
    """A child that is killed is no result; an error of the child is raised in the parent."""
    done = Aside(lambda: 42)
    assert done.result() == 42
    failing = Aside(lambda: [][1])
    with pytest.raises(IndexError):
        failing.result()
    sleeping = Aside(lambda: time.sleep(60))
    assert not sleeping.done()
    os.kill(sleeping.pid, signal.SIGKILL)
    with pytest.raises(AsideFailed, match="was killed"):
        sleeping.result()


def test_a_child_that_is_slow_to_end_is_not_waited_for() -> None:
    """It frees the memory of a large learner, which takes longer than a label may wait."""

    def work() -> int:
        real = os._exit

        def lingers(status: int) -> None:
            time.sleep(0.5)
            real(status)

        os._exit = lingers  # type: ignore[assignment]
        return 42

    lingering, killed, asked = Aside(work), Aside(work), 0
    while not lingering.done():
        asked += 1
        time.sleep(0.01)
    assert asked > 5
    assert not psutil.pid_exists(lingering.pid)
    assert lingering.result() == 42
    until(killed.done)
    killed.kill()


def test_two_whole_runs_of_the_same_history_end_in_the_same_place(place: Place) -> None:
    """Facts, journal and states depend on what came, not on when the process looked."""
    fill(place, 500)
    with contextlib.closing(Learning(place)) as learning:
        learning.drain()
        one = [learning.learner(name).state_hash() for name in ("linear", "tree")]
        known = list(journal.read(place.journal_folder))
    other = place_in(place.settings.state / "other", place.client)
    with contextlib.closing(Learning(other)) as learning:
        learning.loop.batch = 17
        learning.drain()
        assert [learning.learner(name).state_hash() for name in ("linear", "tree")] == one
        assert list(journal.read(other.journal_folder)) == known


def test_a_moment_of_a_busy_disk_does_not_keep_revisions_back(place: Place) -> None:
    """After a save that took long in place the next one is done beside learning, and so need not wait for long."""
    with contextlib.closing(Learning(place)) as learning:
        trainer = learning.trainers["linear"]
        trainer._began = time.monotonic() - 0.5
        trainer._take_saved(Inline(lambda: Saved(checkpoint_s=0.45)))
        assert trainer._save_at - time.monotonic() < 1.0
        trainer._began = time.monotonic() - 0.015
        trainer._take_saved(Inline(lambda: Saved(checkpoint_s=0.01)))
        assert trainer._save_at - time.monotonic() == pytest.approx(trainer.save_every_s, abs=0.1)
