"""Streams, facts and leases against a real server."""

import time

import msgspec
import pytest
import redis

from contracts import events, lease
from contracts.events import BadEntry, Decision, Feedback, Prediction, Shadow
from contracts.streams import MOST_LABELS, Streams

PREDICTION = Prediction(3, 17, (0.25, 0.75), (1.5, None, "a", True), "abc")


@pytest.fixture
def streams(client: redis.Redis) -> Streams:
    return Streams(client, "bananas")


def test_a_prediction_comes_back_as_it_was_appended(streams: Streams) -> None:
    """The entry id is the prediction id, and the event survives the stream unchanged."""
    id_ = streams.append(PREDICTION)
    ((found, fields),) = streams.follow("predictions", "0-0")
    assert found == id_
    assert events.decode(Prediction, fields) == PREDICTION
    assert abs(events.seconds_of(id_) - time.time()) < 60


def test_look_up_leaves_out_what_is_not_there(streams: Streams) -> None:
    """Ids without an entry are absent, not an error."""
    id_ = streams.append(PREDICTION)
    assert list(streams.look_up("predictions", [id_, "1-1", id_])) == [id_]
    assert streams.look_up("predictions", []) == {}


def test_look_up_finds_what_lies_far_apart(streams: Streams) -> None:
    """Also where one range does not bring it: first, last and middle of many entries, and none of the others."""
    ids = [streams.append(PREDICTION) for _ in range(200)]
    wanted = [ids[0], ids[7], ids[120], ids[-1]]
    assert sorted(streams.look_up("predictions", [*wanted, "5-5"])) == sorted(wanted)
    assert sorted(streams.look_up("predictions", ids)) == sorted(ids)


def test_repeated_shadows_are_refused_by_the_server(streams: Streams) -> None:
    """A replay of the shadow scorer adds nothing and changes nothing."""
    first = ("5-0", Shadow({2: (1, (0.5, 0.5))}))
    assert streams.append_shadows([first, ("6-0", Shadow())]) == 2
    assert streams.append_shadows([("5-0", Shadow({2: (9, (0.9, 0.1))})), ("7-0", Shadow())]) == 1
    assert events.decode(Shadow, streams.look_up("shadows", ["5-0"])["5-0"]) == first[1]
    assert streams.last_id("shadows") == "7-0"


def test_last_id_survives_a_trim(streams: Streams) -> None:
    """A reader's position is known even when everything it read is gone."""
    ids = [streams.append(PREDICTION) for _ in range(300)]
    streams.client.xtrim(streams.key("predictions"), maxlen=0)
    assert streams.last_id("predictions") == ids[-1]
    assert streams.added("predictions") == 300
    assert streams.last_id("feedback") == "0-0"


def test_feedback_gets_a_receipt(streams: Streams) -> None:
    """Accepted once; the same label again is a duplicate of it; another label is a correction; unknown ids are said."""
    asked = streams.append(PREDICTION)
    status, first = streams.add_feedback(Feedback(asked, "true"), 60)
    assert status == "accepted"
    assert streams.add_feedback(Feedback(asked, "true", reporter="ann"), 60) == ("duplicate", first)
    status, second = streams.add_feedback(Feedback(asked, "false"), 60)
    assert status == "correction"
    assert second > first
    assert streams.add_feedback(Feedback(asked, "false"), 60) == ("duplicate", second)
    assert streams.add_feedback(Feedback("1-1", "true"), 60) == ("unknown", "")
    assert streams.length("feedback") == 2
    with pytest.raises(ValueError, match="milliseconds-sequence"):
        streams.add_feedback(Feedback("nonsense", "true"), 60)


def firsts(streams: Streams) -> list[str | None]:
    return [events.first_of(fields) for fields in streams.next_page("feedback", 0, 100).fields]


def test_a_correction_names_the_first_label_it_corrects(streams: Streams) -> None:
    """Every later entry carries the first label's id, also a correction of a correction, and one back to the first."""
    asked, other = streams.append(PREDICTION), streams.append(PREDICTION)
    given = [streams.add_feedback(Feedback(asked, label), 60) for label in ("a", "b", "b", "c", "a")]
    first = given[0][1]
    assert [status for status, _ in given] == ["accepted", "correction", "duplicate", "correction", "correction"]
    assert streams.add_feedback(Feedback(other, "a"), 60)[0] == "accepted"
    assert firsts(streams) == [None, first, first, first, None]
    ids = [id_ for id_, _ in streams.follow("feedback", "0-0")]
    assert ids[:4] == [given[0][1], given[1][1], given[3][1], given[4][1]]
    assert given[2][1] == given[1][1], "a duplicate's receipt is that of the label it repeats"


@pytest.mark.parametrize("label", ["b", "1-0 2-0 b", "7 1-0 2-0 b", "two\nlines, a nul \x00", " ", "\u00e4"])
def test_a_label_may_read_like_what_is_kept_of_it(streams: Streams, label: str) -> None:
    """Spaces, ids, line ends and NULs in a class's name change no status."""
    asked = streams.append(PREDICTION)
    _, first = streams.add_feedback(Feedback(asked, label), 60)
    assert streams.add_feedback(Feedback(asked, label), 60) == ("duplicate", first)
    assert streams.add_feedback(Feedback(asked, "c"), 60)[0] == "correction"
    assert streams.add_feedback(Feedback(asked, label), 60)[0] == "correction"
    assert firsts(streams) == [None, first, first]


@pytest.mark.parametrize("label", ["a", "5 1-0 2-0 a"])
def test_labels_kept_before_corrections_named_the_first_are_read(streams: Streams, label: str) -> None:
    """A hash value of "newest-id label" is one label, and the first."""
    asked = streams.append(PREDICTION)
    first = streams.append(Feedback(asked, label))
    bucket = streams.key(f"labels:{events.entry_id(asked)[0] // 3_600_000}")
    streams.client.hset(bucket, asked, f"{first} {label}")
    assert streams.add_feedback(Feedback(asked, label), 60) == ("duplicate", first)
    assert streams.add_feedback(Feedback(asked, "b"), 60)[0] == "correction"
    assert streams.add_feedback(Feedback(asked, label), 60)[0] == "correction"
    assert firsts(streams) == [None, first, first]


def test_once_the_labels_of_an_hour_have_expired_a_label_is_a_first_one(streams: Streams) -> None:
    """Nobody knows better; the hashes outlive the label horizon by an hour."""
    asked = streams.append(PREDICTION)
    streams.add_feedback(Feedback(asked, "a"), 60)
    (bucket,) = streams.client.keys("*labels:*")
    assert 3_600_000 < streams.client.pttl(bucket) <= 3_660_000
    streams.client.delete(bucket)
    assert streams.add_feedback(Feedback(asked, "b"), 60)[0] == "accepted"
    assert firsts(streams) == [None, None]


def test_labels_without_end_for_one_prediction_are_limited(streams: Streams) -> None:
    """After the limit nothing is appended and nothing grows; repeats of the newest label stay duplicates."""
    asked = streams.append(PREDICTION)
    given = [streams.add_feedback(Feedback(asked, str(n)), 60) for n in range(MOST_LABELS)]
    assert {status for status, _ in given[1:]} == {"correction"}
    assert streams.add_feedback(Feedback(asked, "more"), 60) == ("limited", given[-1][1])
    assert streams.add_feedback(Feedback(asked, str(MOST_LABELS - 1)), 60) == ("duplicate", given[-1][1])
    assert streams.length("feedback") == MOST_LABELS


def test_an_unreadable_entry_is_buried_once_with_its_bytes(streams: Streams) -> None:
    """The dead letter keeps the fields as they came and the reason; burying again adds nothing."""
    streams.client.xadd(streams.key("feedback"), {"junk": "\xff"}, id="9-0")
    ((id_, fields),) = streams.follow("feedback", "0-0")
    with pytest.raises(BadEntry, match="no field"):
        events.decode(Feedback, fields)
    for _ in range(2):
        streams.bury("feedback", id_, fields, "has no field 'e'")
    ((buried, letter),) = streams.dead_letters("feedback")
    assert buried == "9-0"
    assert letter.fields == dict(fields)


@pytest.mark.parametrize("data", [b"", b"\xc1", msgspec.msgpack.encode(["x"]), msgspec.msgpack.encode({"a": 1})])
def test_bytes_that_are_no_event_are_refused_with_a_reason(data: bytes) -> None:
    """Any bytes either decode or raise BadEntry."""
    with pytest.raises(BadEntry, match="is no Prediction"):
        events.decode(Prediction, {b"e": data})


def test_the_revision_that_first_learned_a_feedback_is_known(streams: Streams) -> None:
    """The answer is the first published revision at or after the feedback."""
    streams.note_revision(2, "10-0", 5)
    streams.note_revision(2, "20-0", 9)
    streams.note_revision(2, "20-0", 9)
    assert streams.revision_since(2, "7-3") == 5
    assert streams.revision_since(2, "10-0") == 5
    assert streams.revision_since(2, "10-1") == 9
    assert streams.revision_since(2, "20-1") is None


def test_decisions_are_mirrored_once_per_seq(streams: Streams) -> None:
    """A repeated mirror of the same ledger line shows it once, newest first."""
    lines = [Decision(seq, 1.0, "bananas", "promoted", 2, "why", "gate", {}, "k", "", "h") for seq in (0, 1)]
    for line in [*lines, lines[1]]:
        streams.mirror(line)
    assert [line.seq for line in streams.decisions()] == [1, 0]


def test_ids_order_as_offsets() -> None:
    """Offsets order as ids do, and go back to them."""
    ids = ["0-1", "5-0", "5-1", "5-10", "1763800000000-0", "1763800000000-999999"]
    assert sorted(ids, key=events.offset) == ids
    assert [events.offset_id(events.offset(id_)) for id_ in ids] == ids


def test_the_questions_of_many_labels_are_known_as_of_each() -> None:
    """Looked at together or one by one, ids give the same offsets; what is no id gives none."""
    sound = [Feedback("1763800000123-0", "a"), Feedback("1-7", "a"), Feedback("7999999999999-1", 1.0)]
    expected = [events.offset(one.prediction_id) for one in sound]
    assert events.asked_of(sound) == expected
    strange = ["", "1-", "x-1", "1-0 2-0", "١-0", "99999999999999-0", "1-0\n"]
    assert events.asked_of([*sound, None, *(Feedback(id_, "a") for id_ in strange)]) == [*expected, None, *[None] * 7]
    assert events.asked_of([Feedback("9999999999999-0", "a")]) == [9999999999999 << 20]
    assert events.asked_of([Feedback("1-0 2-0", "a")]) == [None]
    assert events.asked_of([]) == []


def test_a_lease_has_one_holder_until_it_is_released_or_runs_out(client: redis.Redis) -> None:
    """A second taker is refused; after silence the first one cannot renew what another holds."""
    first, second = lease.Lease(client, "m", "learn", 0.2), lease.Lease(client, "m", "learn", 5)
    first.acquire()
    with pytest.raises(lease.LeaseTaken):
        second.acquire()
    first.renew()
    time.sleep(0.3)
    second.acquire()
    with pytest.raises(lease.LeaseLost):
        first.renew()
    first.release()
    second.renew()


def test_a_lease_outlives_a_step_that_is_longer_than_it(client: redis.Redis) -> None:
    """It is kept beside the work, and free at once when the work is done."""
    with lease.held(client, "m", "learn", hold_s=0.3) as mine:
        time.sleep(1)
        with pytest.raises(lease.LeaseTaken), lease.held(client, "m", "learn"):
            pass
        mine.renew()
    with lease.held(client, "m", "learn"):
        pass
