"""Releases in Redis: a graph travels once, and its manifest, weights and revision are always those of one release."""

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from contracts import releases
from contracts.releases import Board, Manifest, Release, ReleaseRefused, Releases, sha256

GRAPH = b"graph" * 100_000


def release(revision: int, weights: bytes = b"", onnx: bytes = GRAPH, **more: Any) -> Release:
    manifest = Manifest(
        model="fruit", version=3, kind="online", learner="linear", revision=revision, schema="s",
        onnx_sha256=sha256(onnx), weights_sha256=sha256(weights) if weights else "", created_at=1.0,
    )  # fmt: skip
    return Release(msgspec.structs.replace(manifest, **more), onnx, weights)


@pytest.fixture
def published(client: redis.Redis) -> Releases:
    return Releases(client, "fruit")


def received(client: redis.Redis) -> int:
    """Bytes that the server has read so far."""
    return int(client.info("stats")["total_net_input_bytes"])  # type: ignore[index]


def sent(client: redis.Redis) -> int:
    return int(client.info("stats")["total_net_output_bytes"])  # type: ignore[index]


def test_a_release_comes_back_whole(published: Releases) -> None:
    """Manifest, graph and weights; the newest one, with its revision."""
    assert published.fetch(3) is None
    assert published.fetch(3, held=release(1)) is None
    for made in (release(1), release(2, b"two"), release(7, b"seven", b"another graph"), release(8)):
        published.publish(made)
        assert published.fetch(3) == made
        assert published.manifest(3) == made.manifest
        assert published.revisions() == {3: made.manifest.revision}


def test_a_graph_travels_once(client: redis.Redis, published: Releases) -> None:
    """A revision of weights costs its weights on the way in and, for whoever holds the graph, on the way out."""
    published.publish(release(1, b"one"))
    held = published.fetch(3)
    assert held is not None
    before = received(client), sent(client)
    published.publish(release(2, b"two"))
    found = published.fetch(3, held)
    assert received(client) - before[0] < 5_000
    assert sent(client) - before[1] < 50_000  # two answers to INFO among them
    assert found == release(2, b"two")
    assert found.onnx is held.onnx


def test_whoever_holds_another_graph_gets_the_new_one(published: Releases) -> None:
    """The graph follows the manifest, not what the caller has."""
    published.publish(release(2, b"two", b"another graph"))
    assert published.fetch(3, held=release(1, b"one")) == release(2, b"two", b"another graph")


def test_a_graph_that_redis_lost_is_sent_again(client: redis.Redis, published: Releases) -> None:
    """Withdrawn, flushed with its scripts, or published before weights existed: the next revision is whole."""
    published.publish(release(1, b"one"))
    published.withdraw(3)
    published.publish(release(2, b"two"))
    assert published.fetch(3) == release(2, b"two")
    client.flushall()
    client.script_flush()
    published.publish(release(3, b"three"))
    assert published.fetch(3) == release(3, b"three")
    client.hdel(published.key("release:3"), "onnx_sha256", "weights")
    assert published.fetch(3) == msgspec.structs.replace(release(3, b"three"), weights=b"")
    published.publish(release(4, b"four"))
    assert published.fetch(3) == release(4, b"four")


def test_concurrent_revisions_never_mix(client: redis.Redis, published: Releases) -> None:
    """Two publishers of two graphs, readers with and without a graph: what is read is always one published release."""
    graphs, done, wrong = [b"a" * 200_000, b"b" * 50_000], threading.Event(), []

    def publish(first: int) -> None:
        mine = Releases(client, "fruit")
        for revision in range(first, 600, 2):
            mine.publish(release(revision, b"weights %d" % revision, graphs[revision // 7 % 2]))

    def fetch(holds: bool) -> None:
        mine, held = Releases(client, "fruit"), None
        while not done.is_set():
            found = mine.fetch(3, held if holds else None)
            if found is None:
                continue
            held, revision = found, found.manifest.revision
            if found != release(revision, b"weights %d" % revision, graphs[revision // 7 % 2]):
                wrong.append(revision)

    published.publish(release(0, b"weights 0", graphs[0]))
    readers = [threading.Thread(target=fetch, args=(holds,)) for holds in (True, True, False)]
    writers = [threading.Thread(target=publish, args=(first,)) for first in (0, 1)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert wrong == []
    last = published.fetch(3)
    assert last is not None
    assert published.revisions() == {3: last.manifest.revision}


def test_all_boards_are_read_in_one_round_trip(client: redis.Redis, published: Releases) -> None:
    """Serving looks ten times a second: one look is one round trip, however many models there are."""
    published.publish(release(4))
    published.set_board(Board(3, (5,)))
    models = ["fruit", *(f"empty{i}" for i in range(20))]
    assert releases.look(client, models) == [(Board(3, (5,)), {3: 4})] + [(Board(), {})] * 20


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"onnx": b"other"}, "ONNX bytes differ"),
        ({"weights": b"other"}, "weights differ"),
        ({"weights": b""}, "weights differ"),
    ],
)
def test_bytes_that_differ_from_their_hash_are_refused(broken: dict[str, bytes], reason: str) -> None:
    """Graph and weights each have their own; a graph that was verified before excuses no other one."""
    sound = release(1, b"one")
    sound.verify("s")
    with pytest.raises(ReleaseRefused, match=reason):
        msgspec.structs.replace(sound, **broken).verify("s", held=sound)
    unnamed = msgspec.structs.replace(release(1), weights=b"stray")
    with pytest.raises(ReleaseRefused, match="weights differ"):
        unnamed.verify("s")


def test_a_graph_held_by_another_hash_is_hashed_again() -> None:
    """The same bytes under a manifest that names others are refused."""
    sound = release(1)
    other = msgspec.structs.replace(sound, manifest=release(2, onnx=b"other").manifest)
    with pytest.raises(ReleaseRefused, match="ONNX bytes differ"):
        other.verify("s", held=sound)


def test_a_copy_on_disk_keeps_the_weights(tmp_path: Path) -> None:
    """One file, replaced whole; copies from before there were weights are still read."""
    releases.write(release(1, b"one"), tmp_path)
    releases.write(release(2, b"two"), tmp_path)
    assert releases.read(tmp_path, 3) == release(2, b"two")
    older = {"manifest": release(1).manifest, "onnx": GRAPH}
    (tmp_path / "3.release").write_bytes(msgspec.msgpack.encode(older))
    assert releases.read(tmp_path, 3) == release(1)
