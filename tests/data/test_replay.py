"""Replays against a real serving process and a real Valkey: asked first, answered later, and nothing lost."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import redis

from contracts import config, entities, events, streams
from contracts.events import Feedback, Prediction
from contracts.releases import Board, Manifest, Release, Releases, sha256
from contracts.settings import Settings
from contracts.streams import Streams
from data import infer
from data import streams as sources
from data.record import Result
from data.replay import Plan, Replay
from learners.prior import prior_onnx
from tests.conftest import free_port
from tiltyard import probes, valkey

NAMES = ("phishing", "trump-approval")


@dataclass
class Instance:
    """Serving with the priors of two models, and the Valkey behind it."""

    folder: Path
    redis_port: int
    url: str

    def kept(self, model: str = "phishing") -> Streams:
        return Streams(streams.connect(f"redis://127.0.0.1:{self.redis_port}/0"), model)

    @contextmanager
    def redis(self) -> Iterator[subprocess.Popen[bytes]]:
        """A Valkey that keeps what it accepts."""
        process = subprocess.Popen(valkey.command(self.folder, self.redis_port), stdout=subprocess.DEVNULL)
        try:
            until(lambda: probes.redis_ok(f"redis://127.0.0.1:{self.redis_port}/0"))
            yield process
        finally:
            process.terminate()
            process.wait(10)


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    folder = tmp_path_factory.mktemp("replay")
    port = free_port()
    found = Instance(folder, free_port(), f"http://127.0.0.1:{port}")
    file = folder / "tiltyard.toml"
    file.write_text("\n".join(infer.model_table(name, sources.stream(name).schema) for name in NAMES))
    chosen = Settings(state=folder, config=file, redis_url=f"redis://127.0.0.1:{found.redis_port}/0")
    with found.redis():
        for name, model in config.load(file).models.items():
            onnx = prior_onnx(model.schema)
            manifest = Manifest(
                model=name, version=0, kind="prior", learner="prior", revision=0, schema=model.schema.fingerprint,
                onnx_sha256=sha256(onnx), created_at=0.0,
            )  # fmt: skip
            releases = Releases(found.kept(name).client, name)
            releases.publish(Release(manifest, onnx))
            releases.set_board(Board(champion=0))
        with (folder / "serving.log").open("wb") as log:
            serving = subprocess.Popen(
                [sys.executable, "-m", "serving", "--port", str(port)],
                env={**os.environ, **chosen.environment()}, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            until(lambda: probes.http_ok(f"{found.url}/readyz"), 60)
            yield found
        finally:
            serving.terminate()
            serving.wait(15)


def replay(instance: Instance, model: str = "phishing", rows: Any = None, **more: Any) -> Result:
    plan = Plan(url=instance.url, model=model, **more)
    return asyncio.run(Replay(plan, iter(rows or sources.stream(model))).run())


def test_every_row_is_asked_in_order_and_answered_later_in_order(instance: Instance) -> None:
    """Predictions and labels stand in the streams in the order of the rows, each label with its own prediction."""
    kept = instance.kept()
    start, labels_start = kept.last_id("predictions"), kept.last_id("feedback")
    result = replay(instance, delay_rows=20, limit=200)
    assert (result.asked, result.answered, result.feedback["accepted"], result.outstanding) == (200, 200, 200, 0)
    predictions = [(id_, events.decode(Prediction, fields)) for id_, fields in kept.scan("predictions", start)]
    feedback = [events.decode(Feedback, fields) for _, fields in kept.scan("feedback", labels_start)]
    rows = list(islice(sources.stream("phishing"), 200))
    schema = sources.stream("phishing").schema
    assert [prediction.row for _, prediction in predictions] == [schema.decode(features) for features, _ in rows]
    assert [one.prediction_id for one in feedback] == [id_ for id_, _ in predictions]
    assert [one.label for one in feedback] == [schema.label.decode(label) for _, label in rows]


def test_a_feature_may_name_whom_a_question_is_about(instance: Instance) -> None:
    """Equal values are one entity, hashed under the installation's key."""
    kept = instance.kept("trump-approval")
    start = kept.last_id("predictions")
    rows = list(islice(sources.stream("trump-approval"), 6))
    name = next(iter(rows[0][0]))
    asked = [({**features, name: 1 + number % 2}, label) for number, (features, label) in enumerate(rows)]
    replay(instance, "trump-approval", rows=asked, delay_rows=1, entity=name)
    found = [events.decode(Prediction, fields).entity for _, fields in kept.scan("predictions", start)]
    key = entities.key(Settings(state=instance.folder))
    assert found == [entities.masked(key, "trump-approval", text) for text in ("1", "2")] * 3


def test_a_delay_in_rows_is_kept(instance: Instance) -> None:
    """A label is given when so many later rows were asked, not before and not much after."""
    kept = instance.kept()
    start, labels_start = kept.last_id("predictions"), kept.last_id("feedback")
    replay(instance, delay_rows=50, limit=400, rate=400)
    asked = [id_ for id_, _ in kept.scan("predictions", start)]
    given = [id_ for id_, _ in kept.scan("feedback", labels_start)]
    lags = [
        sum(events.entry_id(other) <= events.entry_id(label) for other in asked) - number
        for number, label in enumerate(given[:300])
    ]
    assert min(lags) > 50
    assert sum(lags) / len(lags) < 150


def test_a_delay_in_seconds_is_kept_also_for_the_last_rows(instance: Instance) -> None:
    """No label comes before its time, and the replay waits for the last ones."""
    result = replay(instance, delay_s=0.5, limit=30)
    assert result.feedback["accepted"] == 30
    median = result.delay_s(0.5)
    assert min(row.labeled_at - row.asked_at for row in result.rows) >= 0.5
    assert median is not None
    assert median < 2.0


def test_a_rate_is_kept(instance: Instance) -> None:
    """100 rows at 200 a second take half a second."""
    result = replay(instance, rate=200, limit=100, delay_rows=0)
    assert 0.4 < result.seconds < 5.0


def test_what_was_right_is_counted_by_version(instance: Instance) -> None:
    """The prior answers the first class, so its accuracy is that class's share."""
    result = replay(instance, limit=300, delay_rows=10)
    share = sum(label is False for _, label in islice(sources.stream("phishing"), 300)) / 300
    assert result.accuracy == pytest.approx(share)
    assert result.versions() == {0: (300, pytest.approx(1 - share))}
    assert [rows for rows, _ in result.curve(100)] == [100, 200, 300]


def test_values_are_measured_by_their_absolute_error(instance: Instance) -> None:
    """The prior of a regression answers 0, so the mean error is the mean rating."""
    result = replay(instance, "trump-approval", limit=50, delay_rows=5)
    mean = sum(label for _, label in islice(sources.stream("trump-approval"), 50)) / 50
    assert result.is_value
    assert result.accuracy is None
    assert result.mean_loss == pytest.approx(mean)


def test_a_question_that_is_refused_is_counted_and_the_rest_goes_on(instance: Instance) -> None:
    """A missing feature costs its own row only, and the reason is told."""
    rows = list(islice(sources.stream("phishing"), 20))
    rows[7] = ({**rows[7][0], "https": "yes"}, True)
    result = replay(instance, rows=rows, delay_rows=5)
    assert (result.asked, result.answered, result.refused) == (20, 19, 1)
    assert any("features.https" in kind for kind in result.errors)
    assert result.feedback["accepted"] == 19


def test_a_label_of_a_wrong_class_is_counted_and_the_rest_goes_on(instance: Instance) -> None:
    """The server refuses it for good, so it is not sent again."""
    rows = list(islice(sources.stream("phishing"), 20))
    rows[7] = (rows[7][0], "maybe")
    result = replay(instance, rows=rows, delay_rows=5)
    assert (result.feedback["accepted"], result.feedback["refused"], result.outstanding) == (19, 1, 0)


def test_many_questions_at_once_are_all_answered(instance: Instance) -> None:
    """Eight on their way at a time; every label reaches its own prediction."""
    result = replay(instance, concurrency=8, delay_rows=30)
    assert (result.answered, result.feedback["accepted"]) == (1250, 1250)
    assert len({row.prediction_id for row in result.rows}) == 1250


def test_stopping_asks_no_more_and_gives_the_labels_held_back(instance: Instance) -> None:
    """After Ctrl-C nothing that was asked stays without its label."""

    async def stopped_after_a_while() -> Result:
        one = Replay(
            Plan(url=instance.url, model="phishing", delay_rows=500, rate=100), iter(sources.stream("phishing"))
        )
        running = asyncio.create_task(one.run())
        while one.result.answered < 30:
            await asyncio.sleep(0.01)
        one.stop()
        return await running

    result = asyncio.run(stopped_after_a_while())
    assert 30 <= result.asked < 1000
    assert result.feedback["accepted"] == result.answered == result.asked
    assert result.outstanding == 0


def test_abandoning_says_how_many_labels_are_outstanding(instance: Instance) -> None:
    """A second Ctrl-C returns at once and hides nothing."""

    async def abandoned() -> Result:
        one = Replay(
            Plan(url=instance.url, model="phishing", delay_s=600.0, limit=25), iter(sources.stream("phishing"))
        )
        running = asyncio.create_task(one.run())
        while one.result.answered < 25:
            await asyncio.sleep(0.01)
        one.abandon()
        return await running

    result = asyncio.run(abandoned())
    assert (result.outstanding, sum(result.feedback.values())) == (25, 0)


def test_nobody_there_is_told_after_some_patience() -> None:
    """A question that nobody answers is counted as such."""
    plan = Plan(url=f"http://127.0.0.1:{free_port()}", model="phishing", patience_s=0.3, limit=1)
    result = asyncio.run(Replay(plan, iter(sources.stream("phishing"))).run())
    assert (result.asked, result.answered, result.unanswered) == (1, 0, 1)
    assert result.errors["ClientConnectorError"] >= 1


def test_redis_gone_for_ten_seconds_loses_nothing(instance: Instance) -> None:
    """Every question is answered meanwhile, without an id where it could not be logged; every label whose prediction
    was logged is accepted in the end, once, and in order."""
    kept = instance.kept()
    start, labels_start = kept.last_id("predictions"), kept.last_id("feedback")

    async def with_a_gap() -> Result:
        one = Replay(Plan(url=instance.url, model="phishing", delay_rows=20, rate=40), iter(sources.stream("phishing")))
        running = asyncio.create_task(one.run())
        while one.result.answered < 100:
            await asyncio.sleep(0.02)
        shut_down(kept.client)
        await asyncio.sleep(10)
        with instance.redis():
            while one.result.answered < 700:
                await asyncio.sleep(0.02)
            one.stop()
            result = await running
            check(result)
        return result

    def check(result: Result) -> None:
        assert result.answered == result.asked
        assert result.unlogged > 100
        logged = [row.prediction_id for row in result.rows if row.prediction_id is not None]
        feedback = [events.decode(Feedback, fields) for _, fields in kept.scan("feedback", labels_start)]
        assert [one.prediction_id for one in feedback] == logged
        assert set(logged) <= {id_ for id_, _ in kept.scan("predictions", start)}
        assert result.outstanding == 0
        assert result.errors

    asyncio.run(with_a_gap())


def shut_down(client: redis.Redis) -> None:
    """Ends the server; its append-only file has everything."""
    with contextlib.suppress(redis.ConnectionError):
        client.execute_command("SHUTDOWN", "NOSAVE")


def test_a_url_that_is_no_tiltyard_is_told(instance: Instance) -> None:
    """A 404 is no reason to ask again."""
    result = replay(instance, "nonsense", rows=list(islice(sources.stream("phishing"), 3)))
    assert result.refused == 3
    assert any('there is no model "nonsense"' in kind for kind in result.errors)
