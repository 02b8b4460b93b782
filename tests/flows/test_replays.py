"""A replay that is killed goes on from where it last stored what it had; and what it stores serves the next one."""

import contextlib
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from contracts import events, journal, streams
from contracts.journal import Amendment, Example, Journal
from contracts.releases import Board
from flows import corrections, snapshots
from flows.aside import Aside, Inline
from flows.corrections import progress
from flows.place import Place
from flows.trainer import Trainer
from flows.trainers import only_one
from tests.flows.test_corrections import Slow
from tests.flows.world import CONFIG, place_in, question
from tests.serving.harness import until

CONTEXT = multiprocessing.get_context("forkserver")
COUNT, FRAME, VERSION = 12_000, 200, 7
WRONG = (5, 40)
"""Examples whose label was wrong at first: of the very first ones, so that all has to be learned anew."""
LATER = CONFIG.replace('correct_every = "0s"', 'correct_every = "1h"')


def examples(count: int = COUNT) -> list[Example]:
    """Labelled questions as the learn loop writes them, one every 10 ms."""
    made = []
    for n in range(count):
        asked = question(n)
        offset = events.offset(asked.id)
        made.append(Example(offset + events.span(1), offset, asked.label, asked.row))
    return made


def flipped(one: Example) -> Example:
    return Example(one.at, one.prediction, "false" if one.label == "true" else "true", one.row)


def write(place: Place, batch: list[Example], wrong: tuple[int, ...] = ()) -> None:
    with contextlib.closing(Journal(place.journal_folder)) as kept:
        given = [flipped(one) if n in wrong else one for n, one in enumerate(batch)]
        for first in range(0, len(given), FRAME):
            kept.append(given[first : first + FRAME])


def correct(place: Place, *ones: Example) -> None:
    with contextlib.closing(Journal(place.journal_folder)) as kept:
        kept.amend(Amendment(one.at, one.prediction, one.label, one.at + events.span(3_600)) for one in ones)


def learned(place: Place, start: Callable[..., object] = Inline) -> Trainer:
    """A trainer that has learned all that there is."""
    trainer = Trainer(place, "linear", start)
    while trainer.step():
        pass
    return trainer


def right(folder: Path, client: redis.Redis, batch: list[Example]) -> str:
    """The state hash of who was told the right labels at once."""
    place = place_in(folder / "right", client)
    write(place, batch)
    with contextlib.closing(learned(place)) as trainer:
        return trainer.state.learner.state_hash()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replays store what they have after every 200 examples: lives are short here."""
    monkeypatch.setattr(corrections, "STORE_EVERY_S", 0.0)
    monkeypatch.setattr(corrections, "STORE_SHARE", 1e9)
    monkeypatch.setattr(corrections, "AGAIN_S", 0.0)
    monkeypatch.setattr(snapshots, "APART", FRAME)


def gone_through(logged: pytest.LogCaptureFixture) -> list[int]:
    """Examples that each replay which came to its end went through."""
    told = [one.getMessage() for one in logged.records if one.getMessage().startswith("relearned")]
    return [int(line.split("examples=")[1].split()[0]) for line in told]


@pytest.mark.usefixtures("often")
def test_a_replay_whose_child_is_killed_at_every_snapshot_comes_to_its_end(
    tmp_path: Path, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Each life adds something, whatever its length, and the state is that of the right labels, byte for byte."""
    caplog.set_level(logging.INFO)
    place, batch = place_in(tmp_path, client), examples()
    write(place, batch, WRONG)
    with contextlib.closing(learned(place, Aside)) as trainer:
        correct(place, *(batch[n] for n in WRONG))
        reached, lives = 0, 0
        while not gone_through(caplog):
            trainer.step()
            child = trainer.corrections._replaying
            kept = [one.position for one in snapshots.of(trainer.folder / "snapshots") if one.applied]
            if child is not None and max(kept, default=0) > reached and lives < 8:
                os.kill(child.pid, signal.SIGKILL)
                reached, lives = kept[-1], lives + 1
        assert lives == 8
        assert gone_through(caplog)[0] <= COUNT - reached
        assert trainer.state.learner.state_hash() == right(tmp_path, client, batch)
        assert trainer.state.applied == len(WRONG)


def train(folder: Path, url: str) -> None:
    """A trainer in a process of its own."""
    place = place_in(folder, streams.connect(url), LATER)
    with only_one(place.checkpoint_folder / "learners" / "linear"):
        trainer = Trainer(place, "linear")
        trainer.corrections._is_urgent = True
        while True:
            trainer.step()
            time.sleep(0.001)


def test_a_replay_whose_trainer_is_killed_goes_on_at_once(
    tmp_path: Path, client: redis.Redis, redis_url: str, caplog: pytest.LogCaptureFixture, often: None
) -> None:
    """Not after another `labels.correct_every`, which would never end where deaths come more often than that."""
    caplog.set_level(logging.INFO)
    place, batch = place_in(tmp_path, client, LATER), examples(30_000)
    write(place, batch, WRONG)
    learned(place).close()
    correct(place, *(batch[n] for n in WRONG))
    folder = place.checkpoint_folder / "learners" / "linear"
    CONTEXT.set_forkserver_preload(["tests.flows.test_replays"])
    process = CONTEXT.Process(target=train, args=(tmp_path, redis_url))
    process.start()
    until(lambda: any(one.applied for one in snapshots.of(folder / "snapshots")), 60)
    process.kill()
    process.join()
    assert progress(folder)
    with only_one(folder), contextlib.closing(Trainer(place, "linear", Inline)) as trainer:
        reached = max(one.position for one in snapshots.of(folder / "snapshots") if one.applied)
        while not gone_through(caplog):
            trainer.step()
        assert gone_through(caplog) == [len(batch) - reached]
        assert progress(folder) is None
        assert trainer.state.learner.state_hash() == right(tmp_path, client, batch)


@pytest.mark.usefixtures("often")
def test_snapshots_lie_as_close_after_a_replay_as_before_it(tmp_path: Path, client: redis.Redis) -> None:
    """Wherever the next correction is, its replay is at most about twice as long as it must be."""
    place, batch = place_in(tmp_path, client), examples()
    write(place, batch, WRONG)
    with contextlib.closing(learned(place)) as trainer:
        correct(place, *(batch[n] for n in WRONG))
        trainer.step()
        trainer.step()
        assert trainer.state.applied == len(WRONG)
        kept = snapshots.of(trainer.folder / "snapshots")
    assert all(one.applied == len(WRONG) or one.position <= WRONG[0] for one in kept)
    assert len(kept) == snapshots.MOST
    for at in range(1_000, COUNT, 100):
        nearest = max(one.position for one in kept if one.position <= at)
        assert COUNT - nearest <= 2 * (COUNT - at) + 2 * FRAME


@pytest.mark.usefixtures("often")
def test_a_correction_that_comes_during_a_replay_goes_back_no_further_than_it_must(
    tmp_path: Path, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The next replay starts from a snapshot of this one; both are learned in the end."""
    caplog.set_level(logging.INFO)
    place, batch, slow = place_in(tmp_path, client), examples(), Slow()
    write(place, batch, (*WRONG, 9_000))
    with contextlib.closing(learned(place)) as trainer:
        trainer.corrections.start = slow.start
        correct(place, *(batch[n] for n in WRONG))
        trainer.step()
        correct(place, batch[9_000])
        trainer.step()
        slow.finish()
        trainer.step()
        trainer.step()
        slow.finish()
        trainer.step()
        first, second = gone_through(caplog)
        assert first == COUNT
        assert second < COUNT // 2
        assert trainer.state.learner.state_hash() == right(tmp_path, client, batch)


@pytest.mark.usefixtures("often")
def test_a_damaged_snapshot_is_passed_over(
    tmp_path: Path, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs a longer replay, and nothing else."""
    caplog.set_level(logging.INFO)
    place, batch = place_in(tmp_path, client), examples(2_000)
    write(place, batch, WRONG)
    with contextlib.closing(learned(place)) as trainer:
        correct(place, batch[WRONG[0]])
        trainer.step()
        trainer.step()
        kept = snapshots.of(trainer.folder / "snapshots")
        for one in kept[-2:]:
            data = one.path.read_bytes()
            one.path.unlink()  # the state itself may be another name of the same file
            one.path.write_bytes(data[:-100])
        found = snapshots.newest(trainer.folder / "snapshots", [])
        assert found.position == kept[-3].position
        correct(place, batch[WRONG[1]])
        trainer.step()
        trainer.step()
        assert trainer.state.learner.state_hash() == right(tmp_path, client, batch)


def test_a_save_that_ends_after_a_replay_does_not_pass_for_what_was_relearned(
    tmp_path: Path, client: redis.Redis
) -> None:
    """Else a correction without a label after it would be learned, and never published."""
    place, batch, slow = place_in(tmp_path, client), examples(101), Slow()
    place.releases.set_board(Board(champion=VERSION))
    write(place, batch[:100], WRONG)
    with contextlib.closing(learned(place)) as trainer:
        trainer.state.version = VERSION
        trainer.save_every_s, trainer.save_share, trainer.aside_share = 0.0, 1e9, 1.0
        trainer.inline_s, trainer.start, trainer._save_at = -1.0, slow.start, 0.0
        write(place, batch, WRONG)
        trainer.step()
        assert place.releases.revisions() == {VERSION: 101}
        correct(place, *(batch[n] for n in WRONG))
        trainer.step()
        trainer.step()
        slow.finish()
        for _ in range(4):
            trainer.step()
        release = place.releases.fetch(VERSION)
        assert release is not None
        assert release.manifest.revision > 101
        golden = release.manifest.golden
        assert golden.scores == tuple(trainer.state.learner.scores_one(row) for row in golden.rows)
        assert len(journal.amendments(place.journal_folder)) == trainer.state.applied == len(WRONG)
