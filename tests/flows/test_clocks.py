"""Clocks that are set back or ahead. Redis's ids then go on at the last one until its clock has caught up.

A real server's clock cannot be set, but its ids can: an entry in the future is what a clock that was ahead leaves.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from contracts import events, lease
from contracts.events import Feedback, Prediction, Shadow
from contracts.facts import AnsweringFacts
from contracts.releases import Board
from contracts.streams import CROWDED, Streams, next_millisecond
from flows.learning import Loop
from flows.place import Place
from flows.reign import Alarm, Reign
from flows.state import JoinState
from tests.flows.world import CHALLENGER, CHAMPION, CONFIG, START_MS, STEP_MS, Learning, fill, place_in, question

DAY_S = 86_400.0
HORIZON_S = 30 * DAY_S
QUICK = CONFIG.replace('"5s"', '"1s"')
NEGATIVE = CONFIG.replace("[models.m.labels]", '[models.m.labels]\non_timeout = "negative"')


class Clock:
    """Stands for Redis's own, as the learn loop asks for it."""

    def __init__(self, at: float):
        self.at = at

    def __call__(self) -> tuple[int, int]:
        return int(self.at), round(self.at % 1 * 1e6)


@contextlib.contextmanager
def opened(place: Place) -> Iterator[Learning]:
    with contextlib.closing(Learning(place)) as learning:
        yield learning


@pytest.fixture
def quick(tmp_path: Path, client: redis.Redis) -> Place:
    """Predictions mature after a second."""
    place = place_in(tmp_path, client, QUICK)
    place.releases.set_board(Board(champion=CHAMPION, challengers=(CHALLENGER,)))
    return place


def ask(place: Place, n: int, id_: str | None = None) -> str:
    """The n-th question: the challenger knows the rule, the champion has it the wrong way round."""
    row = question(n).row
    right = 0.9 if row[0] > 0 else 0.1
    event = Prediction(CHAMPION, 0, (right, 1 - right), row, place.schema.fingerprint)
    if id_ is None:
        id_ = place.streams.append(event)
    else:
        place.client.xadd(place.streams.key("predictions"), {"e": events.encode(event)}, id=id_)
    place.streams.append_shadows([(id_, Shadow({CHALLENGER: (0, (1 - right, right))}))])
    return id_


def label(place: Place, id_: str, n: int) -> str:
    status, feedback_id = place.streams.add_feedback(Feedback(id_, question(n).label), HORIZON_S)
    assert status == "accepted"
    return feedback_id


def ahead(seconds: float) -> str:
    """The id of an entry by a clock that is ahead."""
    return f"{int(1000 * (time.time() + seconds))}-0"


def until(is_so: Callable[[], bool], within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"not within {within_s} s"


def state_after(place: Place, pairs: int) -> JoinState:
    """What the loop knows once so many pairs are evidence; it is restarted halfway."""
    with opened(place) as learning:
        learning.drain()
        learning.loop.save()
    time.sleep(1.2)  # had the clock been right, all of it would have matured by now
    with opened(place) as learning:
        record = learning.loop.state.record
        until(lambda: learning.step() == 0 and CHALLENGER in record.comparisons)
        until(lambda: learning.step() == 0 and record.comparisons[CHALLENGER].evidence.n >= pairs)
        state = learning.loop.state
        assert learning.learner().learned == state.counts.joined
    assert place.learn_facts() is not None
    return state


def test_after_redis_clock_was_set_back_everything_counts_once(quick: Place) -> None:
    """Questions and labels go on under the last millisecond, in their order: nothing matures before its labels had
    their time, and a restart meanwhile forgets none of them."""
    ids = [ask(quick, 0, ahead(2.5))]
    for n in range(1, 40):
        ids.append(ask(quick, n))
        label(quick, ids[n - 1], n - 1)
    label(quick, ids[39], 39)
    assert len({id_.split("-")[0] for id_ in ids}) == 1
    state = state_after(quick, 40)
    assert (state.counts.joined, state.counts.late, state.counts.uncovered) == (40, 0, 0)
    assert state.record.comparisons[CHALLENGER].evidence.n == 40
    assert time.time() > events.seconds_of(ids[0]) + 1.0
    given = list(quick.streams.scan("feedback", "0-0"))
    asked = {id_: events.decode(Feedback, fields).prediction_id for id_, fields in given}
    assert all(events.offset(at) > events.offset(of) for at, of in asked.items())


def test_a_label_from_a_clock_that_was_ahead_makes_no_later_question_look_old(quick: Place) -> None:
    """Only the questions asked before the next label came are late, by a clock that says so; all are learned."""
    first = ask(quick, 0)
    event = events.encode(Feedback(first, question(0).label))
    quick.client.xadd(quick.streams.key("feedback"), {"e": event}, id=ahead(2.5))
    for n in range(1, 30):
        label(quick, ask(quick, n), n)
    state = state_after(quick, 28)
    assert (state.counts.joined, state.counts.late) == (30, 2)
    assert state.record.comparisons[CHALLENGER].evidence.n == 28


def told(place: Place, clock: Clock, leap_s: float) -> tuple[object, ...]:
    """Counts, evidence and learners of a history during which the clock is ahead now and then, while nobody comes."""
    fill(place, 500, delay=100)
    given, key = list(place.streams.scan("feedback", "0-0")), place.streams.key("feedback")
    place.client.delete(key)
    clock.at = START_MS / 1000
    with opened(place) as learning:
        for n, (id_, fields) in enumerate(given):
            clock.at = max(clock.at, events.seconds_of(id_))
            place.client.xadd(key, dict(fields), id=id_)  # type: ignore[arg-type]  # bytes are fields too
            if n % 100 == 50:
                learning.drain()
                clock.at += leap_s
                learning.drain()
                clock.at -= leap_s
        learning.drain()
        learning.mature()
        learning.loop.save()
        learning.drain()
        comparison = learning.loop.state.record.comparisons[CHALLENGER]
        hashes = {name: learning.learner(name).state_hash() for name in learning.trainers}
        return learning.counts, comparison.evidence.to_json(), hashes


@pytest.mark.parametrize("text", [CONFIG, NEGATIVE])
def test_a_clock_that_is_ahead_for_a_moment_ends_no_wait_for_labels(
    tmp_path: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """With leaps of a day in which nobody asks or labels, all is as without them: no label is lost or learned twice."""
    clock = Clock(0.0)
    monkeypatch.setattr(client, "time", clock)
    undisturbed = told(place_in(tmp_path / "undisturbed", client, text), clock, 0.0)
    client.flushall()
    assert told(place_in(tmp_path / "leaps", client, text), clock, DAY_S) == undisturbed


def test_what_matured_by_a_clock_that_was_ahead_at_the_start_is_no_evidence(
    tmp_path: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can know then. Its label is learned, once, and a correction changes no evidence: it never was any."""
    clock = Clock(START_MS / 1000 + DAY_S)
    monkeypatch.setattr(client, "time", clock)
    place = place_in(tmp_path, client)
    place.releases.set_board(Board(champion=CHAMPION, challengers=(CHALLENGER,)))
    ids = [ask(place, n, question(n).id) for n in range(20)]
    with opened(place) as learning:
        learning.drain()
        clock.at = START_MS / 1000 + 1
        for more_ms, text in ((1_000, "true"), (9_000, "false")):
            for n, id_ in enumerate(ids):
                first = {} if text == "true" else {"f": f"{START_MS + 1_000 + n}-0"}
                fields = {"e": events.encode(Feedback(id_, text))} | first
                client.xadd(place.streams.key("feedback"), fields, id=f"{START_MS + more_ms + n}-0")
        learning.drain()
        counts, record = learning.counts, learning.loop.state.record
        assert (counts.joined, counts.corrections, counts.uncovered) == (40, 20, 20)
        assert learning.learner().learned == 20
        assert record.comparisons[CHALLENGER].evidence.n == 0


def test_a_clock_that_is_ahead_for_a_moment_trims_nothing(
    tmp_path: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two months ahead, every label that is still to come would find its question gone."""
    clock = Clock(START_MS / 1000 + 5)
    monkeypatch.setattr(client, "time", clock)
    place = place_in(tmp_path, client)
    fill(place, 500)
    loop = Loop(place)
    loop.trim_every_s = loop.save_every_s = loop.write_every_s = 0.0
    loop.write_at = 0.0
    while loop.step(block_ms=1):
        pass
    clock.at += 60 * DAY_S
    for _ in range(3):
        loop.step(block_ms=1)
    assert place.streams.length("predictions") == 500
    clock.at -= 60 * DAY_S
    loop.close()


@pytest.mark.parametrize("labeled_at", [None, 0.0, -1e300, START_MS / 1000 + 1e9, math.inf, -math.inf, math.nan])
def test_a_label_was_made_between_its_question_and_its_coming(
    tmp_path: Path, client: redis.Redis, labeled_at: float | None
) -> None:
    """Whatever its maker's clock says: the delay shown is never negative, beyond what passed, or no number."""
    place = place_in(tmp_path, client)
    asked = ask(place, 0, question(0).id)
    event = events.encode(Feedback(asked, "true", labeled_at=labeled_at))
    client.xadd(place.streams.key("feedback"), {"e": event}, id=f"{START_MS + 700}-0")
    with opened(place) as learning:
        learning.drain()
        assert learning.counts.joined == 1
        (delay_s,) = learning.loop.state.delays_s
        assert 0 <= delay_s < 0.701
        assert learning.loop.facts().delay_s is not None


def test_ids_leave_a_millisecond_before_it_is_full(client: redis.Redis) -> None:
    """Offsets have room for a million entries of one: beyond that, they would be those of other questions."""
    kept, at = Streams(client, "m"), int(1000 * (time.time() + DAY_S))
    asked = f"{at}-5"
    event = {"e": events.encode(Prediction(1, 0, (0.5, 0.5), (), "s"))}
    client.xadd(kept.key("predictions"), event, id=asked)
    client.xadd(kept.key("feedback"), {"e": b""}, id=f"{at}-{CROWDED - 1}")
    given = [kept.add_feedback(Feedback(asked, text), HORIZON_S)[1] for text in ("a", "b", "c")]
    assert given == [f"{at}-{CROWDED}", f"{at + 1}-1", f"{at + 1}-2"]
    later = kept.append(Prediction(1, 0, (0.5, 0.5), (), "s"))
    assert later == f"{at + 1}-3"
    assert next_millisecond(b"s", f"{at}-{CROWDED - 1}".encode()) is None
    assert next_millisecond(b"s", f"{at}-{CROWDED}".encode()) == (b"XSETID", b"s", f"{at + 1}-0".encode())


@pytest.mark.parametrize("sequence", [1 << 20, (1 << 20) + 1, 999_999_999])
def test_an_id_beyond_what_an_offset_can_say_is_none(sequence: int) -> None:
    """It would be read as that of another entry, whose label it would then be taken for."""
    with pytest.raises(ValueError, match="beyond any id"):
        events.offset(f"{START_MS}-{sequence}")
    assert events.asked_of([Feedback(f"{START_MS}-{sequence}", "a"), Feedback(f"{START_MS}-1", "a")])[0] is None


def test_a_lease_from_before_the_clock_was_set_back_ends_as_soon_as_any(client: redis.Redis) -> None:
    """Its holder is gone, and by the clock it has another hour: nobody could learn, or roll back, for so long."""
    dead = lease.Lease(client, "m", "roles", 3_600)
    dead.acquire()
    with lease.held(client, "m", "roles", hold_s=0.3, wait_s=5) as mine:
        mine.renew()
    with lease.held(client, "m", "roles", hold_s=0.3) as mine, pytest.raises(lease.LeaseTaken):
        lease.Lease(client, "m", "roles", 0.3).acquire()
    with pytest.raises(lease.LeaseLost):
        dead.renew()


def test_a_guard_whose_clock_is_ahead_still_sees_answers_jump(tmp_path: Path, client: redis.Redis) -> None:
    """It would else look at answers of its future only."""
    place = place_in(tmp_path, client)
    board = Board(champion=CHAMPION, challengers=(CHALLENGER,), previous=CHALLENGER, since="0-0")
    reign = Reign(place, board, [], {})
    _answer(place, 0, 2_400, agreed=True)
    assert reign.look(time.time() + DAY_S, board, AnsweringFacts()) is None
    looks: list[Alarm | None] = []
    for begin in range(2_400, 4_800, 400):
        _answer(place, begin, 400, agreed=False)
        looks.append(reign.look(time.time() + DAY_S, board, AnsweringFacts()))
    assert [alarm.rule for alarm in looks if alarm is not None][:1] == ["max_class_shift"]


def _answer(place: Place, begin: int, count: int, agreed: bool) -> None:
    """Questions that both versions answered: alike, or the champion with one class only."""
    pipeline = place.client.pipeline(transaction=False)
    for n in range(begin, begin + count):
        row = question(n).row
        right = (0.1, 0.9) if row[0] > 0 else (0.9, 0.1)
        id_ = f"{START_MS + n * STEP_MS}-0"
        mine = right if agreed else (0.1, 0.9)
        event = Prediction(CHAMPION, 0, mine, row, place.schema.fingerprint)
        pipeline.xadd(place.streams.key("predictions"), {"e": events.encode(event)}, id=id_)
        shadow = Shadow({CHALLENGER: (0, right)})
        pipeline.xadd(place.streams.key("shadows"), {"e": events.encode(shadow)}, id=id_)
    pipeline.execute()
