"""The shadow scorer: every challenger, every prediction, the same ids, whatever goes wrong."""

import math
import subprocess
import time
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
import redis
from onnx import helper

from contracts import events
from contracts.events import Prediction, Shadow
from contracts.facts import ShadowFacts
from contracts.releases import Board, Golden, Release, Releases
from contracts.settings import Settings
from contracts.streams import Streams
from serving.shadow import Scorer
from tests.serving.harness import (
    FRUIT,
    PRICE,
    constant,
    crown,
    graph,
    linear,
    release,
    shadowing,
    until,
)  # fmt: skip

WEIGHTS = (0.7, -0.4)
ROWS = ((1.0, 2.0),)


@pytest.fixture
def kept(client: redis.Redis) -> Streams:
    return Streams(client, "fruit")


@pytest.fixture
def scorer(client: redis.Redis) -> Scorer:
    crown(client, release(constant((0.25, 0.75))))
    return Scorer(client, "fruit", FRUIT)


def challenge(client: redis.Redis, *versions: int, champion: int = 1) -> None:
    Releases(client, "fruit").set_board(Board(champion, versions))


def publish(client: redis.Redis, version: int, score: float = 0.9, revision: int = 0, **more: object) -> None:
    Releases(client, "fruit").publish(release(constant((1 - score, score)), version, revision, **more))


def ask(kept: Streams, n: int = 1, version: int = 1) -> list[str]:
    rows = [(float(i), 2.0) for i in range(n)]
    return [kept.append(Prediction(version, 0, (0.25, 0.75), row, FRUIT.fingerprint)) for row in rows]


def shadows(kept: Streams) -> dict[str, dict[int, tuple[int, tuple[float, ...]]]]:
    return {id_: events.decode(Shadow, fields).scores for id_, fields in kept.follow("shadows", "0-0", 100_000)}


def test_every_challenger_scores_every_prediction_under_its_id(
    client: redis.Redis, kept: Streams, scorer: Scorer
) -> None:
    """Same ids in the same order; each score is the challenger's own, with its revision."""
    Releases(client, "fruit").publish(release(linear(WEIGHTS, 0.1), 2, 7))
    publish(client, 3, 0.6)
    challenge(client, 2, 3)
    ids = ask(kept, 50)
    assert scorer.step() == 50
    assert scorer.step() == 0
    found = shadows(kept)
    assert list(found) == ids
    for i, id_ in enumerate(ids):
        revision, (_, p) = found[id_][2]
        assert revision == 7
        assert p == pytest.approx(1 / (1 + math.exp(-(0.7 * i - 0.8 + 0.1))), abs=1e-12)
        assert found[id_][3] == (0, (0.4, 0.6))
        assert 1 not in found[id_]


def test_what_scores_cost_is_told_by_version(client: redis.Redis, kept: Streams, scorer: Scorer) -> None:
    """Rows, the turns they came in, and seconds; of those that shadow now, and only of what was asked."""
    publish(client, 2)
    challenge(client, 2)
    ask(kept, 30)
    scorer.step(count=20)
    scorer.step(count=20)
    cost = scorer.scoring[2]
    assert (cost.rows, cost.turns) == (30, 2)
    assert 0 < cost.total_s < 1
    scorer._told_at = 0.0
    scorer.step()
    told = kept.fact("shadow", ShadowFacts)
    assert told is not None
    assert told.scoring == {2: cost}
    challenge(client)
    ask(kept)
    scorer.step()
    assert scorer.scoring == {}


def test_nothing_to_score_still_moves_the_position_on(kept: Streams, scorer: Scorer) -> None:
    """Learning waits for this position, challengers or not."""
    ids = ask(kept, 3)
    assert scorer.step(count=2) == 2
    assert scorer.step(count=2) == 1
    assert shadows(kept) == {key: {} for key in ids}
    assert scorer.position == ids[-1]


def test_a_version_is_not_asked_what_was_asked_before_it_was_enrolled(
    client: redis.Redis, kept: Streams, scorer: Scorer
) -> None:
    """Its manifest's `since` is the newest prediction of before."""
    before = ask(kept, 3)
    publish(client, 2, since=before[-1])
    challenge(client, 2)
    after = ask(kept, 2)
    scorer.step()
    assert {id_: set(by_version) for id_, by_version in shadows(kept).items()} == {
        **{key: set() for key in before}, **{key: {2} for key in after},
    }  # fmt: skip


def test_a_new_revision_scores_from_the_next_batch_on(client: redis.Redis, kept: Streams, scorer: Scorer) -> None:
    """The board and the revisions are looked at before each batch."""
    publish(client, 2, 0.6, revision=1)
    challenge(client, 2)
    (first,) = ask(kept)
    scorer.step()
    publish(client, 2, 0.7, revision=2)
    (second,) = ask(kept)
    scorer.step()
    assert shadows(kept) == {first: {2: (1, (0.4, 0.6))}, second: {2: (2, (1 - 0.7, 0.7))}}


def test_just_after_a_promotion_nobodys_score_is_missing(client: redis.Redis, kept: Streams, scorer: Scorer) -> None:
    """What the old champion still answered is scored by the new one, and by the old one as its challenger."""
    publish(client, 2, 0.6)
    challenge(client, 1, champion=2)
    (old,) = ask(kept, version=1)
    (new,) = ask(kept, version=2)
    scorer.step()
    assert shadows(kept) == {old: {1: (0, (0.25, 0.75)), 2: (0, (0.4, 0.6))}, new: {1: (0, (0.25, 0.75))}}


def test_who_left_the_board_is_asked_no_more(client: redis.Redis, kept: Streams, scorer: Scorer) -> None:
    """Roles are the board's."""
    publish(client, 2)
    challenge(client, 2)
    ask(kept)
    scorer.step()
    challenge(client)
    (last,) = ask(kept)
    scorer.step()
    assert shadows(kept)[last] == {}


def fails_on_large(limit: int) -> bytes:
    """A graph that raises for a batch with more rows than `limit`, and scores others."""
    nodes = [
        helper.make_node("Shape", ["numeric"], ["rows"], start=0, end=1),
        helper.make_node("Gather", ["table", "rows"], ["answer"], axis=0),
        helper.make_node("Concat", ["rows", "k"], ["shape"], axis=0),
        helper.make_node("Expand", ["answer", "shape"], ["scores"]),
    ]
    return graph(nodes, {"table": np.full((limit + 1, 2), 0.5), "k": np.array([2])}, 2, 2)


@pytest.mark.parametrize(
    ("version_2", "reason"),
    [
        (lambda: release(fails_on_large(2), 2), "scoring failed"),
        (lambda: release(constant((math.nan, math.nan)), 2), "NaN or infinite"),
        (lambda: release(constant((0.2, 0.3, 0.5)), 2), "shape"),
        (lambda: None, "not published"),
    ],
    ids=["raises", "nan", "refused", "absent"],
)
def test_a_failing_challenger_is_left_out_and_shown(
    client: redis.Redis, kept: Streams, scorer: Scorer, version_2: Callable[[], object], reason: str
) -> None:
    """The others go on, the position moves on, and the facts tell who is out and why, until it scores again."""
    made = version_2()
    if made is not None:
        Releases(client, "fruit").publish(made)  # type: ignore[arg-type]
    publish(client, 3, 0.6)
    challenge(client, 2, 3)
    ids = ask(kept, 5)
    scorer.step()
    assert shadows(kept) == {key: {3: (0, (0.4, 0.6))} for key in ids}
    fact = msgspec.json.decode(kept.facts()["shadow"], type=ShadowFacts)
    assert (fact.position, fact.scored) == (ids[-1], 5)
    assert reason in fact.refused[2]
    assert "left out of 1 batches" in fact.refused[2]
    publish(client, 2, 0.9, revision=1)
    (later,) = ask(kept)
    scorer.step()
    assert set(shadows(kept)[later]) == {2, 3}
    assert scorer.refused == {}


REFUSED: dict[str, Callable[[], Release]] = {
    "its golden rows score otherwise": lambda: release(constant((0.1, 0.9)), 2, 6, golden=Golden(ROWS, ((0.9, 0.1),))),
    "a golden row scores NaN": lambda: release(constant((math.nan, 0.5)), 2, 6, golden=Golden(ROWS, ((0.5, 0.5),))),
    "cannot be loaded": lambda: release(b"no graph", 2, 6),
    "its bytes are damaged": lambda: msgspec.structs.replace(release(constant((0.1, 0.9)), 2, 6), onnx=b"other"),
    "another schema's": lambda: release(constant((0.1, 0.9)), 2, 6, schema=PRICE),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_the_last_good_revision_goes_on_while_the_newest_is_refused(
    client: redis.Redis, kept: Streams, scorer: Scorer, refused: Callable[[], Release]
) -> None:
    """Nobody's pair is missing; the facts tell why, and which revision scores meanwhile, until one is sound again."""
    publish(client, 2, 0.6, revision=5)
    challenge(client, 2)
    (first,) = ask(kept)
    scorer.step()
    Releases(client, "fruit").publish(refused())
    seconds = []
    for _ in range(3):
        seconds += ask(kept)
        scorer.step()
    assert shadows(kept) == {id_: {2: (5, (0.4, 0.6))} for id_ in (first, *seconds)}
    fact = told(kept, scorer)
    assert fact.versions == {2: 5}
    assert "(revision 5 goes on)" in fact.refused[2]
    assert scorer.left_out[2] == 0
    publish(client, 2, 0.7, revision=7)
    (last,) = ask(kept)
    scorer.step()
    assert shadows(kept)[last] == {2: (7, (1 - 0.7, 0.7))}
    fact = told(kept, scorer)
    assert (fact.versions, fact.refused) == ({2: 7}, {})


def test_a_refusal_and_a_failure_are_both_told(client: redis.Redis, kept: Streams, scorer: Scorer) -> None:
    """The revision that goes on may have troubles of its own."""
    Releases(client, "fruit").publish(release(fails_on_large(2), 2, 5))
    challenge(client, 2)
    ask(kept)
    scorer.step()
    Releases(client, "fruit").publish(release(b"no graph", 2, 6))
    ask(kept, 5)
    scorer.step()
    (reason,) = told(kept, scorer).refused.values()
    assert "cannot load it" in reason
    assert "scoring failed" in reason
    assert "(left out of 1 batches)" in reason
    ask(kept)
    scorer.step()
    (reason,) = told(kept, scorer).refused.values()
    assert "scoring failed" not in reason
    assert "(revision 5 goes on)" in reason


def told(kept: Streams, scorer: Scorer) -> ShadowFacts:
    """What the scorer makes known now."""
    scorer._told_at = 0.0
    scorer.step()
    return msgspec.json.decode(kept.facts()["shadow"], type=ShadowFacts)


BROKEN: list[dict[str, bytes]] = [
    {"junk": b"\xff"},
    {"e": b"\xc1"},
    {"e": msgspec.msgpack.encode([1, 0, [0.5, 0.5], [1.0], FRUIT.fingerprint])},
    {"e": msgspec.msgpack.encode([1, 0, [0.5, 0.5], ["x", 2.0], FRUIT.fingerprint])},
    {"e": msgspec.msgpack.encode([1, 0, [0.5, 0.5], [math.nan, 2.0], FRUIT.fingerprint])},
]


@pytest.mark.parametrize("fields", BROKEN, ids=["field", "bytes", "short", "type", "nan"])
def test_a_malformed_prediction_is_buried_and_passed(
    client: redis.Redis, kept: Streams, scorer: Scorer, fields: dict[str, bytes]
) -> None:
    """Its bytes and the reason are kept, its shadow is empty, and its neighbours are scored; a replay buries once."""
    publish(client, 2, 0.6)
    challenge(client, 2)
    (first,) = ask(kept)
    bad = client.xadd(kept.key("predictions"), fields).decode()  # type: ignore[arg-type, union-attr]
    (last,) = ask(kept)
    assert scorer.step() == 3
    assert shadows(kept) == {first: {2: (0, (0.4, 0.6))}, bad: {}, last: {2: (0, (0.4, 0.6))}}
    ((buried, letter),) = kept.dead_letters("predictions")
    assert buried == bad
    assert letter.fields == {name.encode(): value for name, value in fields.items()}
    assert letter.reason


def test_a_prediction_of_another_schema_is_passed_and_not_buried(
    client: redis.Redis, kept: Streams, scorer: Scorer
) -> None:
    """The features have changed since; the entry itself is sound."""
    publish(client, 2)
    challenge(client, 2)
    id_ = kept.append(Prediction(1, 0, (0.5, 0.5), (1.0,), "older"))
    scorer.step()
    assert shadows(kept) == {id_: {}}
    assert kept.dead_letters("predictions") == []


def test_a_restart_goes_on_where_the_stream_ends(client: redis.Redis, kept: Streams, scorer: Scorer) -> None:
    """A scorer that died between its batches leaves neither gap nor repetition."""
    ids = ask(kept, 10)
    scorer.step(count=4)
    another = Scorer(client, "fruit", FRUIT)
    assert another.step() == 6
    assert scorer.step() == 6, "the first one did not know"
    assert list(shadows(kept)) == ids


def test_the_scorer_survives_redis(redis_url: str, where: Settings, client: redis.Redis, kept: Streams) -> None:
    """A real process: its connections are cut time and again, and every prediction gets its shadow once."""
    crown(client, release(constant((0.25, 0.75))))
    publish(client, 2, 0.6)
    challenge(client, 2)
    ids = []
    with shadowing(where, "--model", "fruit"):
        until(lambda: "shadow" in kept.facts())
        for _ in range(20):
            ids += ask(kept, 20)
            client.client_kill_filter(skipme=True)
            time.sleep(0.03)
        until(lambda: kept.last_id("shadows") == ids[-1])
    assert shadows(kept) == {key: {2: (0, (0.4, 0.6))} for key in ids}


def test_an_unknown_model_is_refused_at_the_door(where: Settings) -> None:
    """With the nearest name, and a status that a supervisor sees."""
    with shadowing(where, "--model", "fruits", stderr=subprocess.PIPE) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert 'did you mean "fruit"?' in errors.decode()


def test_an_idle_scorer_reads_no_board(client: redis.Redis, scorer: Scorer) -> None:
    """Idle steps do not read the board: Redis is asked for predictions only."""
    scorer.step()
    before = client.info("commandstats")["cmdstat_get"]["calls"]  # type: ignore[index]
    for _ in range(5):
        scorer.step()
    assert client.info("commandstats")["cmdstat_get"]["calls"] == before  # type: ignore[index]
