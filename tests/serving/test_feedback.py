"""Labels that come back over HTTP: receipts, refusals, and what became of them."""

import time
from typing import Any

import msgspec
import pytest
import redis

from contracts import events
from contracts.events import Feedback
from contracts.facts import LearnFacts
from contracts.releases import Board, Releases
from contracts.streams import MOST_LABELS, Streams
from tests.serving.harness import GOOD, Replies, Server, request

URL = "/models/fruit/feedback"


def asked(server: Server) -> str:
    return str(server.predict()[1]["prediction_id"])


def learned_through(client: redis.Redis, feedback_id: str) -> None:
    """Publishes what the learn loop would: everything up to a feedback id."""
    facts = LearnFacts(
        at=time.time(), last_feedback_id=feedback_id, feedback=1, joined=1, orphans=0, duplicates=0, corrections=0,
        late=0, uncovered=0, pending=0, matured=0, dead_letters=0, loss="zero_one", delay_s=None, learners={},
        versions=(), comparisons=(),
    )  # fmt: skip
    Streams(client, "fruit").set_fact("learn", facts)


def test_a_label_gets_a_receipt(server: Server, client: redis.Redis) -> None:
    """Accepted, repeated and corrected labels are told apart; the stream holds what was sent, each once."""
    id_ = asked(server)
    more = {"reporter": "ann", "comment": "seen", "labeled_at": "2026-01-02T03:04:05Z"}
    status, first = server.ask("POST", URL, {"prediction_id": id_, "label": True, **more})
    assert (status, first["status"]) == (202, "accepted")
    status, again = server.ask("POST", URL, {"prediction_id": id_, "label": "true"})
    assert (status, again) == (202, {"feedback_id": first["feedback_id"], "status": "duplicate"})
    status, other = server.ask("POST", URL, {"prediction_id": id_, "label": False, "labeled_at": 1.5e9})
    assert (status, other["status"]) == (202, "correction")
    kept = [events.decode(Feedback, fields) for _, fields in Streams(client, "fruit").follow("feedback", "0-0")]
    assert kept == [
        Feedback(id_, "true", "ann", "seen", 1767323045.0),
        Feedback(id_, "false", None, None, 1.5e9),
    ]


def test_labels_without_end_for_one_prediction_are_refused(server: Server, client: redis.Redis) -> None:
    """429 names the limit; other predictions are labelled as before."""
    id_, kept = asked(server), Streams(client, "fruit")
    for n in range(MOST_LABELS):
        kept.add_feedback(Feedback(id_, ("true", "false")[n % 2]), 60)
    status, answer = server.ask("POST", URL, {"prediction_id": id_, "label": True})
    assert (status, answer["error"]["field"]) == (429, "label")
    assert "changed 1000 times" in answer["error"]["reason"]
    assert kept.length("feedback") == MOST_LABELS
    assert server.ask("POST", URL, {"prediction_id": asked(server), "label": True})[0] == 202


def test_a_value_is_a_label_of_regression(server: Server, client: redis.Redis) -> None:
    """Numbers are taken as numbers, also when they come as text."""
    id_ = server.predict("price", rooms=1, new=True)[1]["prediction_id"]
    assert server.ask("POST", "/models/price/feedback", {"prediction_id": id_, "label": "17.5"})[0] == 202
    ((_, fields),) = Streams(client, "price").follow("feedback", "0-0")
    assert events.decode(Feedback, fields).label == 17.5


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"label": "maybe"}, 422, "label", "'maybe' is not one of the classes false, true"),
    ({"label": None}, 422, "label", "got `null`"),
    ({"label": [1]}, 422, "label", "got `array`"),
    ({"prediction_id": "1-1"}, 404, "prediction_id", "is older than its label horizon (30d)"),
    ({"prediction_id": "nonsense"}, 404, "prediction_id", "milliseconds-sequence"),
    ({"prediction_id": 5}, 422, "prediction_id", "Expected `str`"),
    ({"reporter": "x" * 201}, 422, "reporter", "length <= 200"),
    ({"comment": "x" * 2001}, 422, "comment", "length <= 2000"),
    ({"labeled_at": "yesterday"}, 422, "labeled_at", "ISO 8601"),
    ({"labeled_at": -1}, 422, "labeled_at", "between 1970 and now"),
    ({"labeled_at": 1e12}, 422, "labeled_at", "between 1970 and now"),
    ({"labeled_at": True}, 422, "labeled_at", "got `bool`"),
    ({"extra": 1}, 422, "extra", "is not in the schema"),
]


@pytest.mark.parametrize(("change", "status", "field", "reason"), REFUSED, ids=[str(case[0])[:25] for case in REFUSED])
def test_bad_feedback_is_refused_by_name(
    server: Server, client: redis.Redis, change: dict[str, Any], status: int, field: str, reason: str
) -> None:
    """The error names the field and the reason; nothing reaches the stream."""
    got, answer = server.ask("POST", URL, {"prediction_id": asked(server), "label": True, **change})
    assert (got, answer["error"]["field"]) == (status, field)
    assert reason in answer["error"]["reason"]
    assert Streams(client, "fruit").added("feedback") == 0


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b'{"label"', 400), (b"\xff", 400), (b"[]", 422), (b" " * 70_000, 413)]
)
def test_a_body_that_is_no_feedback_is_refused(server: Server, body: bytes, status: int) -> None:
    """Broken, foreign and oversized bodies each get a clear status."""
    assert server.ask("POST", URL, body)[0] == status


def test_feedback_for_an_unknown_model_is_told_the_nearest(server: Server) -> None:
    """As for questions."""
    status, answer = server.ask("POST", "/models/frut/feedback", {"prediction_id": "1-1", "label": True})
    assert status == 404
    assert 'did you mean "fruit"?' in answer["error"]["reason"]


def test_a_label_is_followed_from_pending_to_learned(server: Server, client: redis.Redis) -> None:
    """Pending until the learn loop passed it, then joined, then learned since a revision of the champion."""
    id_ = asked(server)
    feedback_id = server.ask("POST", URL, {"prediction_id": id_, "label": True})[1]["feedback_id"]
    status, report = server.ask("GET", f"/feedback/{feedback_id}")
    assert status == 200
    expected = {"feedback_id": feedback_id, "model": "fruit", "prediction_id": id_, "label": "true"}
    served = {"served_version": 1, "served_revision": 0, "since_revision": None}
    assert report == {**expected, **served, "status": "pending"}
    learned_through(client, feedback_id)
    assert server.ask("GET", f"/feedback/{feedback_id}")[1] == {
        **expected, **served, "status": "joined", "learned_by": [],
    }  # fmt: skip
    Releases(client, "fruit").set_board(Board(1, (2, 3)))
    Streams(client, "fruit").note_revision(2, feedback_id, 41)
    report = server.ask("GET", f"/feedback/{feedback_id}")[1]
    assert (report["status"], report["learned_by"]) == ("joined", [{"version": 2, "since_revision": 41}])
    Streams(client, "fruit").note_revision(1, feedback_id, 17)
    report = server.ask("GET", f"/feedback/{feedback_id}?model=fruit")[1]
    assert (report["status"], report["since_revision"]) == ("learned", 17)


def test_a_label_whose_prediction_is_gone_is_orphaned(server: Server, client: redis.Redis) -> None:
    """The learn loop passed it without finding what it labels."""
    feedback_id = server.ask("POST", URL, {"prediction_id": asked(server), "label": True})[1]["feedback_id"]
    client.delete(Streams(client, "fruit").key("predictions"))
    learned_through(client, feedback_id)
    assert server.ask("GET", f"/feedback/{feedback_id}")[1]["status"] == "orphaned"


@pytest.mark.parametrize("path", ["/feedback/1-1", "/feedback/x", "/feedback/1-1?model=fruits"])
def test_unknown_feedback_is_not_found(server: Server, path: str) -> None:
    """Ids nobody gave out, and models nobody has."""
    status, answer = server.ask("GET", path)
    assert status == 404
    assert answer["error"]["reason"]


def test_an_unreadable_entry_is_called_so(server: Server, client: redis.Redis) -> None:
    """What somebody put straight into the stream is reported, not failed on."""
    id_ = client.xadd(Streams(client, "fruit").key("feedback"), {"e": msgspec.msgpack.encode(5)})
    assert isinstance(id_, bytes)
    assert server.ask("GET", f"/feedback/{id_.decode()}")[1]["status"] == "unreadable"


def test_feedback_is_counted_by_status(server: Server) -> None:
    """One sample per outcome."""
    line = 'feedback_total{model="fruit",status="accepted"}'
    body = {"prediction_id": asked(server), "label": True}
    server.ask("POST", URL, body)
    before = server.metric(line)
    server.ask("POST", URL, {**body, "prediction_id": asked(server)})
    assert server.metric(line) == before + 1


def test_a_connection_serves_question_and_label(server: Server) -> None:
    """The whole exchange on one connection, as the replayer does it."""
    with server.connect() as line:
        replies = Replies(line)
        for _ in range(20):
            line.sendall(request("POST", "/models/fruit/predict", GOOD))
            id_ = replies.next()[1]["prediction_id"]
            line.sendall(request("POST", URL, msgspec.json.encode({"prediction_id": id_, "label": True})))
            assert replies.next()[0] == 202
