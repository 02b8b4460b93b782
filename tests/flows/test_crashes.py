"""kill -9 at random moments: what the learn loop knows afterwards is what it would have known anyway."""

import multiprocessing
import random
from pathlib import Path
from typing import Any

import pytest
import redis

from contracts import streams
from contracts.lease import Lease
from flows import checkpoint
from flows.learning import Loop
from flows.state import LearnState
from tests.flows.world import CHALLENGER, fill, place_in


def learn_to_the_end(folder: Path, url: str) -> None:
    """A learn run in a process of its own, saving and writing as often as it can."""
    client = streams.connect(url)
    place = place_in(folder, client)
    lease = Lease(client, "m", "learn")
    lease.acquire()
    loop = Loop(place, None, lease.renew)
    loop.save_every_s = loop.write_every_s = 0.03
    loop.batch = 50
    last = place.streams.last_id("feedback")
    while loop.state.last_id != last or loop.state.waiting:
        loop.step(block_ms=1)
    loop.close()
    lease.release()


def outcome(folder: Path, client: redis.Redis) -> dict[str, Any]:
    """All that must be equal: learner states, evidence, curves, counters and the tables."""
    place = place_in(folder, client)
    state: LearnState = checkpoint.load(place.checkpoint_folder)
    comparison = state.record.comparisons[CHALLENGER]
    return {
        "learners": {name: learner.state_hash() for name, learner in state.learners.items()},
        "evidence": comparison.evidence.to_json(),
        "curve": comparison.curve.points,
        "losses": {version: (s.n, s.loss, s.curve.points) for version, s in state.record.versions.items()},
        "counts": state.counts,
        "delays": list(state.delays_s),
        "predictions": place.log.rows("predictions").to_pylist(),
        "labels": place.log.rows("labels").to_pylist(),
        "dead": len(place.streams.dead_letters("feedback", 10_000)),
    }


def killed_run(folder: Path, client: redis.Redis, url: str, kills: int, seed: int) -> int:
    """Runs to the end, killing each process at a random moment of its life; returns how many were killed at work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flows.learning"])
    rng, killed = random.Random(seed), 0
    while True:
        process = context.Process(target=learn_to_the_end, args=(folder, url))
        process.start()
        process.join(rng.uniform(0.3, 1.0) if killed < kills else None)
        if process.exitcode == 0:
            return killed
        assert process.exitcode is None, f"the run failed with {process.exitcode}"
        process.kill()
        process.join()
        client.delete(streams.key("m", "lease:learn"))  # it would run out by itself, ten seconds later
        killed += 1


def compare(tmp_path: Path, client: redis.Redis, url: str, questions: int, kills: int) -> int:
    fill(place_in(tmp_path / "calm", client), questions)
    learn_to_the_end(tmp_path / "calm", url)
    killed = killed_run(tmp_path / "rough", client, url, kills, seed=7)
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
