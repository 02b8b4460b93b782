"""`tiltyard ask-labels`: the queue of the page, for people and for programs."""

import json
import time
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result

from contracts.events import Prediction, Shadow
from contracts.releases import Board, Releases
from contracts.streams import Streams
from tests.serving.harness import FRUIT, TOML
from tiltyard.cli import main


@pytest.fixture
def asked(client: redis.Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A question on which champion and challenger differ; returns its id."""
    (tmp_path / "tiltyard.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TILTYARD_REDIS_URL", redis_url)
    Releases(client, "fruit").set_board(Board(1, (2,)))
    kept = Streams(client, "fruit")
    id_ = kept.append(Prediction(1, 0, (0.1, 0.9), (0.5, -3.0), FRUIT.fingerprint))
    kept.append_shadows([(id_, Shadow({2: (0, (0.9, 0.1))}))])
    return id_


def tiltyard(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_person_reads_what_was_asked_and_what_was_answered(asked: str) -> None:
    """With the time until which a label counts, and where to give it; not who said what."""
    told = " ".join(tiltyard("ask-labels").output.split())
    assert "fruit: 1 disagreement waits for a label that still counts (of 1 questions)" in told
    assert "a 0.5, b -3" in told
    assert "false or true" in told
    assert time.strftime("%H:%M", time.localtime(time.time() + 600)) in told
    assert "/models/fruit/page#fruit-labels" in told


def test_a_program_reads_the_same_as_json(asked: str) -> None:
    """One queue per model that predicts classes."""
    (queue,) = json.loads(tiltyard("ask-labels", "--json").output)
    (item,) = queue["items"]
    assert item["prediction_id"] == asked
    assert item["features"] == {"a": 0.5, "b": -3.0}
    assert item["answers"] == ["false", "true"]
    assert json.loads(tiltyard("ask-labels", "--json", "--model", "fruit").output) == [queue]


def test_a_model_of_values_has_no_queue(asked: str) -> None:
    """The reason is told in one line."""
    result = tiltyard("ask-labels", "--model", "price")
    assert result.exit_code == 2
    assert result.stderr == (
        "tiltyard: price predicts values, on which versions always differ: every label counts alike\n"
    )


def test_nothing_to_ask_is_said(asked: str, client: redis.Redis) -> None:
    """With how much was looked through."""
    Streams(client, "fruit").client.delete(Streams(client, "fruit").key("shadows"))
    assert "fruit: no disagreement waits for a label" in tiltyard("ask-labels").output
