"""kill -9 at random moments: what the learn loop knows afterwards is what it would have known anyway."""

import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from contracts import journal, streams
from contracts.lease import Lease
from flows import checkpoint
from flows.learning import Loop
from flows.state import JoinState
from flows.trainer import Trainer
from flows.trainers import only_one
from tests.flows.world import CHALLENGER, fill, place_in

CONTEXT = multiprocessing.get_context("forkserver")


def learn_to_the_end(folder: Path, url: str) -> None:
    """The learn loop in a process of its own, saving and writing as often as it can."""
    client = streams.connect(url)
    place = place_in(folder, client)
    lease = Lease(client, "m", "learn")
    lease.acquire()
    loop = Loop(place, lease.renew)
    loop.save_every_s = loop.write_every_s = 0.03
    loop.batch = 50
    last = place.streams.last_id("feedback")
    while loop.state.last_id != last or loop.join.waiting:
        loop.step(block_ms=1)
    loop.close()
    lease.release()


def train_to_the_end(folder: Path, url: str, name: str) -> None:
    """One learner in a process of its own, storing beside learning as often as it can, until nothing comes any more."""
    place = place_in(folder, streams.connect(url))
    with only_one(place.checkpoint_folder / "learners" / name):
        trainer = Trainer(place, name)
        trainer.save_every_s, trainer.inline_s = 0.02, 0.0
        while not is_over(folder) or trainer.step() or trainer.is_behind():
            trainer.step()
            time.sleep(0.002)
        trainer.close()


def is_over(folder: Path) -> bool:
    """Whether the learn loop has read everything."""
    return (folder / "over").exists()


def outcome(folder: Path, client: redis.Redis) -> dict[str, Any]:
    """All that must be equal: learner states, evidence, curves, counters and the tables."""
    place = place_in(folder, client)
    state: JoinState = checkpoint.load(place.checkpoint_folder)
    learners = {name: checkpoint.load(place.checkpoint_folder / "learners" / name) for name in ("linear", "tree")}
    comparison = state.record.comparisons[CHALLENGER]
    return {
        "learners": {name: (one.learner.state_hash(), one.position, one.at) for name, one in learners.items()},
        "examples": list(journal.read(place.journal_folder)),
        "amendments": journal.amendments(place.journal_folder),
        "evidence": comparison.evidence.to_json(),
        "curve": comparison.curve.points,
        "losses": {version: (s.n, s.loss, s.curve.points) for version, s in state.record.versions.items()},
        "slots": {version: s.slots.hours for version, s in state.record.versions.items()},
        "detectors": (state.detectors.fed, state.detectors.fired, state.detectors.estimate("adwin")),
        "counts": state.counts,
        "delays": list(state.delays_s),
        "predictions": place.log.rows("predictions").to_pylist(),
        "labels": place.log.rows("labels").to_pylist(),
        "dead": len(place.streams.dead_letters("feedback", 10_000)),
    }


class Worker:
    """One of the processes, killed at random moments of its life and started again."""

    def __init__(self, work: Callable[..., None], *arguments: Any):
        self.work, self.arguments = work, arguments
        self.start()

    def start(self) -> None:
        self.process = CONTEXT.Process(target=self.work, args=self.arguments)
        self.process.start()

    def kill(self) -> bool:
        """Tells whether it was killed at work."""
        if self.process.exitcode is not None:
            assert self.process.exitcode == 0, f"the run failed with {self.process.exitcode}"
            return False
        self.process.kill()
        self.process.join()
        self.start()
        return True


def run(folder: Path, client: redis.Redis, url: str, kills: int = 0, seed: int = 7) -> int:
    """All processes to the end, killing one of them at random now and then; returns how many were killed at work."""
    CONTEXT.set_forkserver_preload(["flows.learning", "flows.trainers"])
    loop = Worker(learn_to_the_end, folder, url)
    workers = [loop, *(Worker(train_to_the_end, folder, url, name) for name in ("linear", "tree"))]
    rng, killed = random.Random(seed), 0
    while killed < kills:
        time.sleep(rng.uniform(0.1, 0.4))
        one = rng.choice(workers)
        if one is loop and one.process.exitcode is None:
            client.delete(streams.key("m", "lease:learn"))  # it would run out by itself, ten seconds later
        killed += one.kill()
        if all(worker.process.exitcode is not None for worker in workers) or loop.process.exitcode is not None:
            (folder / "over").touch()
            loop.process.join()
    loop.process.join()
    (folder / "over").touch()
    for worker in workers:
        worker.process.join()
        assert worker.process.exitcode == 0
    return killed


def compare(tmp_path: Path, client: redis.Redis, url: str, questions: int, kills: int) -> int:
    fill(place_in(tmp_path / "calm", client), questions)
    run(tmp_path / "calm", client, url)
    killed = run(tmp_path / "rough", client, url, kills)
    calm, rough = outcome(tmp_path / "calm", client), outcome(tmp_path / "rough", client)
    for what, expected in calm.items():
        assert rough[what] == expected, f"{what} differ after {killed} kills"
    return killed


def test_a_run_that_was_killed_many_times_equals_an_undisturbed_one(
    tmp_path: Path, client: redis.Redis, redis_url: str
) -> None:
    """Learner states, evidence, curves, counters, tables and dead letters are equal to the last bit."""
    assert compare(tmp_path, client, redis_url, questions=6_000, kills=8) == 8


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_fifty_kills_change_nothing(tmp_path: Path, client: redis.Redis, redis_url: str) -> None:
    """The same with fifty kills in one run."""
    assert compare(tmp_path, client, redis_url, questions=20_000, kills=50) == 50
