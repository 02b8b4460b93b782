"""The last reading of something in Redis, kept so that the page has something to show while Redis is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from redis import RedisError

READ_TIMEOUT_S = 1.0  # after this a reading has failed
PATIENCE_S = 0.15  # how long an answer waits for a reading, when it has an older one to show

Value = TypeVar("Value")


class Latest(Generic[Value]):
    """Reads when it is asked for and not `fresh_s` old; viewers at the same time share one reading."""

    def __init__(self, read: Callable[[], Awaitable[Value]], nothing: Value, fresh_s: float):
        self.value = nothing
        self.at = 0.0
        """Epoch seconds of the last reading that did not fail; 0 before it."""
        self.away = ""
        """Why the last reading failed; empty when it did not."""
        self._read, self._fresh_s = read, fresh_s
        self._ended_at = -fresh_s
        self._reading: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Makes it fresh, unless that takes too long: a Redis that hangs must not hang the page."""
        if self._reading is None:
            if time.monotonic() - self._ended_at < self._fresh_s:
                return
            self._reading = asyncio.create_task(self._renew())
        is_first = not (self.at or self.away)
        done, _ = await asyncio.wait({self._reading}, timeout=None if is_first else PATIENCE_S)
        for reading in done:
            reading.result()  # raises what no absence of Redis explains

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                self.value = await self._read()
            self.at, self.away = time.time(), ""
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            self.away = str(error) or f"no answer within {READ_TIMEOUT_S:g} s"
        finally:
            self._ended_at, self._reading = time.monotonic(), None
