"""Revisions that are weights: the session stays, the answers are those of the newest weights, or nothing changes."""

import gc
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
import redis

from contracts import releases, weights
from contracts.events import Prediction, Shadow, decode
from contracts.releases import Release, ReleaseRefused, Releases
from contracts.settings import Settings
from contracts.streams import Streams
from serving.follow import Follower
from serving.live import Live
from serving.model import Served
from serving.shadow import Scorer
from tests.serving.harness import (
    CONFIG,
    FRUIT,
    GOOD,
    Replies,
    Server,
    constant,
    crown,
    release,
    request,
    serving,
    until,
)
from tests.serving.revisions import ROWS, graph, learned, probability, revision, shares


def packed(**changed: Any) -> bytes:
    """Weights of revision 2 with some replaced; None drops one."""
    return weights.pack({name: array for name, array in (learned(2) | changed).items() if array is not None})


def test_new_weights_answer_over_the_same_session() -> None:
    """Each revision gives its own scores, also to whoever still holds the older one."""
    first = Served(revision(1), FRUIT)
    second = Served(revision(2), FRUIT, reuse=first)
    assert shares(second, first)
    for served in (first, second, first):
        expected = [probability(served.revision, row) for row in ROWS]
        assert [scores[1] for scores in served.score(ROWS)] == pytest.approx(expected, abs=1e-15)


def test_a_new_graph_gets_a_session_of_its_own() -> None:
    """Whatever it was reused from; without weights a graph answers with those that it was built with."""
    first = Served(revision(1), FRUIT)
    other = Served(revision(2, onnx_bytes=graph(50)), FRUIT, reuse=first)
    assert not shares(other, first)
    assert other.score([(1.0, 2.0)])[0][1] == pytest.approx(probability(2), abs=1e-15)
    bare = Served(revision(50, onnx_bytes=graph(50), packed=b""), FRUIT, reuse=other)
    assert shares(bare, other)
    assert bare.score([(1.0, 2.0)])[0][1] == pytest.approx(probability(50), abs=1e-15)


def test_tables_may_grow_where_the_graph_says_so() -> None:
    """A symbolic dimension takes any size, a fixed one its own."""
    served = Served(revision(1, onnx_bytes=graph(symbolic=True)), FRUIT)
    assert served.score([(1.0, 2.0)])[0][1] == pytest.approx(probability(1), abs=1e-15)
    wide = packed(weights=np.ones((2, 2)))
    with pytest.raises(ReleaseRefused, match=r"weight weights is float64\[2, 2\], the graph takes"):
        Served(revision(2, onnx_bytes=graph(symbolic=True), packed=wide), FRUIT, reuse=served)


REFUSED: list[tuple[Release, str]] = [
    (
        msgspec.structs.replace(revision(2), weights=packed(bias=np.ones(1))),
        "weights differ from the manifest's sha256",
    ),
    (msgspec.structs.replace(revision(2), weights=b""), "weights differ from the manifest's sha256"),
    (revision(2, packed=b"\xc1"), "the weights cannot be read"),
    (revision(2, packed=packed(extra=np.ones(1))), "weight extra is not in the graph"),
    (revision(2, packed=packed(bias=None)), "weight bias is missing"),
    (revision(2, packed=packed(weights=np.ones((3, 1)))), r"weights is float64\[3, 1\], .* tensor\(double\)\[2, 1\]"),
    (revision(2, packed=packed(weights=np.ones(2))), r"weights is float64\[2\], the graph takes"),
    (revision(2, packed=packed(bias=np.ones(1, np.float32))), r"weight bias is float32\[1\], the graph takes"),
    (revision(2, packed=packed(bias=np.ones(1))), "golden scores differ by"),
    (revision(2, packed=packed(bias=np.array([np.nan]))), "NaN or infinity"),
]
NAMES = ["hash", "lost", "bytes", "unknown", "missing", "shape", "dimensions", "type", "golden", "nan"]


@pytest.mark.parametrize(("made", "reason"), REFUSED, ids=NAMES)
def test_weights_that_are_not_fit_to_serve_are_refused(made: Release, reason: str) -> None:
    """Each defect is named, with a session to reuse or without one."""
    for reuse in (None, Served(revision(1), FRUIT)):
        with pytest.raises(ReleaseRefused, match=reason):
            Served(made, FRUIT, reuse)


class Followed:
    """A follower of one model in this process, and what it serves."""

    def __init__(self, client: redis.Redis, folder: Path):
        self.live, self.folder = Live("fruit", CONFIG.models["fruit"]), folder / "fruit"
        self.follower = Follower(client, [self.live], folder)

    @property
    def served(self) -> Served:
        assert self.live.served is not None
        return self.live.served

    @property
    def copied(self) -> int:
        """The revision of the copy on disk."""
        kept = releases.read(self.folder, 1)
        assert kept is not None
        return kept.manifest.revision


@pytest.fixture
def followed(client: redis.Redis, tmp_path: Path) -> Followed:
    crown(client, revision(1))
    made = Followed(client, tmp_path)
    made.follower.step()
    return made


@pytest.mark.parametrize(("made", "reason"), REFUSED, ids=NAMES)
def test_refused_weights_change_nothing_until_better_ones_come(
    client: redis.Redis, followed: Followed, made: Release, reason: str
) -> None:
    """The last good revision answers on, the reason is shown and counted once, the next revision is taken at once."""
    first = followed.served
    Releases(client, "fruit").publish(made)
    for _ in range(3):
        followed.follower.step()
    assert followed.served is first
    assert followed.live.refused is not None
    assert followed.live.counts.releases_refused == 1
    Releases(client, "fruit").publish(revision(3))
    followed.follower.step()
    assert (followed.served.revision, followed.live.refused) == (3, None)
    assert shares(followed.served, first)


def test_new_graphs_are_paced_and_weights_and_promotions_are_not(client: redis.Redis, followed: Followed) -> None:
    """Building a session stops the interpreter: graph after graph waits, and what serves goes on meanwhile."""
    published, first = Releases(client, "fruit"), followed.served
    published.publish(revision(2, onnx_bytes=graph(50)))
    followed.follower.step()
    assert followed.served is first, "the first graph was built a moment ago"
    assert followed.live.refused is None
    until(lambda: followed.follower.step() or followed.served.revision == 2, 6)
    second = followed.served
    assert not shares(second, first)
    published.publish(revision(3))
    published.publish(revision(4, onnx_bytes=graph(50)))
    followed.follower.step()
    assert followed.served.revision == 4
    assert shares(followed.served, second)
    crown(client, release(constant((0.1, 0.9)), 2))
    followed.follower.step()
    assert followed.served.version == 2


def test_a_graph_that_was_refused_makes_the_next_one_wait(client: redis.Redis, followed: Followed) -> None:
    """A trainer whose every graph is refused must not hold up the answers of the good one."""
    published, first = Releases(client, "fruit"), followed.served
    until(lambda: time.monotonic() > followed.follower._rests_until["fruit"], 6)
    published.publish(revision(2, onnx_bytes=graph(50), packed=packed(bias=np.ones(1))))
    followed.follower.step()
    assert "golden scores differ" in str(followed.live.refused)
    published.publish(revision(3, onnx_bytes=graph(60)))
    followed.follower.step()
    assert followed.served is first
    until(lambda: followed.follower.step() or followed.served.revision == 3, 6)


def test_copies_are_kept_now_and_then_and_at_the_end(client: redis.Redis, followed: Followed) -> None:
    """Each is synced to disk: the first at once, then one in seconds, and the newest by a process that leaves."""
    assert followed.copied == 1
    for number in (2, 3):
        Releases(client, "fruit").publish(revision(number))
        followed.follower.step()
    assert (followed.served.revision, followed.copied) == (3, 1)
    followed.follower.keep_copies()
    assert followed.copied == 3
    again = Followed(client, followed.folder.parent)
    again.follower.start_from_copies()
    assert again.served.score([(1.0, 2.0)])[0][1] == pytest.approx(probability(3), abs=1e-15)


def test_an_older_copy_is_replaced_in_the_end(
    client: redis.Redis, followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a newer revision to bring it about."""
    monkeypatch.setattr("serving.follow._KEEP_S", 0.2)
    Releases(client, "fruit").publish(revision(2))
    until(lambda: followed.follower.step() or followed.copied == 2, 10)


def newest(server: Server) -> int:
    """The revision that answers, whose score it must be."""
    status, answer = server.predict()
    assert status == 200
    assert answer["probabilities"]["true"] == pytest.approx(probability(answer["revision"]), abs=1e-15)
    return int(answer["revision"])


def test_a_late_start_and_a_reconnect_get_the_newest(where: Settings, client: redis.Redis) -> None:
    """What was published before a process came, or while its connections were cut, is there with its first look."""
    published = Releases(client, "fruit")
    crown(client, revision(1))
    for number in range(2, 40):
        published.publish(revision(number))
    with serving(where, ready=False) as server:  # the other model has no champion
        assert newest(server) == 39
        for number in range(40, 60):
            client.client_kill_filter(skipme=True)
            published.publish(revision(number))
        until(lambda: newest(server) == 59, 5)
    kept = releases.read(where.release_folder / "fruit", 1)
    assert kept is not None
    assert kept.manifest.revision == 59, "kept as the process left"


@pytest.mark.parametrize("swaps", [50, pytest.param(1000, marks=pytest.mark.soak)])
def test_no_request_fails_while_weights_are_swapped(server: Server, client: redis.Redis, swaps: int) -> None:
    """A revision every 50 ms: each question is answered by the score of the revision that it names, in rising order."""
    crown(client, revision(1, version=2))
    until(lambda: server.predict()[1]["version"] == 2)
    published, done = Releases(client, "fruit"), threading.Event()
    reloads = 'reloads_total{model="fruit"}'
    before = server.metric(reloads)

    def publish() -> None:
        for number in range(2, swaps + 2):
            published.publish(revision(number, version=2))
            time.sleep(0.05)
        until(lambda: newest(server) == swaps + 1)
        done.set()

    publisher = threading.Thread(target=publish)
    publisher.start()
    seen = [1]
    with server.connect() as line:
        replies, question = Replies(line), request("POST", "/models/fruit/predict", GOOD)
        while not done.is_set():
            line.sendall(question * 8)
            for status, answer in [replies.next() for _ in range(8)]:
                assert status == 200
                assert answer["prediction_id"] is not None
                assert answer["revision"] >= seen[-1]
                assert answer["probabilities"]["true"] == pytest.approx(probability(answer["revision"]), abs=1e-15)
                seen.append(answer["revision"])
    publisher.join()
    assert seen[-1] == swaps + 1
    assert server.metric(reloads) - before >= swaps / 4, "revisions that come faster than looks are skipped"


@pytest.mark.soak
def test_thousands_of_swaps_give_their_memory_back() -> None:
    """Neither the shared session nor what passes through it pile up."""
    served = Served(revision(0, onnx_bytes=graph(symbolic=True)), FRUIT)

    def swap(times: int) -> float:
        nonlocal served
        for number in range(times):
            served = Served(revision(number, onnx_bytes=served.release.onnx), FRUIT, reuse=served)
            served.score(ROWS * (1 + number % 20))
        gc.collect()
        return float(psutil.Process().memory_info().rss / 2**20)

    before = swap(2000)
    assert swap(20_000) - before < 10


def test_the_shadow_scores_with_new_weights(client: redis.Redis) -> None:
    """From the next batch on, over the same session, each score under its revision; the last good ones stay."""
    crown(client, release(constant((0.25, 0.75))), challengers=(2,))
    published, kept = Releases(client, "fruit"), Streams(client, "fruit")
    scorer = Scorer(client, "fruit", FRUIT)
    asked = Prediction(1, 0, (0.25, 0.75), (1.0, 2.0), FRUIT.fingerprint)
    sessions = []
    for number in (1, 2, 3):
        published.publish(revision(number, version=2))
        kept.append(asked)
        scorer.step()
        sessions.append(scorer._ready[2])
    assert all(shares(served, sessions[0]) for served in sessions)
    published.publish(revision(4, version=2, packed=packed(weights=np.ones((3, 1)))))
    kept.append(asked)
    scorer.step()
    assert "weight weights is float64[3, 1]" in scorer.refused[2]
    found = [decode(Shadow, fields).scores for _, fields in kept.follow("shadows", "0-0", 10)]
    assert [scores[2][0] for scores in found[:3]] == [1, 2, 3]
    assert [scores[2][1][1] for scores in found[:3]] == pytest.approx([probability(n) for n in (1, 2, 3)], abs=1e-15)
    assert found[3] == found[2], "refused weights are not used"
