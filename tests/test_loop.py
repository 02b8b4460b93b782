"""The loop over the wire: a real stream, real processes, and River by hand beside it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import redis
from river import linear_model, optim, preprocessing, tree

from contracts import config, events, streams
from contracts.config import Model
from contracts.events import Feedback, Prediction, Shadow
from contracts.lease import LeaseLost, LeaseTaken
from contracts.schema import Value
from contracts.settings import Settings
from data.infer import model_table
from data.replay import Plan, Replay
from data.streams import Stream, stream
from flows.bootstrap import open_with_prior
from flows.learn import run
from flows.place import Place, open_place
from tests.conftest import free_port
from tests.serving import harness
from tiltyard import valkey

LEARNERS = {"linear": {"algorithm": "linear"}, "tree": {"algorithm": "hoeffding_tree", "params": {"grace_period": 50}}}
GATE = '[models.{name}.gate]\nmaturity = "2s"\nbootstrap_labels = 100\n'


class World:
    """Everything but Prefect: a server of its own, serving, shadow, and the learn loop in a thread."""

    def __init__(self, folder: Path, replayed: Stream):
        self.folder, self.stream = folder, replayed
        text = model_table(replayed.name, replayed.schema, learners=LEARNERS) + "\n" + GATE.format(name=replayed.name)
        (folder / "tiltyard.toml").write_text(text)
        self.model: Model = config.parse(text).model(replayed.name)
        self.redis_port = free_port()
        self.settings = Settings(
            state=folder / "state",
            config=folder / "tiltyard.toml",
            redis_url=f"redis://127.0.0.1:{self.redis_port}/0",
            mlflow_url=f"sqlite:///{folder}/mlflow.db",
        )
        (folder / "valkey").mkdir()

    @contextmanager
    def redis(self) -> Iterator["subprocess.Popen[bytes]"]:
        """The embedded server as `tiltyard up` starts it."""
        with (self.folder / "valkey.log").open("ab") as log:
            process = subprocess.Popen(valkey.command(self.folder / "valkey", self.redis_port), stdout=log, stderr=log)
        try:
            client = streams.connect(self.settings.redis_url)
            harness.until(lambda: _answers(client))
            yield process
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def running(self) -> Iterator[harness.Server]:
        with ExitStack() as stack:
            place = self.place()
            open_with_prior(place)
            place.registry.prepare()  # a fresh store takes longer than the whole replay
            server = stack.enter_context(harness.serving(self.settings))
            environment = {**os.environ, **self.settings.environment()}
            shadow = subprocess.Popen([sys.executable, "-m", "serving.shadow"], env=environment)
            stack.callback(shadow.wait)
            stack.callback(shadow.terminate)
            stack.enter_context(self.learning())
            yield server

    @contextmanager
    def learning(self) -> Iterator[None]:
        """The learn run with its trainers, started again after an error as its schedule would do."""
        stopped = threading.Event()

        def learn() -> None:
            while not stopped.is_set():
                with suppress(redis.RedisError, LeaseLost, LeaseTaken):
                    run(self.place(), lambda decided: None, going_on=lambda: not stopped.is_set())
                time.sleep(0.2)

        thread = threading.Thread(target=learn)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def place(self) -> Place:
        return open_place(self.stream.name, self.model, self.settings)

    def replay(self, server: harness.Server, rate: float | None, limit: int | None = None) -> Replay:
        url = f"http://127.0.0.1:{server.port}"
        plan = Plan(url=url, model=self.stream.name, delay_rows=50, rate=rate, limit=limit)
        return Replay(plan, self.stream)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)  # where MLflow without a server puts artifacts
    return World(tmp_path, stream("phishing"))


def everything_is_learned(place: Place) -> bool:
    facts = place.learn_facts()
    if facts is None or facts.last_feedback_id != place.streams.last_id("feedback"):
        return False
    return all(learner.position == facts.examples for learner in facts.learners.values())


def test_scores_equal_those_of_river_by_hand(world: World) -> None:
    """The same rows, in the same order, with the same delay: each logged score, of whichever revision, equals the
    score that River's own estimators give by hand after as many labels."""
    with world.redis(), world.running() as server:
        place = world.place()
        asyncio.run(world.replay(server, rate=120, limit=200).run())
        harness.until(lambda: place.releases.board().challengers, timeout_s=60)  # both are registered
        result = asyncio.run(world.replay(server, rate=120).run())
        harness.until(lambda: everything_is_learned(place), timeout_s=30)
        facts = place.learn_facts()
        assert facts is not None
        assert (result.asked, facts.joined, facts.orphans, facts.dead_letters) == (1250, 1450, 0, 0)
        versions = {name: learner.version for name, learner in facts.learners.items()}
        asked, labels = history(place)
    by_hand = {
        "linear": preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.01), intercept_lr=0.01),
        "tree": tree.HoeffdingTreeClassifier(grace_period=50, max_depth=50),
    }
    for name, model in by_hand.items():
        wanted = [(*scored[version], row) for row, scored in asked.values() if (version := versions[name]) in scored]
        assert len({revision for revision, _, _ in wanted}) >= 5
        learned = 0
        for revision, scores, row in sorted(wanted, key=lambda one: one[0]):
            for id_, label in labels[learned:revision]:
                model.learn_one(place.schema.as_dict(asked[id_][0]), label == "true")
            learned = max(learned, revision)
            believed = model.predict_proba_one(place.schema.as_dict(row))
            expected = (believed.get(False, 0.0), believed.get(True, 0.0))
            assert scores == pytest.approx(expected, abs=1e-9), f"{name} at revision {revision}"
        assert learned > 800


Scored = dict[int, tuple[int, tuple[float, ...]]]


def history(place: Place) -> tuple[dict[str, tuple[tuple[Value, ...], Scored]], list[tuple[str, str | float]]]:
    """Row and every version's (revision, scores) by prediction id; (prediction id, label) in the order of learning."""
    asked: dict[str, tuple[tuple[Value, ...], Scored]] = {}
    for id_, fields in place.streams.scan("predictions", streams.START):
        one = events.decode(Prediction, fields)
        asked[id_] = (one.row, {one.version: (one.revision, one.scores)})
    for id_, fields in place.streams.scan("shadows", streams.START):
        asked[id_][1].update(events.decode(Shadow, fields).scores)
    given = [events.decode(Feedback, fields) for _, fields in place.streams.scan("feedback", streams.START)]
    return asked, [(one.prediction_id, one.label) for one in given]


@pytest.mark.parametrize("how", [pytest.param("stopped"), pytest.param("killed", marks=pytest.mark.soak)])
def test_ten_seconds_without_redis_cost_no_answer_and_nothing_accepted(world: World, how: str) -> None:
    """Every request is answered, those in between unlogged; every label that got its 202 is learned."""
    with ExitStack() as stack:
        process = stack.enter_context(world.redis())
        server = stack.enter_context(world.running())
        replaying = world.replay(server, rate=40, limit=900)
        thread = threading.Thread(target=lambda: asyncio.run(replaying.run()))
        thread.start()
        harness.until(lambda: replaying.result.asked > 200)
        if how == "stopped":
            process.send_signal(signal.SIGSTOP)
            time.sleep(10)
            process.send_signal(signal.SIGCONT)
        else:
            process.kill()
            process.wait()
            time.sleep(10)
            stack.enter_context(world.redis())
        thread.join(90)
        result, place = replaying.result, world.place()
        harness.until(lambda: everything_is_learned(place), timeout_s=30)
        assert result.asked == result.answered == 900
        assert 300 < result.unlogged < 500
        facts = place.learn_facts()
        assert facts is not None
        accepted = place.streams.length("feedback")
        assert accepted == 900 - result.unlogged
        assert result.outstanding == 0
        assert facts.joined == accepted


def test_the_learn_run_waits_in_place_while_redis_is_away(world: World) -> None:
    """Killed and back within its lease, the server finds the same run learning on; no other has to be started."""
    with ExitStack() as stack:
        process = stack.enter_context(world.redis())
        place = world.place()
        over = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run, place, lambda decided: None, going_on=lambda: not over.is_set())
            stack.callback(over.set)
            harness.until(lambda: place.learn_facts() is not None)
            process.kill()
            process.wait()
            time.sleep(2)
            stack.enter_context(world.redis())
            back = time.time()
            harness.until(lambda: (facts := place.learn_facts()) is not None and facts.at > back)
            over.set()
            running.result(30)
