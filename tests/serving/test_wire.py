"""The raw connection: its greeting, its errors, and its order."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
import redis

from serving.wire import Away, Wire
from tests.serving.harness import Server


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Wire]:
    wire = Wire(url)
    keeping = asyncio.create_task(wire.keep())
    async with asyncio.timeout(5):
        while not wire.connected:
            await asyncio.sleep(0.01)
    try:
        yield wire
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


@pytest.fixture
def locked(client: redis.Redis) -> Iterator[str]:
    """A password that Valkey asks for during a test."""
    client.config_set("requirepass", "secret")
    try:
        yield "secret"
    finally:
        client.config_set("requirepass", "")


def test_password_and_database_are_those_of_the_url(redis_url: str, client: redis.Redis, locked: str) -> None:
    """The greeting is AUTH, SELECT and PING."""

    async def write() -> None:
        address = redis_url.removeprefix("redis://").removesuffix("/0")
        async with connected(f"redis://:{locked}@{address}/3") as wire:
            assert await wire.call(b"SET", b"here", b"1") == b"OK"

    asyncio.run(write())
    client.select(3)
    assert client.get("here") == b"1"
    client.select(0)


def test_an_error_reply_is_away_for_its_command_alone(redis_url: str, client: redis.Redis) -> None:
    """Replies stay in the order of the commands, errors among them, and the line goes on."""

    async def ask() -> list[object]:
        replies: list[object] = []
        async with connected(redis_url) as wire:
            for command in ((b"INCR", b"n"), (b"XADD", b"n", b"*", b"e", b"1"), (b"INCR", b"n")):
                wire.send(replies.append, *command)
            wire.flush()
            await wire.call(b"PING")
            with pytest.raises(Away, match="wrong number of arguments"):
                await wire.call(b"GET")
            assert wire.connected
        return replies

    first, error, second = asyncio.run(ask())
    assert (first, second) == (1, 2)
    assert isinstance(error, Away)
    assert "WRONGTYPE" in str(error)


def test_without_a_connection_everything_fails_at_once() -> None:
    """Callers learn it in the same turn, before anything was written."""
    replies: list[object] = []
    wire = Wire("redis://127.0.0.1:1/0")
    wire.send(replies.append, b"PING")
    assert isinstance(replies[0], Away)
    with pytest.raises(Away):
        asyncio.run(wire.call(b"PING"))


def test_a_full_redis_costs_the_entry_not_the_answer(server: Server, client: redis.Redis) -> None:
    """Redis refuses the append: answered with a null id, counted, and again logged once there is room."""
    line = 'predictions_unlogged_total{model="fruit"}'
    before = server.metric(line)
    client.config_set("maxmemory", 1)
    try:
        status, answer = server.predict()
    finally:
        client.config_set("maxmemory", 0)
    assert (status, answer["prediction_id"], answer["version"]) == (200, None, 1)
    assert server.metric(line) == before + 1
    assert server.predict()[1]["prediction_id"]
