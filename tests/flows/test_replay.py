"""A record that is fed from the log equals the one that the learn loop had."""

import math
import random
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
import redis

from contracts import events
from contracts.events import Feedback, Prediction, Shadow
from contracts.facts import ComparisonFacts
from contracts.releases import Board
from flows.learning import Loop
from flows.place import Place
from registry.replay import Replay
from tests.flows.world import CHALLENGER, CHAMPION, CONFIG, START_MS, STEP_MS, fill, place_in

VALUES = CONFIG.replace('{task = "binary", classes = [false, true]}', '{task = "regression"}').replace(
    'tree = {algorithm = "hoeffding_tree", params = {grace_period = 50}}', ""
)


def fill_values(place: Place, questions: int) -> None:
    """Values that both guess, the challenger better; labels come 50 questions later, some are corrected twice."""
    rng, schema, pipeline = random.Random(3), place.schema.fingerprint, place.client.pipeline(transaction=False)
    given: list[tuple[int, int, float]] = []
    for n in range(questions):
        truth, id_ = rng.gauss(0, 2), f"{START_MS + n * STEP_MS}-0"
        asked = Prediction(CHAMPION, 0, (truth + rng.gauss(0, 1),), (truth, rng.choice("ab")), schema)
        pipeline.xadd(place.streams.key("predictions"), {"e": events.encode(asked)}, id=id_)
        shadow = Shadow({CHALLENGER: (0, (truth + rng.gauss(0, 0.7),))} if n % 7 else {})
        pipeline.xadd(place.streams.key("shadows"), {"e": events.encode(shadow)}, id=id_)
        at = START_MS + (n + 50) * STEP_MS
        given.append((at, n, truth))
        if rng.random() < 0.05:
            given += [(at + rng.choice([300, 9_000]), n, truth + 1), (at + 12_000, n, truth + 0.5)]
    firsts: dict[int, str] = {}
    for sequence, (at, n, label) in enumerate(sorted(given)):
        fields = {"e": events.encode(Feedback(f"{START_MS + n * STEP_MS}-0", label))}
        if n in firsts:
            fields["f"] = firsts[n]
        pipeline.xadd(place.streams.key("feedback"), fields, id=f"{at}-{sequence}")
        firsts.setdefault(n, f"{at}-{sequence}")
    pipeline.execute()
    place.releases.set_board(Board(champion=CHAMPION, challengers=(CHALLENGER,)))


def both(place: Place, uncovered: Iterable[int] = ()) -> tuple[ComparisonFacts, ComparisonFacts]:
    """By the loop, and by the log; `uncovered` are predictions whose shadow scores the loop did not wait for."""
    loop = Loop(place)
    loop.state.uncovered.update(uncovered)
    while loop.step(block_ms=1):
        pass
    loop.close()
    replay = Replay(place.log.folder, place.model, place.model.gate, 0, uncovered=loop.state.uncovered)
    replay.record.begin(place.releases.board(), 0)
    replay.play(loop.state.matured_through, events.offset(loop.state.last_id))
    (live,), (again,) = (one.comparison_facts((CHALLENGER,), {}, 0.0) for one in (loop.state.record, replay.record))
    assert live.n > 40
    return live, again


def shown(facts: ComparisonFacts) -> ComparisonFacts:
    """Without what no decision looks at, and the log does not tell: labels that came late, pairs without scores."""
    return msgspec.structs.replace(facts, audit=None, uncovered=0)


@pytest.mark.parametrize(
    "gate",
    [
        "",
        'loss = "log"\nguardrails = {zero_one = 0.1}\n[models.m.labels]\non_timeout = "negative"\ncombine = "first"',
        'unit = "c"\nunit_window = "1s"\ncorrection_lag = "1s"\nsegments = ["c"]',
    ],
)
def test_classes_with_late_lost_and_corrected_labels(tmp_path: Path, client: redis.Redis, gate: str) -> None:
    """Every figure, and every point of the curve."""
    config = CONFIG.replace('[models.m.labels]\ncorrect_every = "0s"\n', "") + gate
    place = place_in(tmp_path, client, config)
    fill(place, 1_500)
    live, again = both(place)
    assert shown(again) == shown(live)


@pytest.mark.parametrize("loss", ['loss = "absolute"', 'loss = "squared"\nclip = 3.0'])
@pytest.mark.parametrize("combine", ["latest", "mean"])
def test_values_whose_range_the_first_labels_fix(tmp_path: Path, client: redis.Redis, loss: str, combine: str) -> None:
    """Corrections of those labels change nothing, and of later ones the evidence; in the same order as they did."""
    config = VALUES.replace('correct_every = "0s"', f'combine = "{combine}"') + loss
    place = place_in(tmp_path, client, config)
    fill_values(place, 1_500)
    live, again = both(place)
    assert shown(again) == shown(live)
    assert not math.isclose(live.gain, 0)


def test_shadow_scores_that_came_too_late_count_as_little(tmp_path: Path, client: redis.Redis) -> None:
    """The log has them; the loop remembers that it did not."""
    place = place_in(tmp_path, client)
    fill(place, 500)
    missed = [(START_MS + n * STEP_MS) << 20 for n in range(0, 500, 9)]
    live, again = both(place, missed)
    assert live.uncovered > 30
    assert shown(again) == shown(live)
