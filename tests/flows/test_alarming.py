"""The watch judges the champion's loss by its own past, and writes down each alarm once."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import redis

from contracts import events
from contracts.events import Feedback, Prediction, Shadow
from contracts.facts import DriftFacts
from contracts.releases import Board
from flows import alarming, checkpoint, estimating
from flows.place import Place
from flows.state import JoinState
from registry.slots import SLOT_S, Slots
from registry.tenure import Score
from tests.flows.world import place_in

CONFIG = """
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float"}
learners = {linear = {algorithm = "linear"}}
[models.m.drift]
false_alarms_per_30d = 2
"""
BEGAN = 470_000  # hours since the epoch
MOVED = DriftFacts(
    at=0.0, report="", alarm=True, share=1.0, columns={"x": 1.0}, drifted=("x",), sentence="x moved",
    reference_rows=9, current_rows=9,
)  # fmt: skip


def place_of(tmp_path: Path, client: redis.Redis, hour: int = 0) -> Place:
    """A champion that reigns since so many hours after the first label."""
    place = place_in(tmp_path, client, CONFIG)
    place.releases.set_board(Board(1, (), since=events.offset_id(events.span((BEGAN + hour) * SLOT_S))))
    return place


def store(place: Place, hours: int, rates: Mapping[int, float]) -> float:
    """What the learn loop stores after so many hours of a champion whose share of errors is `rates` from hours on.

    Returns the epoch second.
    """
    state, rng, score, rate = JoinState.fresh(place.model), np.random.default_rng(1), Score(), 0.0
    board = place.releases.board()
    state.record.begin(board, events.offset(board.since))
    score.slots = Slots()
    for hour in range(hours):
        rate = rates.get(hour, rate)
        at = (BEGAN + hour) * SLOT_S + np.linspace(1, SLOT_S - 1, 40)
        losses = rng.binomial(1, rate, 40).astype(float)
        score.slots.add(at.tolist(), losses.tolist())
        state.record.watch.follow(losses, 500)
    state.record.versions[1] = score
    state.matured_through = events.span((BEGAN + hours) * SLOT_S)
    state.detect(place.model.drift.detectors)
    checkpoint.save(place.checkpoint_folder, state)
    return float((BEGAN + hours) * SLOT_S)


def kinds(place: Place) -> list[str]:
    return [line.kind for line in place.roles.ledger.read()]


def test_an_alarm_begins_stands_and_ends_with_one_line_each(tmp_path: Path, client: redis.Redis) -> None:
    """The loss doubles for two days, and is then what it was."""
    place = place_of(tmp_path, client)
    rates = {0: 0.1, 700: 0.25, 748: 0.1}
    calm = alarming.judge(place, None, store(place, 696, rates))
    assert (calm.severity, calm.since, kinds(place)) == ("none", None, [])
    assert calm.measured is not None
    assert calm.measured.calibrated
    assert calm.measured.threshold > 2.5
    assert "28 days of past" in calm.sentence
    first = alarming.judge(place, None, store(place, 720, rates))
    again = alarming.judge(place, None, store(place, 740, rates))
    assert first.severity == again.severity == "alarm"
    assert first.since == again.since
    assert (BEGAN + 700) * SLOT_S < first.since <= (BEGAN + 720) * SLOT_S
    assert again.measured is not None
    assert again.measured.loss > 0.15 > again.measured.usual
    assert kinds(place) == ["alarm"]
    over = alarming.judge(place, None, store(place, 900, rates))
    assert (over.severity, over.since) == ("none", None)
    assert kinds(place) == ["alarm", "alarm_over"]
    assert place.roles.ledger.verify() is None


def test_inputs_that_drift_alone_inform(tmp_path: Path, client: redis.Redis) -> None:
    """An alarm needs a loss that moved; the sentence says what did not."""
    place = place_of(tmp_path, client)
    facts = alarming.judge(place, MOVED, store(place, 700, {0: 0.1}))
    assert (facts.severity, facts.drifted) == ("info", ("x",))
    assert "which alone is no alarm" in facts.sentence
    assert kinds(place) == []


def test_before_there_is_enough_past_a_bound_is_used_and_named(tmp_path: Path, client: redis.Redis) -> None:
    """Ten days of past make no threshold; the anytime-valid detector alarms where the loss triples."""
    place = place_of(tmp_path, client)
    calm = alarming.judge(place, None, store(place, 240, {0: 0.1}))
    assert calm.measured is not None
    assert not calm.measured.calibrated
    assert "10 of 28 days of past" in calm.sentence
    assert calm.severity == "none"
    facts = alarming.judge(place, None, store(place, 240, {0: 0.1, 200: 0.3}))
    assert facts.severity == "alarm"
    later = alarming.judge(place, None, store(place, 250, {0: 0.1, 200: 0.3}))
    assert later.since == facts.since
    assert kinds(place) == ["alarm"]


def test_another_champion_ends_the_alarm(tmp_path: Path, client: redis.Redis) -> None:
    """What the former one did is no news of the present one."""
    place = place_of(tmp_path, client)
    now = store(place, 720, {0: 0.1, 700: 0.3})
    assert alarming.judge(place, None, now).severity == "alarm"
    place.releases.set_board(Board(2, (), since=events.offset_id(events.span(now))))
    facts = alarming.judge(place, None, now)
    assert (facts.version, facts.severity, facts.measured) == (2, "none", None)
    assert kinds(place) == ["alarm", "alarm_over"]


def test_detectors_without_a_budget_warn(tmp_path: Path, client: redis.Redis) -> None:
    """They are fed from the checkpoint, and named beside what is alarmed by."""
    place = place_of(tmp_path, client)
    facts = alarming.judge(place, None, store(place, 240, {0: 0.1, 200: 0.4}))
    assert set(facts.detectors) & {"adwin", "page_hinkley"}
    assert facts.severity == "alarm"
    assert "without a budget of false alarms" in facts.sentence


def test_the_estimate_moves_before_labels_come(tmp_path: Path, client: redis.Redis) -> None:
    """The champion grows unsure; its answers of the last day have no labels yet."""
    place = place_of(tmp_path, client)
    rng = np.random.default_rng(0)
    asked, given = [], []
    for hour in range(31 * 24):
        for i in range(8):
            at = events.span((BEGAN + hour) * SLOT_S + 400 * i + 1)
            p = rng.uniform(0.5, 0.7) if hour >= 30 * 24 else rng.uniform(0.8, 1.0)
            asked.append((at, Prediction(1, 0, (1 - p, p), (0.0,), place.schema.fingerprint)))
            if hour < 30 * 24:
                given.append((at, str(bool(rng.random() < p)).lower()))
    place.log.append_predictions([(at, one, Shadow({})) for at, one in asked])
    place.log.append_labels([(at + events.span(60), Feedback(events.offset_id(at), label)) for at, label in given])
    clock, now = alarming.clock_of(place), (BEGAN + 31 * 24) * SLOT_S
    guess = estimating.watched(place, 1, BEGAN, clock, 2.0, now)
    assert guess.found is not None
    assert guess.found.since is not None
    assert guess.found.loss > 2 * guess.found.usual
    assert "unlike any of the reference" in guess.validity
