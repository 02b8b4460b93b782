"""The processes that train end when nobody needs them any more, whatever they are doing just then."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis

from flows.place import Place
from flows.trainers import BACK_OFF_S, WELL_S, BackOff, only_one
from tests.flows.world import CONFIG, place_in
from tests.serving.harness import until

Start = Callable[[int], "subprocess.Popen[bytes]"]


@pytest.fixture
def place(tmp_path: Path, client: redis.Redis) -> Place:
    (tmp_path / "tiltyard.toml").write_text(CONFIG)
    return place_in(tmp_path / "state", client)


@pytest.fixture
def start(tmp_path: Path, place: Place, redis_url: str) -> Start:
    """Starts trainers that end with a given process."""
    addresses = {"TILTYARD_CONFIG": str(tmp_path / "tiltyard.toml"), "TILTYARD_REDIS_URL": redis_url}
    environment = {**os.environ, **place.settings.environment(), **addresses}

    def started(parent: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", "flows.trainers", "m", "--parent", str(parent)], env=environment)

    return started


def test_trainers_whose_learn_run_was_killed_while_they_started_end_at_once(start: Start) -> None:
    """Else they would follow the journal for ever, and the next run's trainers would wait for their folders."""
    killed = subprocess.Popen(["true"])
    killed.wait()
    assert start(killed.pid).wait(60) == 0


def test_trainers_that_wait_for_their_folders_end_when_told_to(place: Place, start: Start) -> None:
    """Those that have the folders may be long about their last checkpoint."""
    with contextlib.ExitStack() as stack:
        for name in ("linear", "tree"):
            stack.enter_context(only_one(place.checkpoint_folder / "learners" / name))
        trainers = start(os.getpid())
        stack.callback(trainers.kill)
        until(lambda: all_wait(trainers.pid), 60)
        trainers.send_signal(signal.SIGTERM)
        assert trainers.wait(10) == 0


def test_a_learner_that_dies_young_waits_ever_longer_and_one_that_ran_well_does_not() -> None:
    """A crash after a good while is a new story, however many there were before."""
    back_off, now, waits = BackOff(), 0.0, []
    for _ in range(7):
        assert back_off.is_due(now)
        back_off.start(now)
        assert not back_off.is_due(now)
        waits.append(wait_until_due(back_off, now))
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, *[BACK_OFF_S[1]] * 2]
    now += WELL_S
    assert back_off.is_due(now)
    back_off.start(now)
    assert wait_until_due(back_off, now) == BACK_OFF_S[1], "it may have been dead for half of that time"
    now += BACK_OFF_S[1] + WELL_S + 0.1
    assert back_off.is_due(now)
    back_off.start(now)
    assert wait_until_due(back_off, now) == BACK_OFF_S[0]


def wait_until_due(back_off: BackOff, now: float) -> float:
    return next(wait_s for wait_s in range(1, 100) if back_off.is_due(now + wait_s))


def all_wait(pid: int) -> bool:
    """Whether both trainers have their folder's lock open."""
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(pid).children()
        return len(children) == 2 and all(any(one.path.endswith("/lock") for one in c.open_files()) for c in children)
    return False
