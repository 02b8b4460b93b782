"""``python -m flows.trainers MODEL``: a process for each online learner of a model, side by side.

The learn run starts it and ends it. It imports River once and forks, so that learners share what they have in common;
a learner that dies is started again, and the others do not notice.
"""

import argparse
import fcntl
import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from contracts.quantities import ConfigError
from flows.aside import collect_garbage_seldom, die_with_parent
from flows.place import Place, place_named
from flows.trainer import Trainer

log = logging.getLogger(__name__)

IDLE_S = 0.01
AWAY_S = 0.5
BACK_OFF_S = (1.0, 30.0)
WELL_S = 60.0  # a learner that went on for twice the longest wait is not dying young
GRACE_S = 20.0  # for the last checkpoint
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Trainers:
    """The learn run's end: keeps the process alive."""

    def __init__(self, place: Place):
        # One thread each: a fork copies the memory of all threads, and none of them but its own.
        self._environment = os.environ | place.settings.environment() | dict.fromkeys(_THREADS, "1")
        self._command = [sys.executable, "-m", "flows.trainers", place.name, "--parent", str(os.getpid())]
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        self._started = time.monotonic()
        return subprocess.Popen(self._command, env=self._environment)

    def keep(self) -> None:
        """Starts it again where it has ended."""
        status = self._process.poll()
        if status is not None and time.monotonic() - self._started > BACK_OFF_S[0]:
            log.error("trainers ended status=%s; starts them again", status)
            self._process = self._start()

    def stop(self) -> None:
        """Lets every learner store what it has learned."""
        self._process.terminate()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def started(place: Place) -> Iterator[Trainers]:
    """Trainers for the length of a block."""
    trainers = Trainers(place)
    try:
        yield trainers
    finally:
        trainers.stop()


def train(place: Place, name: str) -> None:
    """One learner, until SIGTERM or until it is taken off the bench. Only one process does it at a time."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    folder = place.checkpoint_folder / "learners" / name
    with only_one(folder):
        signal.signal(signal.SIGTERM, stop)
        trainer = Trainer(place, name)
        while not stopping and not trainer.is_pardoned():
            try:
                if not trainer.step():
                    time.sleep(IDLE_S)
            except redis.RedisError as error:
                log.warning("waits for redis model=%s learner=%s error=%s", place.name, name, error)
                time.sleep(AWAY_S)
        trainer.close()


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Waits for the lock of a folder, which ends with the last process that has it open, children included."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    parser = argparse.ArgumentParser("python -m flows.trainers", description="Train every online learner of a model.")
    parser.add_argument("model")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="process with which this one ends")
    arguments = parser.parse_args()
    model = arguments.model
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        place = place_named(model)
    except ConfigError as error:
        sys.exit(str(error))
    from learners import online, zoo  # noqa: F401  # River, once for all of them

    collect_garbage_seldom()
    _keep_running(model, list(place.model.learners_of("online")), arguments.parent)


class BackOff:
    """When a learner that has died is started again: ever later while it dies young. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self._started = self._next = -math.inf
        self._wait_s = 0.0

    def is_due(self, now: float) -> bool:
        return now >= self._next

    def start(self, now: float) -> None:
        """Notes that it is started."""
        ran_well = now - self._started > self._wait_s + WELL_S
        self._wait_s = BACK_OFF_S[0] if ran_well else min(2 * self._wait_s, BACK_OFF_S[1])
        self._started, self._next = now, now + self._wait_s


def _keep_running(model: str, names: list[str], parent: int) -> None:
    running, back_offs = dict[int, str](), {name: BackOff() for name in names}
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    die_with_parent(parent, signal.SIGTERM)
    while not stopping:
        for name in set(names) - set(running.values()):
            if back_offs[name].is_due(time.monotonic()):
                back_offs[name].start(time.monotonic())
                running[_fork(model, name)] = name
        time.sleep(0.1)
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                log.error("learner ended name=%s status=%d", running.pop(pid), os.waitstatus_to_exitcode(status))
    for pid in running:
        os.kill(pid, signal.SIGTERM)
    for pid in running:
        os.waitpid(pid, 0)


def _fork(model: str, name: str) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # Until it has its folder there is nothing to store, and the handler of before the fork would only wait.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            die_with_parent(parent, signal.SIGTERM)
            train(place_named(model), name)
            status = 0
        except Exception:
            log.exception("learner failed name=%s", name)
        finally:
            logging.shutdown()
            os._exit(status)
    return pid


if __name__ == "__main__":
    main()
