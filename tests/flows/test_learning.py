"""The learn loop: joins, learns in order, keeps count, and never learns what it must not."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import redis

from contracts import events
from contracts.events import Feedback, Prediction, Shadow
from contracts.releases import Board
from flows.learning import Loop
from flows.place import Place
from learners.catalogue import build_online
from tests.flows.world import CHALLENGER, CHAMPION, CONFIG, Learning, fill, place_in, question


@pytest.fixture
def place(tmp_path: Path, client: redis.Redis) -> Place:
    return place_in(tmp_path, client)


@pytest.fixture
def open_() -> Iterator[Callable[[Any], Any]]:
    """What is opened with it is closed after the test."""
    with ExitStack() as stack:
        yield lambda opened: stack.enter_context(closing(opened))


def ask(place: Place, row: tuple[float, str | None] = (0.5, "a"), shadowed: bool = True) -> str:
    id_ = place.streams.append(Prediction(CHAMPION, 0, (0.3, 0.7), row, place.schema.fingerprint))
    if shadowed:
        place.streams.append_shadows([(id_, Shadow({CHALLENGER: (0, (0.8, 0.2))}))])
    return id_


def test_learners_equal_the_same_learners_fed_by_hand(place: Place, open_: Callable[[Any], Any]) -> None:
    """Every prediction that got a label is learned once, in the order of first labels, with its newest one."""
    fill(place, 2_000)
    learning = open_(Learning(place))
    learning.drain()
    newest: dict[str, str | float] = {}
    for _, fields in place.streams.scan("feedback", "0-0"):
        feedback = events.readable(Feedback, fields)
        if feedback is not None and place.streams.look_up("predictions", [feedback.prediction_id]):
            newest[feedback.prediction_id] = feedback.label
    rows = {
        id_: events.decode(Prediction, fields).row
        for id_, fields in place.streams.look_up("predictions", newest).items()
    }
    for name, one in place.model.learners_of("online").items():
        by_hand = build_online(one, place.schema)
        for id_, label in newest.items():
            by_hand.learn_one(rows[id_], label)
        assert learning.learner(name).state_hash() == by_hand.state_hash()
    counts = learning.counts
    assert counts.joined - counts.corrections == learning.learner().learned == len(newest)
    assert counts.feedback == counts.joined + counts.orphans + counts.dead_letters + counts.duplicates
    assert min(counts.orphans, counts.dead_letters, counts.corrections) > 0
    assert len(place.streams.dead_letters("feedback")) == counts.dead_letters


def test_evidence_is_of_scores_as_logged_with_the_newest_label(place: Place, open_: Callable[[Any], Any]) -> None:
    """The challenger that knows the rule wins by what was logged; a correction counts for what it says."""
    fill(place, 3_000, corrected=0.0, lost=0.0)
    loop = open_(Loop(place))
    while loop.step(block_ms=1):
        pass
    loop.join.mature(2**62)
    evidence = loop.state.record.comparisons[CHALLENGER].evidence
    assert evidence.n == 3_000
    assert loop.state.record.versions[CHALLENGER].correct / 3_000 == pytest.approx(0.9, abs=0.02)
    loop.save()
    (facts,) = loop.facts().comparisons
    assert facts.decision == "promote"
    assert place.learn_facts() is not None


def test_a_label_that_comes_after_maturity_is_learned_but_is_no_evidence(
    tmp_path: Path, client: redis.Redis, open_: Callable[[Any], Any]
) -> None:
    """Late is a count of its own; the record of versions and comparisons does not move."""
    place = place_in(tmp_path, client, CONFIG.replace('"5s"', '"50ms"'))
    place.releases.set_board(Board(champion=CHAMPION, challengers=(CHALLENGER,)))
    learning, asked = open_(Learning(place)), ask(place)
    time.sleep(0.2)
    place.streams.append(Feedback(asked, "true"))
    learning.drain()
    assert learning.counts.late == learning.learner().learned == 1
    assert learning.loop.state.record.matured == 0


def test_a_label_waits_for_the_shadow_of_its_prediction(place: Place, open_: Callable[[Any], Any]) -> None:
    """Nothing is learned before the shadow scorer has passed the prediction; then the pair is covered."""
    learning, asked = open_(Learning(place)), ask(place, shadowed=False)
    place.streams.append(Feedback(asked, "true"))
    assert learning.step() == 0
    assert learning.learner().learned == 0
    place.streams.append_shadows([(asked, Shadow({CHALLENGER: (0, (0.8, 0.2))}))])
    assert learning.step() == 3
    assert events.offset(asked) not in learning.loop.state.uncovered


def test_a_label_does_not_wait_for_ever(tmp_path: Path, client: redis.Redis, open_: Callable[[Any], Any]) -> None:
    """After the time-out it is learned all the same, and the pair is uncovered even if a shadow comes later."""
    place = place_in(tmp_path, client, CONFIG + 'shadow_timeout = "100ms"')
    loop, asked = open_(Loop(place)), ask(place, shadowed=False)
    place.streams.append(Feedback(asked, "true"))
    time.sleep(0.2)
    assert loop.step(block_ms=1) == 1
    place.streams.append_shadows([(asked, Shadow({CHALLENGER: (0, (0.8, 0.2))}))])
    assert events.offset(asked) in loop.state.uncovered
    assert loop.state.counts.uncovered == 1


def test_a_duplicate_put_straight_into_the_stream_is_not_learned_twice(
    place: Place, open_: Callable[[Any], Any]
) -> None:
    """The same label again changes a counter and nothing else; another label is a correction and wins."""
    learning, asked = open_(Learning(place)), ask(place)
    for label in ("true", "true", "false"):
        place.streams.append(Feedback(asked, label))
    learning.drain()
    assert (learning.counts.duplicates, learning.counts.corrections) == (1, 1)
    assert learning.learner().learned == 1
    assert learning.loop.join.waiting[events.offset(asked)].label == "false"


@pytest.mark.parametrize("label", ["maybe", 3.0, ""])
def test_a_label_of_a_wrong_class_is_buried_with_its_reason(
    place: Place, label: str | float, open_: Callable[[Any], Any]
) -> None:
    """It lies in the dead letters with its bytes; nothing is learned from it."""
    learning, asked = open_(Learning(place)), ask(place)
    place.streams.append(Feedback(asked, label))
    learning.drain()
    ((_, letter),) = place.streams.dead_letters("feedback")
    assert "is not one of the classes" in letter.reason
    assert learning.learner().learned == 0


def test_a_prediction_of_another_schema_is_an_orphan(place: Place, open_: Callable[[Any], Any]) -> None:
    """Its features mean something else; it is counted, never learned."""
    learning = open_(Learning(place))
    id_ = place.streams.append(Prediction(CHAMPION, 0, (0.5, 0.5), (1.0,), "another"))
    place.streams.append_shadows([(id_, Shadow())])
    place.streams.append(Feedback(id_, "true"))
    learning.drain()
    assert learning.counts.orphans == 1
    assert learning.learner().learned == 0


def test_a_new_tenure_begins_with_no_evidence(place: Place, open_: Callable[[Any], Any]) -> None:
    """Pairs that the old champion answered count for versions, never for a comparison of the new tenure."""
    fill(place, 500, corrected=0.0)
    loop = open_(Loop(place))
    while loop.step(block_ms=1):
        pass
    place.releases.set_board(
        Board(champion=CHALLENGER, challengers=(CHAMPION,), previous=CHAMPION, since=question(499).id)
    )
    loop.step(block_ms=1)
    loop.join.mature(2**62)
    assert loop.state.record.comparisons == {}
    assert loop.state.record.versions[CHAMPION].n > 400


def test_streams_are_trimmed_only_below_what_every_reader_has_passed(place: Place, open_: Callable[[Any], Any]) -> None:
    """With a horizon in the past of every entry, what is logged and learned goes, and what is not stays."""
    fill(place, 400, corrected=0.0, lost=0.0)
    loop = open_(Loop(place))
    loop.step(block_ms=1)
    loop._trim()
    assert place.streams.length("predictions") == 400
    while loop.step(block_ms=1):
        pass
    loop.save()
    loop.logbook.write(loop.state.last_id, time.time())
    loop._trim()
    assert place.log.rows("predictions").num_rows == 400
    assert place.streams.length("predictions") < 400
