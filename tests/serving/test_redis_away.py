"""Redis leaves, hangs and comes back: every question is answered, and what was accepted is not lost."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from contracts import releases, streams
from contracts.streams import Streams
from tests.conftest import free_port
from tests.serving import harness
from tests.serving.harness import Server, crown_all, serving, until
from tiltyard import valkey


class Valkey:
    """A Valkey of one's own, append-only as in production, which can be stopped and started."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(valkey.command(self.folder, self.port), stdout=subprocess.DEVNULL)
        until(lambda: ping(self.url))
        return process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        self.process = self._start()


def ping(url: str) -> bool:
    try:
        with streams.connect(url, 1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    kept = Valkey(tmp_path_factory.mktemp("valkey"))
    try:
        yield kept
    finally:
        kept.process.send_signal(signal.SIGCONT)
        kept.kill()


@pytest.fixture(scope="module")
def server(own: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with streams.connect(own.url) as client:
        crown_all(client)
    with serving(harness.settings(tmp_path_factory.mktemp("serving"), own.url)) as running:
        yield running


def ask_for(server: Server, seconds: float, answers: list[dict[str, Any]]) -> None:
    """Questions one after the other; each must be answered, none may take longer than Redis's silence is borne."""
    until_then = time.monotonic() + seconds
    while time.monotonic() < until_then:
        began = time.monotonic()
        status, answer = server.predict()
        assert status == 200
        assert time.monotonic() - began < 2.5
        answers.append(answer)


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_every_question_is_answered_while_redis_is_away(own: Valkey, server: Server, how: str) -> None:
    """Without an id while it is away, with one again soon after it is back; each id given is in the stream."""
    before: list[dict[str, Any]] = []
    away: list[dict[str, Any]] = []
    back: list[dict[str, Any]] = []
    line = 'predictions_unlogged_total{model="fruit"}'
    unlogged = server.metric(line)
    ask_for(server, 0.3, before)
    if how == "killed":
        own.kill()
    else:
        own.process.send_signal(signal.SIGSTOP)
    ask_for(server, 3, away)
    assert len(away) > 20, "while Redis is away nobody waits for it"
    assert server.metric("redis_connected") == 0
    assert server.metric(line) == unlogged + len(away)
    if how == "killed":
        own.start_again()
    else:
        own.process.send_signal(signal.SIGCONT)
    until(lambda: server.metric("redis_connected") == 1)
    ask_for(server, 0.3, back)
    ids = [answer["prediction_id"] for answer in before + back]
    assert None not in ids
    with streams.connect(own.url) as client:
        kept = {id_ for id_, _ in Streams(client, "fruit").follow("predictions", "0-0", count=100_000)}
    assert set(ids) <= kept
    assert {answer["prediction_id"] for answer in away} == {None}
    assert {answer["version"] for answer in away} == {1}


def test_feedback_is_refused_while_redis_is_away_and_kept_once_accepted(own: Valkey, server: Server) -> None:
    """503 with Retry-After; what got its receipt before a kill -9 is there after the restart."""
    url = "/models/fruit/feedback"
    first, second = ({"prediction_id": server.predict()[1]["prediction_id"], "label": True} for _ in range(2))
    status, receipt = server.ask("POST", url, first)
    assert status == 202
    own.kill()
    status, refusal = server.ask("POST", url, second)
    assert status == 503
    assert "Redis is away: the label was not accepted" in refusal["error"]["reason"]
    assert server.ask("GET", f"/feedback/{receipt['feedback_id']}")[0] == 503
    status, models = server.ask("GET", "/models")
    assert (status, models["models"][0]["redis"], models["models"][0]["champion"]["version"]) == (200, False, 1)
    assert server.ask("GET", "/readyz")[0] == 200
    own.start_again()
    until(lambda: server.ask("POST", url, second)[0] == 202)
    assert server.ask("POST", url, first)[1] == {**receipt, "status": "duplicate"}
    with streams.connect(own.url) as client:
        assert Streams(client, "fruit").length("feedback") == 2


def test_a_start_while_redis_is_away_serves_the_last_champion(own: Valkey, tmp_path: Path) -> None:
    """The kept copies answer, unlogged; the board is followed again once Redis is back."""
    own.kill()
    where = harness.settings(tmp_path, own.url)
    for made in (harness.FRUIT_RELEASE, harness.PRICE_RELEASE):
        releases.write(made, where.release_folder / made.manifest.model)
    with serving(where) as server:
        status, answer = server.predict()
        assert (status, answer["version"], answer["prediction_id"]) == (200, 1, None)
        own.start_again()
        with streams.connect(own.url) as client:
            harness.crown(client, harness.release(harness.constant((0.4, 0.6)), 2))
        until(lambda: server.predict()[1]["version"] == 2)
        until(lambda: server.predict()[1]["prediction_id"])


def test_a_question_on_its_way_is_answered_before_the_end(own: Valkey, tmp_path: Path) -> None:
    """SIGTERM lets a request that has begun end, tells its client to close, and takes the process's facts away."""
    with streams.connect(own.url) as client:
        crown_all(client)
        name = ""
        with serving(harness.settings(tmp_path, own.url)) as server, server.connect() as line, server.connect() as idle:
            name = f"serving:127.0.0.1:{server.port}"
            until(lambda: name in Streams(client, "fruit").facts())
            question = harness.request("POST", "/models/fruit/predict", harness.GOOD)
            line.sendall(question[:-5])
            time.sleep(0.1)
            server.process.terminate()
            assert idle.recv(1) == b"", "a connection without a request is closed"
            line.sendall(question[-5:])
            replies = harness.Replies(line)
            assert replies.next()[0] == 200
            assert replies.headers[b"connection"] == b"close"
            server.process.wait(10)
        assert name not in Streams(client, "fruit").facts()
