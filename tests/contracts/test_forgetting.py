"""Erasing from the streams: everything that names a prediction goes; readers, receipts and positions stay."""

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import redis

from contracts import events, forgetting
from contracts.events import Feedback, Prediction, Shadow
from contracts.forgetting import Gone
from contracts.streams import Streams
from tests.conftest import free_port
from tiltyard import valkey

ANN, BOB = "a" * 32, "b" * 32


@pytest.fixture
def kept(client: redis.Redis) -> Streams:
    return Streams(client, "bananas")


def about(entity: str | None, text: str = "x") -> Prediction:
    return Prediction(3, 17, (0.25, 0.75), (1.5, text), "abc", entity)


def ask(kept: Streams, entity: str | None) -> str:
    id_ = kept.append(about(entity))
    kept.append_shadows([(id_, Shadow({2: (1, (0.5, 0.5))}))])
    return id_


def test_an_entity_is_found_by_its_hash(kept: Streams) -> None:
    """In order, after an id where one is given, and also where an entry cannot be read and was buried."""
    ids = [ask(kept, entity) for entity in (ANN, BOB, None, ANN)]
    broken = kept.client.xadd(kept.key("predictions"), {"e": b"\xc1" + ANN.encode()})
    assert isinstance(broken, bytes)
    kept.bury("predictions", broken.decode(), {b"e": b"\xc1" + ANN.encode()}, "is no Prediction")
    kept.bury("predictions", "9999999999999-0", {b"e": b"gone from the stream " + ANN.encode()}, "is no Prediction")
    assert forgetting.ids_of(kept, ANN) == [ids[0], ids[3], broken.decode(), "9999999999999-0"]
    assert forgetting.ids_of(kept, ANN, after=ids[0])[0] == ids[3]
    assert forgetting.ids_of(kept, "c" * 32) == []


def test_what_names_a_prediction_goes_with_it(kept: Streams) -> None:
    """Question, shadow scores, labels and corrections, dead letters, the newest label; and nothing of anybody else."""
    mine, theirs = ask(kept, ANN), ask(kept, BOB)
    for id_ in (mine, theirs):
        kept.add_feedback(Feedback(id_, "true", comment="well"), 60)
        kept.add_feedback(Feedback(id_, "false"), 60)
        broken = msgspec.msgpack.encode([id_, ["no", "label"]])
        for source in ("feedback", "predictions"):
            kept.bury(source, id_, {b"e": broken}, "is no event")  # type: ignore[arg-type]  # both are sources
        kept.client.xadd(kept.key("feedback"), {"e": broken})
    assert forgetting.erase(kept, [mine]) == Gone(1, 1, 3, 1, 2)
    assert list(kept.look_up("predictions", [mine, theirs])) == [theirs]
    assert list(kept.look_up("shadows", [mine, theirs])) == [theirs]
    assert kept.length("feedback") == 3
    assert [id_ for id_, _ in kept.dead_letters("feedback")] == [theirs]
    assert kept.add_feedback(Feedback(mine, "true"), 60) == ("unknown", "")
    assert kept.add_feedback(Feedback(theirs, "false"), 60)[0] == "duplicate"
    assert not [key for key in kept.client.scan_iter() if mine.encode() in _content(kept.client, key)]
    assert forgetting.erase(kept, [mine]) == Gone(0, 0, 0, 0, 0)
    assert forgetting.erase(kept, []) == Gone(0, 0, 0, 0, 0)


def _content(client: redis.Redis, key: bytes) -> bytes:
    read = client.hgetall if client.type(key) == b"hash" else client.xrange
    return repr(read(key)).encode()


def test_readers_stand_where_they_stood(kept: Streams) -> None:
    """Erasing the newest entry, or the one that a reader has read last, moves no position and repeats nothing."""
    ids = [ask(kept, ANN) for _ in range(5)]
    assert [id_ for id_, _ in kept.follow("predictions", "0-0", count=3)] == ids[:3]
    forgetting.erase(kept, [ids[2], ids[3], ids[4]])
    assert kept.last_id("predictions") == kept.last_id("shadows") == ids[4]
    assert kept.added("predictions") == 5
    assert kept.follow("predictions", ids[2]) == []
    fresh = ask(kept, BOB)
    assert [id_ for id_, _ in kept.follow("predictions", ids[2])] == [fresh]
    assert kept.append_shadows([(ids[4], Shadow())]) == 0, "an id that was taken is not given again"


def test_many_predictions_are_erased_while_others_are_asked(kept: Streams) -> None:
    """Thousands in pages; what is asked and labelled meanwhile stays."""
    ids = [kept.append(about(ANN)) for _ in range(3000)]
    for id_ in ids[::3]:
        kept.add_feedback(Feedback(id_, "true"), 60)
    asked: list[str] = []
    done = threading.Event()

    def go_on() -> None:
        while not done.is_set():
            asked.append(kept.append(about(BOB)))
            assert kept.add_feedback(Feedback(asked[-1], "true"), 60)[0] == "accepted"

    asking = threading.Thread(target=go_on)
    asking.start()
    try:
        assert forgetting.erase(kept, ids) == Gone(3000, 0, 1000, 1000, 0)
    finally:
        done.set()
        asking.join()
    assert [id_ for id_, _ in kept.scan("predictions", "0-0")] == asked
    assert kept.length("feedback") == len(asked)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[redis.Redis]:
    """A server as `tiltyard up` starts it, with its append-only file in `tmp_path`."""
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(valkey.command(tmp_path, port), stdout=log, stderr=log)
    client = redis.Redis(port=port)
    try:
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(10)


def test_the_append_only_file_forgets_too(embedded: redis.Redis, tmp_path: Path) -> None:
    """Also after the next rewrite; a copy of the stream's blocks would still hold the deleted entry."""
    kept, secret = Streams(embedded, "bananas"), "9f3c-so-secret-9f3c"
    ids = [kept.append(about(ANN, secret if n == 7 else f"other {n}")) for n in range(30)]
    kept.add_feedback(Feedback(ids[7], "true", comment=secret), 60)

    def holding() -> list[Path]:
        return [file for file in tmp_path.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]

    assert holding()
    forgetting.erase(kept, [ids[7]])
    assert forgetting.rewrite_file(embedded) == "the append-only file was rewritten"
    assert holding() == []
    assert forgetting.rewrite_file(embedded) == "the append-only file was rewritten"
    assert holding() == []
    assert kept.length("predictions") == 29


def test_a_server_that_keeps_no_file_or_allows_no_rewrite_is_said(client: redis.Redis, embedded: redis.Redis) -> None:
    """The receipt says what was not done, and who can do it."""
    assert forgetting.rewrite_file(client) == "Redis keeps no append-only file"
    embedded.execute_command("ACL", "SETUSER", "default", "-config", "-bgrewriteaof")
    assert "not rewritten" in forgetting.rewrite_file(embedded)
    embedded.execute_command("ACL", "SETUSER", "default", "+@all")
    embedded.config_set("save", "3600 1")
    assert 'snapshots (save "3600 1") hold deleted entries' in forgetting.rewrite_file(embedded)


def test_a_prediction_of_the_same_entity_may_be_asked_again(kept: Streams) -> None:
    """Erasure looks back, it does not ban."""
    forgetting.erase(kept, [ask(kept, ANN)])
    fresh = ask(kept, ANN)
    assert forgetting.ids_of(kept, ANN) == [fresh]
    assert events.decode(Prediction, kept.look_up("predictions", [fresh])[fresh]).entity == ANN
