"""Evidence by unit through the learn loop: who asks often counts once, however the questions come."""

import statistics
from pathlib import Path

import pytest
import redis

from contracts import events, streams
from contracts.events import Feedback, Prediction, Shadow
from contracts.releases import Board
from flows.place import Place
from registry.evidence import Evidence
from tests.flows.world import CHALLENGER, CHAMPION, CONFIG, START_MS, Learning, place_in, question

HOUR_MS = 3_600_000
BY_UNIT = CONFIG.replace('maturity = "5s"', 'maturity = "5s"\nunit = "entity"\nunit_window = "1h"')
BEGIN_MS = START_MS - START_MS % HOUR_MS  # of a window


@pytest.fixture
def place(tmp_path: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Its clock stands at the newest question."""
    newest = streams.key("m", "predictions")
    monkeypatch.setattr(client, "time", lambda: (int(client.xinfo_stream(newest)["last-generated-id"][:10]), 0))
    place = place_in(tmp_path, client, BY_UNIT)
    place.releases.set_board(Board(champion=CHAMPION, challengers=(CHALLENGER,)))
    return place


def asked(place: Place, at_ms: int, unit: str, gain: float) -> None:
    """A question that a unit asks, on which the challenger is better by so much (-1, 0 or 1), and its label."""
    right, wrong = (0.1, 0.9), (0.9, 0.1)
    mine, other = (wrong if gain > 0 else right), (wrong if gain < 0 else right)
    event = Prediction(CHAMPION, 0, mine, question(0).row, place.schema.fingerprint, unit)
    place.client.xadd(place.streams.key("predictions"), {"e": events.encode(event)}, id=f"{at_ms}-0")
    shadow = {"e": events.encode(Shadow({CHALLENGER: (0, other)}))}
    place.client.xadd(place.streams.key("shadows"), shadow, id=f"{at_ms}-0")
    label = {"e": events.encode(Feedback(f"{at_ms}-0", "true"))}
    place.client.xadd(place.streams.key("feedback"), label, id=f"{at_ms + 50}-0")


def evidence_after(place: Place, history: list[tuple[int, str, float]], stops: list[int], restarts: bool) -> Evidence:
    """What is counted of (ms after the beginning, unit, gain); all is read and matured at each stop."""
    learning = Learning(place)
    try:
        for n, (at_ms, unit, gain) in enumerate(history):
            asked(place, BEGIN_MS + at_ms, unit, gain)
            if n in stops:
                learning.drain()
                learning.loop.join.mature(events.offset(f"{BEGIN_MS + at_ms + 1}-0"))
                learning.loop.save()
                if restarts:
                    learning.close()
                    learning = Learning(place)
        learning.drain()
        learning.mature()
        learning.loop.save()
        return learning.loop.state.record.comparisons[CHALLENGER].evidence
    finally:
        learning.close()


HISTORY = [(100 * n, f"unit {n % 7}", (-1.0, 0.0, 1.0, 1.0)[n % 4]) for n in range(140)]


@pytest.mark.parametrize("stops", [[], [3], [5, 6, 40, 41, 90], list(range(0, 140, 9))])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_unit_that_asks_often_counts_once(place: Place, stops: list[int], restarts: bool) -> None:
    """With the mean of its differences, in whatever batches it asks, before and after restarts."""
    evidence = evidence_after(place, HISTORY, stops, restarts)
    means = [statistics.mean(gain for _, unit, gain in HISTORY if unit == f"unit {n}") for n in range(7)]
    assert evidence.n == 7
    assert evidence.s1 == pytest.approx(sum(means), abs=1e-12)
    assert evidence.s2 == pytest.approx(sum(mean * mean for mean in means), abs=1e-12)
    assert (evidence.wins, evidence.losses) == (7, 0)


def test_the_same_unit_in_the_next_window_is_another_one(place: Place) -> None:
    """Also across a restart, and where its questions alternate with others'."""
    history = [(at_ms + hour * HOUR_MS, unit, 1.0) for hour in (0, 1) for at_ms, unit, _ in HISTORY]
    evidence = evidence_after(place, history, [100, 139, 200], restarts=True)
    assert (evidence.n, evidence.wins) == (14, 14)


def test_a_correction_after_a_restart_moves_the_mean_of_its_unit_only(place: Place) -> None:
    """The unit goes on counting once."""
    before = evidence_after(place, HISTORY, [70], restarts=True)
    n, total = before.n, before.s1
    learning = Learning(place)
    first = f"{BEGIN_MS + 50}-0"
    other = {"e": events.encode(Feedback(f"{BEGIN_MS}-0", "false")), "f": first}
    place.client.xadd(place.streams.key("feedback"), other, id=f"{BEGIN_MS + 20_000}-0")
    learning.drain()
    evidence = learning.loop.state.record.comparisons[CHALLENGER].evidence
    learning.close()
    assert evidence.n == n == 7
    assert evidence.s1 - total == pytest.approx(2 / 20)  # one of its 20 questions turned from -1 to 1
