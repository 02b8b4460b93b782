"""Asking over HTTP: what is answered, what is refused, and what is logged."""

import os
import subprocess
import sys
import time
from typing import Any

import msgspec
import numpy as np
import pytest
import redis
from onnx import TensorProto, helper

from contracts import entities, events, streams
from contracts.events import Prediction
from contracts.facts import ServingFacts
from contracts.settings import Settings
from contracts.streams import CROWDED, Streams
from tests.serving.harness import FRUIT, GOOD, Replies, Server, crown, graph, release, request, until

URL = "/models/fruit/predict"


def logged(client: redis.Redis, model: str = "fruit") -> list[tuple[str, Prediction]]:
    entries = Streams(client, model).follow("predictions", "0-0")
    return [(id_, events.decode(Prediction, fields)) for id_, fields in entries]


def chunked(body: bytes) -> bytes:
    """The request in chunks, which the door leaves to the app."""
    return request("POST", URL, None, b"transfer-encoding: chunked\r\n") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def test_an_answer_is_logged_before_it_is_given(server: Server, client: redis.Redis) -> None:
    """The prediction id is the id of the entry that holds the question as served and its scores."""
    status, answer = server.predict("fruit", a=1, b=2.5)
    assert status == 200
    assert answer == {
        "prediction_id": answer["prediction_id"],
        "label": True,
        "probabilities": {"false": 0.25, "true": 0.75},
        "model": "fruit",
        "version": 1,
        "revision": 0,
    }
    expected = Prediction(1, 0, (0.25, 0.75), (1.0, 2.5), FRUIT.fingerprint)
    assert logged(client) == [(answer["prediction_id"], expected)]


def test_a_value_is_answered_as_label_and_value(server: Server, client: redis.Redis) -> None:
    """Regression has no probabilities; missing features are logged as null, in schema order."""
    status, answer = server.predict("price", rooms=3, new=False)
    assert status == 200
    assert (answer["label"], answer["value"]) == (12.5, 12.5)
    assert "probabilities" not in answer
    assert logged(client, "price")[0][1].row == (None, 3, False, None)


def test_the_app_answers_like_the_door(server: Server, client: redis.Redis) -> None:
    """A chunked question goes through the ASGI app and gets the same answer, logged as well."""
    with server.connect() as line:
        line.sendall(chunked(b'{"features":{"a":1,"b":2.5}}'))
        status, answer = Replies(line).next()
    assert status == 200
    (entry,) = logged(client)
    assert entry[0] == answer["prediction_id"]
    assert {**answer, "prediction_id": None} == {**server.predict("fruit", a=1, b=2.5)[1], "prediction_id": None}


@pytest.mark.parametrize("way", ["door", "app"])
@pytest.mark.parametrize("entity_id", ["customer-17", "\u00e4\U0001f34c", "a\u0000b", "x" * 256])
def test_an_entity_is_stored_only_as_a_keyed_hash(
    server: Server, client: redis.Redis, entity_id: str, way: str
) -> None:
    """Same name, same hash, under the installation's key; the name itself is not in the entry."""
    body = msgspec.json.encode({"features": {"a": 1, "b": 2}, "entity_id": entity_id})
    with server.connect() as line:
        replies = Replies(line)
        for _ in range(2):
            line.sendall(request("POST", URL, body) if way == "door" else chunked(body))
            assert replies.next()[0] == 200
    found = [prediction.entity for _, prediction in logged(client)]
    assert found == [entities.masked(entities.key(server.where), "fruit", entity_id)] * 2
    raw = [fields[events.FIELD] for _, fields in Streams(client, "fruit").follow("predictions", "0-0")]
    assert not [entry for entry in raw if entity_id.encode() in entry]


def test_every_serving_process_says_which_key_hashes_its_entities(server: Server, client: redis.Redis) -> None:
    """So that an erasure with another key is noticed."""
    until(lambda: client.hkeys(streams.key("fruit", "facts")))
    (name,) = client.hkeys(streams.key("fruit", "facts"))
    facts = Streams(client, "fruit").fact(name.decode(), ServingFacts)
    assert facts is not None
    assert facts.entity_key == entities.fingerprint(entities.key(server.where))


def test_a_damaged_entity_key_stops_the_start_in_one_line(where: Settings) -> None:
    """Answers under another key would be lost to every erasure."""
    where.state.mkdir()
    (where.state / "entity.key").write_text("short")
    command = [sys.executable, "-m", "serving", "--port", "1"]
    left = subprocess.run(
        command, env={**os.environ, **where.environment()}, capture_output=True, text=True, timeout=60
    )
    assert left.returncode == 1
    (line,) = left.stderr.splitlines()
    assert "entity.key holds fewer than 16 characters; restore it" in line


BAD: list[tuple[bytes, int, str | None, str]] = [
    (b'{"features":{"a":"1","b":2}}', 422, "features.a", "Expected `float`, got `str`"),
    (b'{"features":{"a":true,"b":2}}', 422, "features.a", "Expected `float`, got `bool`"),
    (b'{"features":{"a":null,"b":2}}', 422, "features.a", "Expected `float`, got `null`"),
    (b'{"features":{"b":2}}', 422, "features.a", "is required"),
    (b'{"features":{"a":1,"b":2,"c":3}}', 422, "features.c", "is not in the schema"),
    (b'{"features":{"a":1,"b":2},"extra":3}', 422, "extra", "is not in the schema"),
    (b'{"features":{"a":1,"b":2},"entity_id":17}', 422, "entity_id", "Expected `str | null`, got `int`"),
    (b'{"features":{"a":1,"b":2},"entity_id":""}', 422, "entity_id", "length >= 1"),
    (b'{"features":{"a":1,"b":2},"entity_id":"%b"}' % (b"x" * 257), 422, "entity_id", "length <= 256"),
    (b'{"features":{"a":1,"b":2},"entity_id":"\\ud800"}', 400, None, "not valid JSON"),
    (b"{}", 422, "features", "is required"),
    (b"[]", 422, "body", 'send {"features": {...}}'),
    (b'{"features":{"a":NaN,"b":2}}', 422, "features.a", "is not a finite number"),
    (b'{"features":{"a":1,"b":-Infinity}}', 422, "features.b", "is not a finite number"),
    (b'{"features":{"a":1e999,"b":2}}', 422, "features.a", "out of range"),
    (b'{"features":{"a":1,"b"', 400, None, "not valid JSON"),
    (b'{"features":{"a":NaN,"b"', 400, None, "not valid JSON"),
    (b"", 400, None, "the body is empty"),
    (b'{"features":{"a":1,"b":2}}{', 400, None, "not valid JSON"),
    (b'{"features":{"\xff":1}}', 400, None, "not valid JSON"),
    (b"[" * 100_000, 422, "body", "Expected `object`"),
]


@pytest.mark.parametrize("way", ["door", "app"])
@pytest.mark.parametrize(("body", "status", "field", "reason"), BAD, ids=range(len(BAD)))
def test_a_bad_question_is_refused_by_name_and_not_logged(
    server: Server, client: redis.Redis, body: bytes, status: int, field: str | None, reason: str, way: str
) -> None:
    """The error names the field and the reason on both ways in, and the connection goes on."""
    with server.connect() as line:
        replies = Replies(line)
        line.sendall(request("POST", URL, body) if way == "door" or not body else chunked(body))
        got, error = replies.next()
        assert (got, error["error"].get("field")) == (status, field)
        assert reason in error["error"]["reason"]
        assert logged(client) == []
        line.sendall(request("POST", URL, b'{"features":{"a":1,"b":2}}'))
        assert replies.next()[0] == 200


@pytest.mark.parametrize(
    ("features", "field", "reason"),
    [
        ({"rooms": 2.5, "new": True}, "features.rooms", "Expected `int`"),
        ({"rooms": 2**60, "new": True}, "features.rooms", "beyond 2^53"),
        ({"rooms": 10**30, "new": True}, "features.rooms", "beyond 2^53"),
        ({"rooms": 2, "new": 1}, "features.new", "Expected `bool`"),
        ({"rooms": 2, "new": True, "town": ""}, "features.town", "send null"),
        ({"rooms": 2, "new": True, "town": 5}, "features.town", "got `int`"),
    ],
)
def test_each_type_is_checked(server: Server, features: dict[str, Any], field: str, reason: str) -> None:
    """Integers, flags and categories are what the schema says; nothing is converted in silence."""
    status, answer = server.predict("price", **features)
    assert (status, answer["error"]["field"]) == (422, field)
    assert reason in answer["error"]["reason"]


def test_an_unknown_model_is_told_the_nearest(server: Server) -> None:
    """A misspelt name gets the right one named."""
    status, answer = server.predict("fruits")
    assert status == 404
    assert answer == {"error": {"reason": 'there is no model "fruits"; did you mean "fruit"?'}}
    assert "known are fruit, price" in server.predict("zzz")[1]["error"]["reason"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_not_allowed(server: Server, method: str) -> None:
    """Only POST asks a question."""
    status, answer = server.ask(method, URL)
    assert status == 405
    assert answer == {"error": {"reason": "Method Not Allowed"}}


def test_head_is_not_allowed_and_has_no_body(server: Server) -> None:
    """The connection goes on behind it."""
    with server.connect() as line:
        line.sendall(request("HEAD", URL) + request("POST", URL, GOOD))
        replies = Replies(line)
        assert replies.next(bodiless=True)[0] == 405
        assert replies.next()[0] == 200


ROOTS = [helper.make_node("Sqrt", ["numeric"], ["scores"])]
TABLE = [
    helper.make_node("Slice", ["numeric", "zero", "one", "one"], ["first"]),
    helper.make_node("Reshape", ["first", "flat"], ["column"]),
    helper.make_node("Cast", ["column"], ["index"], to=TensorProto.INT64),
    helper.make_node("Gather", ["table", "index"], ["scores"], axis=0),
]
FIXED = {"zero": np.array([0]), "one": np.array([1]), "flat": np.array([-1]), "table": np.full((5, 2), 0.5)}


@pytest.mark.parametrize(
    ("made", "bad"),
    [
        (graph(ROOTS, {}, 2, 2), b'{"features":{"a":-1,"b":2}}'),
        (graph(TABLE, FIXED, 2, 2), b'{"features":{"a":9,"b":2}}'),
    ],
    ids=["nan", "raises"],
)
def test_a_question_without_a_finite_score_fails_alone(
    server: Server, client: redis.Redis, made: bytes, bad: bytes
) -> None:
    """500 for it, unlogged; the questions that were scored together with it are answered."""
    crown(client, release(made, 2))
    until(lambda: server.predict()[1]["version"] == 2)
    before = len(logged(client))
    with server.connect() as line:
        line.sendall(b"".join(request("POST", URL, body) for body in (GOOD, bad, GOOD)))
        replies = Replies(line)
        answers = [replies.next() for _ in range(3)]
    assert [status for status, _ in answers] == [200, 500, 200]
    assert answers[1][1] == {"error": {"reason": "version 2 gives no finite score for this question"}}
    assert len(logged(client)) == before + 2


def test_refusals_are_counted(server: Server) -> None:
    """The metric of refused questions grows by status."""
    server.ask("POST", URL, b"{}")
    line = 'predictions_refused_total{model="fruit",status="422"}'
    before = server.metric(line)
    server.ask("POST", URL, b"{}")
    assert server.metric(line) == before + 1


def test_ids_leave_a_millisecond_that_the_clock_has_yet_to_reach(server: Server, client: redis.Redis) -> None:
    """After a clock was set back, ids rise within the last millisecond, and offsets have room for a million of them."""
    kept = Streams(client, "fruit")
    server.predict()
    ((_, fields),), ahead = kept.follow("predictions", "0-0"), int(1000 * time.time()) + 3_600_000
    client.xadd(kept.key("predictions"), dict(fields), id=f"{ahead}-{CROWDED - 1}")
    ids = [server.predict()[1]["prediction_id"] for _ in range(4)]
    assert ids[0] == f"{ahead}-{CROWDED}"
    assert ids[-1].startswith(f"{ahead + 1}-")
