"""Hot reload: what serves changes under load, and whatever fails, what serves goes on serving."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from contracts import releases
from contracts.releases import Board, Releases
from contracts.settings import Settings
from contracts.streams import Streams
from serving.follow import Follower
from serving.live import Live
from tests.serving.harness import (
    CONFIG,
    FRUIT,
    GOOD,
    PRICE,
    Server,
    constant,
    crown,
    crown_all,
    golden,
    release,
    request,
    serving,
    until,
)  # fmt: skip
from tests.serving.revisions import revision

Answer = dict[str, Any]


def score_of(version: int, revision: int) -> float:
    """Each revision of each version answers with a probability of its own."""
    return 0.75 if (version, revision) == (1, 0) else 0.5 + version / 1000 + revision / 100_000


async def ask_on(port: int, pause_s: float, answers: list[Answer], enough: Callable[[], bool]) -> None:
    """Questions, one after the other, on one connection; anything but an answer raises."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not enough():
        writer.write(request("POST", "/models/fruit/predict", GOOD))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        answers.append(json.loads(await reader.readexactly(length)))
        await asyncio.sleep(pause_s)
    writer.close()
    await writer.wait_closed()


def promote(client: redis.Redis, step: int) -> tuple[int, int]:
    """A new champion at even steps, a new revision of it at odd ones."""
    version, revision = step // 2 + 2, step % 2
    score = score_of(version, revision)
    crown(client, release(constant((1 - score, score)), version, revision))
    return version, revision


async def reload_under_load(server: Server, client: redis.Redis, requests: int, reloads: int) -> list[Answer]:
    """At least `requests` answers on eight connections, while `reloads` releases come into service one by one."""
    answers: list[Answer] = []
    left = list(range(reloads))
    pause_s = 8 * reloads * 0.25 / requests  # about as long as the reloads take together
    asking = [
        asyncio.create_task(ask_on(server.port, pause_s, answers, lambda: not left and len(answers) >= requests))
        for _ in range(8)
    ]
    while left:
        target = promote(client, left[0])
        await asyncio.to_thread(until, lambda target=target: serves(server) == target)
        left.pop(0)
    await asyncio.gather(*asking)
    return answers


def serves(server: Server) -> tuple[int, int]:
    fruit = server.ask("GET", "/readyz")[1]["models"]["fruit"]
    return fruit["version"], fruit["revision"]


@pytest.mark.parametrize(
    ("requests", "reloads"),
    [(4000, 20), pytest.param(20_000, 50, marks=pytest.mark.soak)],
)
def test_no_request_fails_across_reloads(server: Server, client: redis.Redis, requests: int, reloads: int) -> None:
    """Every answer is given, and its version and revision are those of the graph that scored it."""
    before = server.metric('reloads_total{model="fruit"}')
    answers = asyncio.run(reload_under_load(server, client, requests, reloads))
    assert server.metric('reloads_total{model="fruit"}') - before == reloads
    assert len(answers) >= requests
    for answer in answers:
        assert answer["prediction_id"] is not None
        assert answer["probabilities"]["true"] == score_of(answer["version"], answer["revision"])
    assert len({(answer["version"], answer["revision"]) for answer in answers}) == reloads + 1


def test_a_refused_release_changes_nothing_and_is_shown(server: Server, client: redis.Redis) -> None:
    """The old champion answers on; readiness, metrics and facts tell why, until a good release comes."""
    refused, refusals = 'release_refused{model="fruit"}', 'releases_refused_total{model="fruit"}'
    before = server.metric(refusals)
    crown(client, release(constant((0.1, 0.9)), 2, golden=golden([(1.0, 2.0)], [(0.9, 0.1)])))
    shown = until(lambda: server.ask("GET", "/readyz")[1]["models"]["fruit"]["refused"])
    assert "version 2 refused: golden scores differ by 0.8" in shown
    assert server.predict()[1]["version"] == 1
    assert (server.metric(refused), server.metric(refusals)) == (1, before + 1)
    name = f"serving:127.0.0.1:{server.port}"
    until(lambda: msgspec.json.decode(Streams(client, "fruit").facts().get(name, b"{}")).get("refused"))
    crown(client, release(constant((0.1, 0.9)), 2, 1))
    until(lambda: server.predict()[1]["version"] == 2)
    assert server.ask("GET", "/readyz")[1]["models"]["fruit"]["refused"] is None
    assert server.metric(refused) == 0


def test_a_reload_takes_well_under_five_seconds(server: Server, client: redis.Redis) -> None:
    """From the board's change to the first answer of the new champion."""
    crown(client, release(constant((0.1, 0.9)), 2))
    began = time.monotonic()
    until(lambda: server.predict()[1]["version"] == 2)
    assert time.monotonic() - began < 2


def test_a_champion_may_come_late(where: Settings, client: redis.Redis) -> None:
    """Without one the server says 503 and why, on every way in; it serves as soon as one is published."""
    with serving(where, ready=False) as server:
        assert server.ask("GET", "/readyz")[0] == 503
        status, answer = server.predict()
        assert (status, answer["error"]["reason"]) == (503, "fruit cannot answer: no champion was published yet")
        crown_all(client)
        server.wait("/readyz")
        assert server.predict()[0] == 200


@contextmanager
def following(client: redis.Redis, folder: Path) -> Iterator[tuple[Follower, Live]]:
    live = Live("fruit", CONFIG.models["fruit"])
    yield Follower(client, [live], folder), live


def test_a_follower_fetches_only_what_changed(client: redis.Redis, tmp_path: Path) -> None:
    """The same board and revision keep what serves; a new revision replaces it."""
    crown(client, revision(1))
    with following(client, tmp_path) as (follower, live):
        follower.step()
        first = live.served
        follower.step()
        assert live.served is first
        Releases(client, "fruit").publish(revision(5))
        follower.step()
        assert live.served is not first
        assert live.served is not None
        assert live.served.revision == 5
        assert live.counts.reloads == 2


def test_a_version_that_was_never_published_is_refused_and_tried_again(client: redis.Redis, tmp_path: Path) -> None:
    """A board that runs ahead of its release is survived."""
    crown_all(client)
    with following(client, tmp_path) as (follower, live):
        follower.step()
        Releases(client, "fruit").set_board(Board(9))
        follower.step()
        assert live.served is not None
        assert live.served.version == 1
        assert live.refused is not None
        assert "not published" in live.refused
        crown(client, release(constant((0.3, 0.7)), 9))
        follower.step()
        assert (live.served.version, live.refused) == (9, None)
        assert live.counts.releases_refused == 1


def test_the_verified_copy_of_what_serves_is_kept_alone(client: redis.Redis, tmp_path: Path) -> None:
    """A restart without Redis serves the last champion; older versions' copies are dropped, damaged ones refused."""
    crown_all(client)
    with following(client, tmp_path) as (follower, live):
        follower.step()
        crown(client, release(constant((0.3, 0.7)), 2, 4))
        follower.step()
    assert [path.name for path in (tmp_path / "fruit").iterdir()] == ["2.release"]
    with following(client, tmp_path) as (follower, live):
        follower.start_from_copies()
        assert live.served is not None
        assert (live.served.version, live.served.revision) == (2, 4)
    (tmp_path / "fruit" / "2.release").write_bytes(b"damaged")
    with following(client, tmp_path) as (follower, live):
        follower.start_from_copies()
        assert live.served is None
        assert live.refused is not None
        assert "damaged" in live.refused


def test_a_copy_of_another_schema_is_not_served(client: redis.Redis, tmp_path: Path) -> None:
    """The configuration may have changed since the copy was kept."""
    releases.write(release(constant((1.0,), width=3), schema=PRICE), tmp_path / "fruit")
    with following(client, tmp_path) as (follower, live):
        follower.start_from_copies()
        assert live.served is None
        assert live.refused is not None
        assert FRUIT.fingerprint in live.refused
