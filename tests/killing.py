"""Every process of one model, killed by SIGKILL at any moment and started again at once; and the same without that."""

import contextlib
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis

from contracts import events, journal, streams
from contracts.config import parse
from contracts.events import Feedback
from contracts.lease import LeaseLost, LeaseTaken
from contracts.settings import Settings
from flows import checkpoint, learn
from flows.aside import Inline
from flows.bootstrap import open_with_prior
from flows.learning import Loop
from flows.place import Place, open_place
from flows.state import JoinState
from flows.trainer import Trainer
from tests.conftest import free_port
from tests.serving import harness
from tiltyard import valkey

CONFIG = """
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float", c = "category?"}
[models.m.learners]
linear = {algorithm = "linear"}
tree = {algorithm = "hoeffding_tree", params = {grace_period = 50}}
[models.m.labels]
correct_every = "2s"
[models.m.gate]
maturity = "2s"
shadow_timeout = "10m"  # a restart fits in: every pair is covered, with and without kills
bootstrap_labels = 200
"""
LEARNERS = ("linear", "tree")
TARGETS = ("valkey", "serving", "shadow", "learn", "trainers", "trainer", "aside")
LEASE_S = 3.0
NOBODY = "77-7"
CONTEXT = multiprocessing.get_context("forkserver")


def place_in(folder: Path, client: redis.Redis, text: str = CONFIG) -> Place:
    return open_place("m", parse(text).model("m"), settings_in(folder, "redis://unused"), client)


def settings_in(folder: Path, redis_url: str) -> Settings:
    return Settings(
        state=folder / "state",
        config=folder / "tiltyard.toml",
        redis_url=redis_url,
        mlflow_url=f"sqlite:///{folder}/mlflow.db",
    )


def learn_until_over(folder: Path, settings: Settings) -> None:
    """The learn run in a process of its own, begun again after an error as its schedule would."""
    with (folder / "learn.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    learn.LEASE_S = LEASE_S  # of a killed run: the next one waits for its end
    place = open_place("m", parse(CONFIG).model("m"), settings)

    def going_on() -> bool:
        return not (folder / "over").exists()

    while going_on():
        with contextlib.suppress(redis.RedisError, LeaseTaken, LeaseLost):
            learn.run(place, lambda decided: None, going_on)
        time.sleep(0.1)


@dataclass(frozen=True)
class Running:
    """A process, however it was started."""

    pid: int
    wait: Callable[[], Any]
    status: Callable[[], int | None]


class Instance:
    """Valkey, serving, the shadow scorer and the learn run with its trainers."""

    def __init__(self, folder: Path):
        self.folder, self.port, self.redis_port = folder, free_port(), free_port()
        self.settings = settings_in(folder, f"redis://127.0.0.1:{self.redis_port}/0")
        (folder / "valkey").mkdir(parents=True)
        self.settings.config.write_text(CONFIG)
        self.running: dict[str, Running] = {}
        self.killed: Counter[str] = Counter()

    @contextlib.contextmanager
    def started(self) -> "Iterator[Place]":
        """With both learners registered: who answers and who shadows does not change any more."""
        CONTEXT.set_forkserver_preload(["tests.killing"])
        try:
            self.start("valkey")
            place = self.place()
            harness.until(lambda: answers(place.client))
            open_with_prior(place)
            place.registry.prepare()
            for name in ("serving", "shadow", "learn"):
                self.start(name)
            harness.until(self.is_ready, 60)
            yield place
        finally:
            for one in self.running.values():
                with contextlib.suppress(psutil.NoSuchProcess):
                    family = psutil.Process(one.pid).children(recursive=True)
                    psutil.Process(one.pid).kill()
                    for child in family:
                        child.kill()
                one.wait()

    def place(self) -> Place:
        return open_place("m", parse(CONFIG).model("m"), self.settings)

    def is_ready(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).close()
            return True
        except OSError:
            return False

    def start(self, name: str) -> None:
        if name == "learn":
            process = CONTEXT.Process(target=learn_until_over, args=(self.folder, self.settings))
            process.start()
            self.running[name] = Running(int(process.pid or 0), process.join, lambda: process.exitcode)
            return
        command = {
            "valkey": valkey.command(self.folder / "valkey", self.redis_port),
            "serving": [sys.executable, "-m", "serving", "--port", str(self.port)],
            "shadow": [sys.executable, "-m", "serving.shadow"],
        }[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            popen = subprocess.Popen(command, env={**os.environ, **self.settings.environment()}, stdout=log, stderr=log)
        self.running[name] = Running(popen.pid, popen.wait, popen.poll)

    def kill(self, target: str, rng: random.Random) -> bool:
        """Kills one of a kind, and sees to it that there is another one; False when there is none just now."""
        for name, one in self.running.items():
            assert one.status() is None, f"{name} left by itself with {one.status()}: see {self.folder}"
        # To start takes longer than to be killed again: mostly, learners are left alone until they learn.
        if target in ("learn", "trainers") and not self._beneath_learn("trainer", 0) and rng.random() < 0.8:
            return False
        if target in self.running:
            one = self.running[target]
            psutil.Process(one.pid).kill()
            one.wait()
            self.start(target)  # the others are started again by their parents
        else:
            found = self._beneath_learn(target, 1.0)
            try:
                rng.choice(found).kill()
            except (IndexError, psutil.NoSuchProcess):
                return False
        self.killed[target] += 1
        return True

    def _beneath_learn(self, target: str, patience_s: float) -> list[psutil.Process]:
        """The trainers' parent, its trainers, or what these do beside learning."""
        depth = {"trainers": 1, "trainer": 2, "aside": 3}[target]
        deadline = time.monotonic() + patience_s
        while True:
            found = [psutil.Process(self.running["learn"].pid)]
            for _ in range(depth):
                found = [child for one in found for child in _children(one)]
            if found or time.monotonic() > deadline:
                return found


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in process.children() if child.status() != psutil.STATUS_ZOMBIE]
    return []


class Killer:
    """Kills at random intervals, in step with what is asked, in a thread of its own."""

    def __init__(self, instance: Instance, kills: int, pause_s: float, progress: Callable[[], float], seed: int = 7):
        """`progress` tells the share of the questions that were asked."""
        self.instance, self.kills, self.pause_s, self.progress = instance, kills, pause_s, progress
        self.place = instance.place()
        self.done = 0
        self._rng = random.Random(seed)
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Waits for the last kill. Raises what went wrong."""
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        try:
            while self.done < self.kills:
                time.sleep(self._rng.uniform(0, 2 * self.pause_s))
                while self.progress() < (self.done - 1) / self.kills:
                    time.sleep(0.01)
                while not self.instance.kill(self._rng.choice(TARGETS), self._rng):
                    time.sleep(0.05)
                self.done += 1
                self._write_nonsense()
        except BaseException as error:  # noqa: BLE001  # it is raised where somebody looks
            self._failed, self.done = error, self.kills

    def _write_nonsense(self) -> None:
        """What no API would accept: an entry that cannot be read, and labels for nobody and of no class."""
        for event in (b"\xc1", *map(events.encode, (Feedback(NOBODY, "true"), Feedback(NOBODY, "maybe")))):
            with contextlib.suppress(redis.RedisError):
                self.place.client.xadd(self.place.streams.key("feedback"), {"e": event})


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def drain(place: Place, silence_s: float = 120.0) -> None:
    """Waits until everything is joined, matured, learned and relearned, for as long as something moves."""
    harness.until(lambda: answers(place.client))
    seen, moved_at = None, time.monotonic()
    while True:
        facts = place.learn_facts()
        assert facts is not None
        behind = {
            (facts.examples - one.position, facts.amendments - one.amendments, one.rebuilding, one.benched)
            for one in facts.learners.values()
        }
        is_read = facts.last_feedback_id == place.streams.last_id("feedback") and not facts.pending
        if is_read and behind == {(0, 0, None, None)}:
            return
        now = (facts.last_feedback_id, facts.pending, facts.matured, behind)
        if now != seen:
            seen, moved_at = now, time.monotonic()
        assert time.monotonic() < moved_at + silence_s, f"nothing moves any more at {seen}"
        time.sleep(0.1)


def copy(of: Place, to: Place) -> None:
    """What was asked, shadowed and labelled, entry by entry under its own id, and who answers."""
    for source in ("predictions", "shadows", "feedback"):
        pipeline = to.client.pipeline(transaction=False)
        for id_, fields in of.streams.scan(source, streams.START):
            pipeline.xadd(to.streams.key(source), dict(fields), id=id_)
            if len(pipeline) >= 2_000:
                pipeline.execute()
        pipeline.execute()
    to.releases.set_board(of.releases.board())


def learn_undisturbed(folder: Path, client: redis.Redis, of: Place) -> Place:
    """The same streams from the beginning, in this process and one thing after the other."""
    place = place_in(folder, client, CONFIG.replace("bootstrap_labels = 200", "bootstrap_labels = 1_000_000_000"))
    copy(of, place)
    with contextlib.closing(Loop(place)) as loop:
        while loop.step(block_ms=1):
            pass
        loop.join.mature(2**62)
    for name in LEARNERS:
        with contextlib.closing(Trainer(place, name, Inline)) as trainer:
            while trainer.step():
                pass
    return place


def outcome(place: Place) -> dict[str, Any]:
    """All that must be equal, by what it is called."""
    state: JoinState = checkpoint.load(place.checkpoint_folder)
    learners = {name: checkpoint.load(place.checkpoint_folder / "learners" / name) for name in LEARNERS}
    record, told = state.record, [line for line in place.roles.ledger.read() if line.kind == "corrected"]
    return {
        "learners": {
            name: (one.learner.state_hash(), one.learner.learned, one.position, one.at, one.applied)
            for name, one in learners.items()
        },
        "counts": state.counts,
        "evidence": {
            version: (one.evidence.to_json(), one.uncovered, one.curve.points)
            for version, one in record.comparisons.items()
        },
        "tenure": (record.champion, record.since, record.matured),
        "losses": {version: (s.n, s.loss, s.correct, s.curve.points) for version, s in record.versions.items()},
        "delays": list(state.delays_s),
        "votes": state.votes,
        "uncovered": state.uncovered,
        "examples": list(journal.read(place.journal_folder)),
        "amendments": journal.amendments(place.journal_folder),
        "predictions": place.log.rows("predictions"),
        "labels": place.log.rows("labels"),
        "dead letters": place.streams.dead_letters("feedback", 1_000_000),
        "corrections told": sum(int(line.numbers["corrections"]) for line in told) + state.restated.corrections,
    }
