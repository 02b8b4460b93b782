"""A champion that fails is taken out of service by what serving counts, with real processes and without any label."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import redis
from onnx import helper

from contracts import streams
from contracts.config import load
from contracts.facts import AnsweringFacts, GuardFacts, ServingFacts
from contracts.releases import Board, Release
from contracts.settings import Settings
from flows.guard import Guard
from flows.place import Place, open_place
from registry import history
from tests.conftest import free_port
from tests.serving.harness import (
    Replies,
    constant,
    graph,
    linear,
    release,
    request,
    serving,
    shadowing,
    until,
)
from tests.serving.test_predict import FIXED, ROOTS, TABLE

SOON_S = 20.0
"""Seconds are what it takes; a busy machine gets some more."""
CONFIG = """
[models.fruit]
features = { a = "float", b = "float" }
label = { task = "binary", classes = [false, true] }
learners.linear = { algorithm = "linear" }
gate.max_latency = "5ms"
"""
URL = "/models/fruit/predict"


@pytest.fixture
def place(tmp_path: Path, redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A model whose MLflow does not answer."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return place_in(tmp_path, redis_url, client, f"http://127.0.0.1:{free_port()}")


def place_in(folder: Path, redis_url: str, client: redis.Redis, mlflow_url: str) -> Place:
    config = folder / "tiltyard.toml"
    config.write_text(CONFIG)
    settings = Settings(state=folder / "state", config=config, redis_url=redis_url, mlflow_url=mlflow_url)
    return open_place("fruit", load(config).model("fruit"), settings, client)


def crown(place: Place, *made: Release) -> None:
    """Each comes to answer after the other, as a promotion leaves it; MLflow need not be there."""
    for one in made:
        board = history.board_after(place.roles.ledger.read())
        version, since = one.manifest.version, place.streams.last_id("predictions")
        place.releases.publish(one)
        place.roles.ledger.append(
            "promoted",
            version,
            "fewer mistakes",
            cause="gate",
            numbers={"board": history.succeeded(board, version, since)},
        )
        place.releases.set_board(history.succeeded(board, version, since))


@contextlib.contextmanager
def guarding(place: Place) -> Iterator["subprocess.Popen[bytes]"]:
    """A `python -m flows.guard` process that has looked once."""
    environment = {**os.environ, **place.settings.environment()}
    process = subprocess.Popen([sys.executable, "-m", "flows.guard"], env=environment)
    try:
        until(lambda: place.streams.fact("guard", GuardFacts) or process.poll() is not None, 60)
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


class Client:
    """Asks a server over one connection."""

    def __init__(self, line: socket.socket):
        self.line, self.rng, self.replies = line, np.random.default_rng(0), Replies(line)

    def ask(self, n: int = 20, a: float | None = None) -> list[tuple[int, int | None]]:
        """Status and version of n different questions that are asked together; `a` is the same in all, where given."""
        rows = [(float(self.rng.normal()) if a is None else a, float(self.rng.normal())) for _ in range(n)]
        bodies = (b'{"features":{"a":%f,"b":%f}}' % (x, abs(y)) for x, y in rows)
        self.line.sendall(b"".join(request("POST", URL, body) for body in bodies))
        answers = [self.replies.next() for _ in range(n)]
        return [(status, body.get("version")) for status, body in answers]


@contextlib.contextmanager
def guarded(place: Place) -> Iterator[Client]:
    """Serving and the guard, as processes, and a client of the first."""
    with serving(place.settings) as server, guarding(place), server.connect() as line:
        yield Client(line)


def ask_until_rolled_back(asking: Client, place: Place, to: int, a: float | None = None, n: int = 20) -> float:
    """Seconds until another version answers all that is asked."""
    began = time.monotonic()
    while {version for _, version in asking.ask(n, a)} != {to}:
        assert time.monotonic() < began + SOON_S, "it was not rolled back"
        time.sleep(0.05)
    assert place.releases.board().champion == to
    return time.monotonic() - began


GOOD = release(linear((1.0, 1.0)), 1)


@pytest.mark.parametrize(
    ("made", "good", "bad"),
    [(graph(ROOTS, {}, 2, 2), 1.0, -1.0), (graph(TABLE, FIXED, 2, 2), 1.0, 9.0)],
    ids=["nan", "raises"],
)
def test_a_champion_that_fails_on_what_is_asked_now_is_rolled_back_within_seconds(
    place: Place, made: bytes, good: float, bad: float
) -> None:
    """Nobody has given a label, MLflow is away, and nobody who fails is asked again."""
    crown(place, GOOD, release(made, 2))
    with guarded(place) as asking:
        for _ in range(10):
            assert asking.ask(a=good) == [(200, 2)] * 20
            time.sleep(0.1)
        took_s = ask_until_rolled_back(asking, place, to=1, a=bad)
        print(f"rolled back {took_s:.1f} s after the first failure")
        assert asking.ask(a=bad) == [(200, 1)] * 20
    line = place.roles.ledger.read()[-1]
    assert (line.kind, line.version, line.cause) == ("rolled_back", 2, "guard")
    assert line.reason.endswith("questions got no answer; max_failures is 0.01.")
    assert line.numbers["bad"] >= 8
    assert place.roles.barred() == {2}
    assert place.roles.ledger.verify() is None
    assert place.streams.added("feedback") == 0


def test_a_guard_that_comes_late_finds_a_champion_that_failed_before(place: Place) -> None:
    """It was away, or killed; what goes on failing is enough."""
    crown(place, GOOD, release(graph(ROOTS, {}, 2, 2), 2))
    with serving(place.settings) as server, server.connect() as line:
        asking = Client(line)
        assert asking.ask(a=-1.0) == [(500, None)] * 20
        with guarding(place) as first:
            first.kill()
        place.client.hdel(streams.key("fruit", "facts"), "guard")
        with guarding(place):
            ask_until_rolled_back(asking, place, to=1, a=-1.0)


def test_a_revision_that_answers_one_class_only_is_rolled_back(place: Place) -> None:
    """The version before it shadows and goes on answering both; until then they had agreed, and nothing happened."""
    crown(place, GOOD)
    place.releases.publish(release(linear((1.0, 0.9)), 2))
    place.releases.set_board(Board(1, (2,)))
    with shadowing(place.settings), guarded(place) as asking:
        for _ in range(30):
            asking.ask(50)
        until(lambda: place.streams.last_id("shadows") == place.streams.last_id("predictions"))
        crown(place, release(linear((1.0, 0.9)), 2))
        until(lambda: {version for _, version in asking.ask(1)} == {2})
        for _ in range(20):
            asking.ask(30)
            time.sleep(0.1)
        assert place.releases.board().champion == 2
        place.releases.publish(release(constant((0.9, 0.1)), 2, revision=1))
        took_s = ask_until_rolled_back(asking, place, to=1, n=50)
        print(f"rolled back {took_s:.1f} s after its first one-sided answer")
    line = place.roles.ledger.read()[-1]
    assert line.numbers["rule"] == "max_class_shift"
    assert "to 100% of" in line.reason or '"true" to 0%' in line.reason or "before; version 1 answers so" in line.reason


def test_a_revision_that_computes_for_too_long_is_rolled_back(place: Place) -> None:
    """By its own time on the processor, beyond the policy's five milliseconds."""
    crown(place, GOOD, release(linear((1.0, 0.9)), 2))
    with guarded(place) as asking:
        for _ in range(10):
            asking.ask(5)
            time.sleep(0.1)
        place.releases.publish(release(heavy(), 2, revision=1))
        ask_until_rolled_back(asking, place, to=1, n=1)
    line = place.roles.ledger.read()[-1]
    assert line.numbers["rule"] == "max_latency"
    assert "scorings took longer than 5ms; max_failures is 0.01." in line.reason


def heavy() -> bytes:
    """A graph that multiplies large matrices for each batch, and answers a half."""
    nodes = [
        helper.make_node("ReduceMean", ["numeric"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["large", "mean"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "large"], ["product"]),
        helper.make_node("ReduceMean", ["product"], ["one"], keepdims=0),
        helper.make_node("Mul", ["one", "zero"], ["nothing"]),
        helper.make_node("Mul", ["numeric", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "nothing"], ["all"]),
        helper.make_node("Add", ["all", "half"], ["scores"]),
    ]
    large = np.random.default_rng(0).normal(size=(600, 600))
    return graph(nodes, {"large": large, "zero": np.array(0.0), "half": np.array(0.5)}, 2, 2)


def test_a_healthy_champion_stays(place: Place) -> None:
    """Seconds of questions, two versions that differ now and then, a revision meanwhile: no line, no alert."""
    crown(place, GOOD, release(linear((1.0, 0.8)), 2))
    with shadowing(place.settings), guarded(place) as asking:
        ends, revision = time.monotonic() + 10, 0
        while time.monotonic() < ends:
            assert {status for status, _ in asking.ask(30)} == {200}
            revision += 1
            place.releases.publish(release(linear((1.0, 0.8 + revision / 10_000)), 2, revision=revision))
            time.sleep(0.05)
        facts = place.streams.fact("guard", GuardFacts)
    assert facts is not None
    assert (facts.version, facts.compared_with, facts.alert) == (2, 1, None)
    assert [line.kind for line in place.roles.ledger.read()] == ["promoted", "promoted"]


def test_where_nobody_can_follow_there_is_an_alert_and_no_change(place: Place) -> None:
    """Only the prior came before: it says so once in the ledger, and in its facts for as long as it holds."""
    place.roles.ledger.append("prior", 0, "nobody", cause="bootstrap", numbers={"board": Board(0)})
    crown(place, release(graph(ROOTS, {}, 2, 2), 1))
    with guarded(place) as asking:

        def alerted() -> str | None:
            asking.ask(a=-1.0)
            facts = place.streams.fact("guard", GuardFacts)
            return None if facts is None else facts.alert

        told = until(alerted, SOON_S)
        assert told.startswith("Version 1 goes on answering, since no other version than 1 has ever answered")
        assert asking.ask(a=1.0) == [(200, 1)] * 20
        time.sleep(1.5)
    lines = place.roles.ledger.read()
    assert [(line.kind, line.cause) for line in lines[2:]] == [("refused", "guard")]
    assert place.releases.board().champion == 1


@pytest.mark.soak  # MLflow has to open its store and be imported twice
def test_with_mlflow_there_the_alias_follows_at_once(
    tmp_path: Path, redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alias, release, ledger and board agree."""
    monkeypatch.chdir(tmp_path)  # where MLflow without a server puts artifacts
    place = place_in(tmp_path, redis_url, client, f"sqlite:///{tmp_path}/mlflow.db")
    for made in (GOOD, release(graph(ROOTS, {}, 2, 2), 2)):
        place.registry.register(made.onnx, made.manifest)
    crown(place, GOOD, release(graph(ROOTS, {}, 2, 2), 2))
    place.roles.reconcile("test")
    assert place.registry.champion() == 2
    with guarded(place) as asking:
        ask_until_rolled_back(asking, place, to=1, a=-1.0)
        until(lambda: place.registry.aliases() == {"champion": 1}, 90)  # the guard has yet to import MLflow
        until(lambda: set(place.releases.revisions()) == {1})


class Told:
    """Facts as a serving process tells them, a second at a time, and a guard in this process that looks after each."""

    def __init__(self, place: Place, address: str = "here:1"):
        self.place, self.address, self.guard = place, address, Guard(place)
        self.versions: dict[int, AnsweringFacts] = {}
        self.now = time.time()

    def second(self, version: int, answered: int, failed: int = 0, slow: int = 0) -> str | None:
        old = self.versions.get(version, AnsweringFacts())
        self.versions[version] = msgspec.structs.replace(
            old,
            answered=old.answered + answered,
            failed=old.failed + failed,
            turns=old.turns + answered + failed,
            slow=old.slow + slow,
        )
        return self.look(version)

    def look(self, version: int) -> str | None:
        self.now += 1
        facts = ServingFacts(
            at=self.now, address=self.address, pid=1, version=version, revision=0, provider="", versions=self.versions
        )
        self.place.streams.set_fact(f"serving:{self.address}", facts)
        return self.guard.look(self.now)


def test_two_versions_that_fail_alike_are_not_to_blame(place: Place) -> None:
    """The first rollback is not followed by another one: what is asked fails, whoever answers. An alert says so."""
    crown(place, *(release(linear((1.0, version)), version) for version in (1, 2, 3)))
    told = Told(place)
    told.look(3)
    done = until(lambda: told.second(3, answered=80, failed=20), 60)
    assert done.startswith("Version 3 no longer answers. In ")
    assert place.releases.board().champion == 2
    alert = until(lambda: told.second(2, answered=80, failed=20), 60)
    assert alert.startswith("Version 2 goes on answering, since the version before it did so, too.")
    assert not any(told.second(2, answered=80, failed=20) for _ in range(50))
    assert place.releases.board().champion == 2
    # And when it gets far worse than that, it goes, too.
    assert until(lambda: told.second(2, answered=10, failed=90), 60).startswith("Version 2 no longer answers.")
    assert place.releases.board().champion == 1


def test_what_the_version_before_failed_at_is_no_fault_of_the_next(place: Place) -> None:
    """Some questions have no finite score from anybody; the champion is measured by its predecessor."""
    crown(place, GOOD)
    told = Told(place)
    for _ in range(20):
        told.second(1, answered=950, failed=50)
    crown(place, release(linear((1.0, 0.9)), 2))
    for _ in range(60):
        told.second(2, answered=950, failed=50)
    assert place.releases.board().champion == 2
    assert [line.kind for line in place.roles.ledger.read() if line.version == 2] == ["promoted", "refused"]


def test_processes_that_come_and_go_are_counted_each_from_its_own_beginning(place: Place) -> None:
    """A restart is no negative number, and what was counted before the guard came is nobody's failure now."""
    crown(place, GOOD, release(linear((1.0, 0.9)), 2))
    told = Told(place)
    told.versions = {2: AnsweringFacts(answered=10_000, failed=5_000, turns=15_000)}
    assert told.look(2) is None
    assert not any(told.second(2, answered=100) for _ in range(20))
    told.versions = {}
    assert not any(told.second(2, answered=100) for _ in range(20))
    told.address = "there:1"
    assert not any(told.second(2, answered=100) for _ in range(5))
    told.versions = {}
    told.address = "elsewhere:1"
    assert "In 1 s 8 of 8 questions got no answer" in str(told.second(2, answered=0, failed=8))
    assert place.releases.board().champion == 1


def test_after_probation_too_there_is_somebody_to_go_back_to(place: Place) -> None:
    """Nobody shadows any more and MLflow is away; the release of the champion before lies ready."""
    crown(place, GOOD, release(linear((1.0, 0.9)), 2))
    alone = Board(2, since=place.releases.board().since)
    place.roles.ledger.append("confirmed", 2, "probation ended", cause="gate", numbers={"board": alone})
    place.releases.set_board(alone)
    told = Told(place)
    told.look(2)
    assert not any(told.second(2, answered=100) for _ in range(5))
    assert told.second(2, answered=0, failed=20)
    assert place.releases.board().champion == 1


def test_nothing_is_asked_of_a_model_whose_prior_answers(place: Place) -> None:
    """There is nobody to go back to, and a constant does not fail."""
    place.releases.set_board(Board(0))
    told = Told(place)
    assert not any(told.second(0, answered=0, failed=50) for _ in range(5))
    assert place.roles.ledger.read() == []
    facts = place.streams.fact("guard", GuardFacts)
    assert facts is not None
    assert facts.version is None
