"""Redis goes away in the middle of a step: what is known afterwards is what would have been known anyway."""

import itertools
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contracts import journal
from flows import checkpoint, learn
from flows.learning import Loop
from flows.place import Place
from flows.state import JoinState
from tests.flows.world import CHALLENGER, CONFIG, fill, place_in

NEGATIVES = CONFIG.replace('correct_every = "0s"', 'correct_every = "0s"\non_timeout = "negative"')


class Flaky(redis.Connection):
    """Breaks off at commands that are told beforehand, by their number."""

    breaks: Iterator[bool] = itertools.repeat(False)
    broken = 0

    def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        if next(type(self).breaks):
            type(self).broken += 1
            self.disconnect()
            raise redis.ConnectionError("broken off for a test")
        super().send_packed_command(*args, **kwargs)


@pytest.fixture
def flaky(client: redis.Redis) -> Iterator[redis.Redis]:
    given = client.connection_pool.connection_kwargs
    known = {name: given[name] for name in ("host", "port", "db", "protocol") if name in given}
    Flaky.broken = 0
    pool = redis.ConnectionPool(connection_class=Flaky, retry=Retry(NoBackoff(), 0), **known)
    yield redis.Redis(connection_pool=pool)
    Flaky.breaks = itertools.repeat(False)
    pool.disconnect()


def learn_all(place: Place, breaks: Iterator[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """The learn loop until all is read and matured."""
    monkeypatch.setattr(learn, "AWAY_S", 0.0)
    monkeypatch.setattr(Loop, "batch", 100)
    monkeypatch.setattr(Loop, "save_every_s", 0.0)
    monkeypatch.setattr("flows.joining.PAGE", 60)
    last, is_over = place.streams.last_id("feedback"), False
    Flaky.breaks = breaks
    with closing(learn.stepping(place, lambda: None, lambda: not is_over)) as steps:
        for loop in steps:
            is_over = loop.state.last_id == last and not loop.join.waiting
    Flaky.breaks = itertools.repeat(False)


def outcome(place: Place) -> dict[str, Any]:
    state: JoinState = checkpoint.load(place.checkpoint_folder)
    comparison = state.record.comparisons[CHALLENGER]
    return {
        "counts": state.counts,
        "evidence": (comparison.evidence.to_json(), comparison.uncovered, comparison.curve.points),
        "losses": {version: (s.n, s.loss, s.correct) for version, s in state.record.versions.items()},
        "matured": state.record.matured,
        "votes": state.votes,
        "delays": list(state.delays_s),
        "examples": list(journal.read(place.journal_folder)),
        "amendments": journal.amendments(place.journal_folder),
    }


def now_and_then(seed: int) -> Iterator[bool]:
    rng = random.Random(seed)
    return (rng.random() < 0.02 for _ in itertools.count())


@pytest.mark.parametrize("text", [CONFIG, NEGATIVES], ids=["drop", "negative"])
def test_a_step_that_redis_interrupts_counts_nothing_twice(
    tmp_path: Path, flaky: redis.Redis, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Whichever command it breaks off at, counts, evidence and journal are equal to those without."""
    calm = place_in(tmp_path / "calm", flaky, text)
    fill(calm, 1_200, delay=450)
    learn_all(calm, itertools.repeat(False), monkeypatch)
    expected = outcome(calm)
    assert expected["counts"].late > 0
    assert expected["amendments"]
    for seed in range(3):
        place = place_in(tmp_path / f"rough-{seed}", flaky, text)
        learn_all(place, now_and_then(seed), monkeypatch)
        got = outcome(place)
        for what in expected:
            assert got[what] == expected[what], f"{what} differs with seed {seed}"
    assert Flaky.broken > 10
