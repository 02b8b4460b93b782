"""kill -9 over everything that runs, at random moments: nothing that was promised is lost, nothing counts twice."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from contracts import events, journal, streams
from contracts.events import Feedback, Prediction
from contracts.facts import LearnerFacts
from flows import checkpoint
from flows.place import Place
from tests.asking import Client, Direct, Http
from tests.killing import NOBODY, TARGETS, Instance, Killer, drain, learn_undisturbed, outcome
from tests.serving import harness

WARM_UP = 300


@dataclass(frozen=True)
class Size:
    over_http: int
    direct: int
    kills: int
    pause_s: float


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(Size(1_200, 0, 8, 0.8), id="eight kills", marks=pytest.mark.timeout(900)),
        pytest.param(
            Size(20_000, 81_000, 200, 2.5),
            id="two hundred kills",
            marks=[pytest.mark.soak, pytest.mark.timeout(5_400)],
        ),
    ],
)
def test_a_run_whose_processes_are_killed_at_random_equals_an_undisturbed_one(
    tmp_path: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, size: Size
) -> None:
    """States, evidence, journal, tables and dead letters are equal to the last bit, and every receipt was kept."""
    monkeypatch.chdir(tmp_path)  # where MLflow without a server puts artifacts
    instance = Instance(tmp_path / "rough")
    with instance.started() as place:
        began = time.monotonic()
        asked = ask(instance, place, size)
        asked_s = time.monotonic() - began
        drain(place)
        drained_s = time.monotonic() - began
        (instance.folder / "over").touch()
        instance.running["learn"].wait()
        calm = learn_undisturbed(tmp_path / "calm", client, place)
        tell(instance, place, asked, asked_s, drained_s)
        expected, got = outcome(calm), outcome(place)
        every_promise_was_kept(place, asked)
        for what in expected:
            assert got[what] == expected[what], f"{what} differ after {dict(instance.killed)}"
        assert got["uncovered"] == set()
    assert sum(instance.killed.values()) == size.kills
    assert set(instance.killed) == set(TARGETS) or size.kills < 100


def ask(instance: Instance, place: Place, size: Size) -> list[Client]:
    """Questions and labels until all are through, with kills as soon as both learners are registered."""
    http = Http(f"http://127.0.0.1:{instance.port}/models/m")
    first = Client(http, WARM_UP, maturity_s=0.2)
    asyncio.run(first.run())
    harness.until(lambda: is_registered(place), 300)
    clients = [Client(http, size.over_http, WARM_UP), Client(Direct(place), size.direct, WARM_UP + size.over_http)]
    total = size.over_http + size.direct
    killer = Killer(instance, size.kills, size.pause_s, lambda: sum(one.asked for one in clients) / total)

    async def all_ask() -> None:
        await asyncio.gather(*(one.run() for one in clients))

    for one in clients:
        one.share = lambda: (killer.done + 1) / size.kills
    killer.begin()
    asyncio.run(all_ask())
    killer.end()
    return [first, *clients]


def is_registered(place: Place) -> bool:
    learners = place.streams.facts_of("learner", LearnerFacts)
    return len(learners) == 2 and {one.version for one in learners.values()} <= set(place.releases.board().versions)


def tell(instance: Instance, place: Place, asked: list[Client], asked_s: float, drained_s: float) -> None:
    """The figures of this run, shown with ``pytest -s``."""
    entries = {name: place.streams.length(name) for name in ("predictions", "shadows", "feedback")}
    rate = (entries["predictions"] + entries["feedback"]) / asked_s
    http, direct = asked[1].way, asked[2].way
    print(f"\nkilled {dict(instance.killed)}")
    print(f"{entries}, drained after {drained_s - asked_s:.0f} s, asked in {asked_s:.0f} s, {rate:.0f} events/s")
    print(f"over HTTP {len(asked[0].answered) + len(asked[1].answered)} predictions, {http.repeated} requests again")
    print(f"direct {len(asked[2].answered)} predictions, {direct.repeated} round trips again")
    print(checkpoint.load(place.checkpoint_folder).counts)


def every_promise_was_kept(place: Place, asked: list[Client]) -> None:
    """Every answered prediction and every accepted label is logged exactly once, and the last label is what counts."""
    feedback = [
        (id_, one)
        for id_, fields in place.streams.scan("feedback", streams.START)
        if (one := events.readable(Feedback, fields)) and one.prediction_id != NOBODY
    ]
    given: dict[str, list[str]] = {}
    for _, one in feedback:
        given.setdefault(one.prediction_id, []).append(str(one.label))
    assert given == {id_: labels for one in asked for id_, labels in one.given.items()}
    assert sorted(id_ for id_, _ in feedback) == sorted(receipt for one in asked for receipt in one.receipts)
    predictions = [
        id_ for id_, fields in place.streams.scan("predictions", streams.START) if events.readable(Prediction, fields)
    ]
    logged = place.log.rows("predictions")["offset"].to_pylist()
    assert logged == [events.offset(id_) for id_ in predictions]
    answered = [id_ for one in asked for id_ in one.answered]
    assert len(set(answered)) == len(answered)
    assert set(answered) <= set(predictions)
    counted = {one.prediction: one.label for one in journal.read(place.journal_folder)}
    counted |= {one.prediction: one.label for one in journal.amendments(place.journal_folder)}
    assert counted == {events.offset(id_): labels[-1] for id_, labels in given.items()}
