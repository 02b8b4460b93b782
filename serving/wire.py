"""One pipelined connection to Redis for what must be written before an answer is given.

A client library's command path costs more than the append itself (see benchmarks/predict.py), so commands are packed by
hiredis and written once per turn of the event loop. While Redis is away everything fails at once, and is counted.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.connection import parse_url

log = logging.getLogger(__name__)

Reply = Any
Done = Callable[[Reply], None]

_TICK_S = 0.05
_RETRY_S = (0.05, 1.0)


class Away(Exception):
    """Redis did not take the command: no connection, no reply in time, or an error reply."""


class Wire:
    """Sends commands in order and hands each one's reply, or an `Away`, to its callback."""

    def __init__(self, url: str, silence_s: float = 1.0):
        self._place: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
        self._silent_ticks = max(1, round(silence_s / _TICK_S))
        self._line: _Line | None = None

    @property
    def connected(self) -> bool:
        return self._line is not None and self._line.lost is None

    def send(self, done: Done, *command: bytes) -> None:
        """Queues a command until `flush`. `done` gets the reply or an Away, and may be called at once."""
        if self._line is None:
            done(Away("there is no connection"))
        else:
            self._line.send(done, command)

    def flush(self) -> None:
        if self._line is not None:
            self._line.flush()

    async def call(self, *command: bytes) -> Reply:
        """The reply to one command. Raises Away."""
        if self._line is None:
            raise Away("there is no connection")
        return await self._line.call(*command)

    async def keep(self) -> None:
        """Connects, and connects again whenever the line is lost, until cancelled."""
        wait_s, told = _RETRY_S[0], ""
        while True:
            try:
                line = await self._open()
            except (OSError, TimeoutError, Away, hiredis.ProtocolError) as error:
                if told != (told := repr(error)):
                    log.warning("cannot connect to redis error=%s", told)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _RETRY_S[1])
                continue
            wait_s, self._line = _RETRY_S[0], line
            log.info("connected to redis")
            try:
                await self._watch(line)
            finally:
                self._line = None
                line.drop()
            log.warning("lost redis reason=%s", line.lost)

    async def _open(self) -> "_Line":
        """A line that has answered PING. Raises OSError, TimeoutError or Away."""
        loop, place = asyncio.get_running_loop(), self._place
        line = _Line()
        async with asyncio.timeout(1.0):
            if path := place.get("path"):
                await loop.create_unix_connection(lambda: line, path)
            else:
                secure = ssl.create_default_context() if "connection_class" in place else None
                await loop.create_connection(
                    lambda: line, place.get("host", "localhost"), place.get("port", 6379), ssl=secure
                )
            try:
                for command in self._greeting():
                    await line.call(*command)
            except BaseException:
                line.drop()
                raise
        return line

    def _greeting(self) -> list[tuple[str, ...]]:
        place = self._place
        greeting: list[tuple[str, ...]] = []
        if password := place.get("password"):
            greeting.append(("AUTH", *([user] if (user := place.get("username")) else []), password))
        if database := place.get("db"):
            greeting.append(("SELECT", str(database)))
        return [*greeting, ("PING",)]

    async def _watch(self, line: "_Line") -> None:
        """Returns when the line is lost, or silent while it owes a reply.

        Counts ticks, not seconds: when this process itself stalls, the reply lies unread and Redis is not to blame.
        """
        silent, seen = 0, line.replies
        while line.lost is None:
            await asyncio.sleep(_TICK_S)
            silent = silent + 1 if line.waiting and line.replies == seen else 0
            seen = line.replies
            if silent >= self._silent_ticks:
                line.lose(f"{len(line.waiting)} commands got no reply for {silent * _TICK_S:.2f} s")


class _Line(asyncio.Protocol):
    """One connection: replies come in the order of the commands."""

    def __init__(self) -> None:
        self.waiting: deque[Done] = deque()
        self.replies = 0
        self.lost: str | None = None
        self._unsent: list[bytes] = []
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.lose(str(error or "closed by Redis"))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self.replies += 1
                error = isinstance(reply, hiredis.ReplyError)
                self.waiting.popleft()(Away(str(reply)) if error else reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self.lose(f"not a reply: {error}")

    def send(self, done: Done, command: tuple[Any, ...]) -> None:
        if self.lost is not None:
            done(Away(self.lost))
            return
        self.waiting.append(done)
        self._unsent.append(hiredis.pack_command(command))

    def flush(self) -> None:
        if self._unsent and self._transport is not None:
            self._transport.write(b"".join(self._unsent))
            self._unsent.clear()

    async def call(self, *command: bytes | str) -> Reply:
        """The reply to one command. Raises Away."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.send(lambda reply: None if future.done() else future.set_result(reply), command)
        self.flush()
        if isinstance(reply := await future, Exception):
            raise reply
        return reply

    def lose(self, reason: str) -> None:
        """Closes at once and fails what waits: with a reply missing, later ones cannot be told apart."""
        if self.lost is None:
            self.lost = reason
        self.drop()
        while self.waiting:
            self.waiting.popleft()(Away(reason))

    def drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()
