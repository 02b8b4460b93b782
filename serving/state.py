"""Everything that one serving process holds, and the loops that keep it fresh."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from contracts import entities, streams
from contracts.config import Config
from contracts.facts import ServingFacts
from contracts.settings import Settings
from contracts.streams import Streams
from serving.desk import Desk
from serving.follow import Follower
from serving.live import Live
from serving.wire import Wire

log = logging.getLogger(__name__)

_POLL_S = 0.1
_FACTS_S = 1.0
_TIMEOUT_S = 2.0


class State:
    """One serving process."""

    def __init__(self, config: Config, settings: Settings, address: str):
        self.config, self.settings, self.address = config, settings, address
        self.models = {name: Live(name, model) for name, model in config.models.items()}
        self.wire = Wire(settings.redis_url)
        entity_key = entities.key(settings)
        self.entity_key = entities.fingerprint(entity_key)
        self.desk = Desk(self.wire, entity_key)
        # One quick retry: enough to replace a connection that died while idle, and no wait while Redis is away.
        self.client = streams.connect(settings.redis_url, _TIMEOUT_S, retry=Retry(NoBackoff(), 1))
        self.redis = redis.asyncio.Redis.from_url(settings.redis_url, socket_timeout=_TIMEOUT_S)
        self.follower = Follower(self.client, self.models.values(), settings.release_folder)
        # Of its own: one step at a time, also when a step is still under way as the process leaves.
        self._thread = ThreadPoolExecutor(1, "follow")

    @property
    def doors(self) -> dict[bytes, Live]:
        """The model behind each predict URL."""
        return {f"/models/{name}/predict".encode(): live for name, live in self.models.items()}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follows Redis in the background; on entry the champions serve, as far as they are known."""
        beside = partial(asyncio.get_running_loop().run_in_executor, self._thread)
        await beside(self._start)
        wire = asyncio.create_task(self.wire.keep())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while not self.wire.connected:
                    await asyncio.sleep(0.005)
        following = asyncio.create_task(self._follow(beside))
        try:
            yield
        finally:
            for task in (following, wire):
                task.cancel()
            await asyncio.gather(following, wire, return_exceptions=True)
            await beside(self._leave)
            self._thread.shutdown()
            await self.redis.aclose()
            self.client.close()

    def _start(self) -> None:
        try:
            self.follower.step()
        except redis.RedisError as error:
            log.warning("starts without redis error=%s", error)
        self.follower.start_from_copies()

    async def _follow(self, beside: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        told_at, away = 0.0, False
        while True:
            try:
                await beside(self.follower.step)
                if time.monotonic() - told_at >= _FACTS_S:
                    told_at = time.monotonic()
                    await beside(self._tell)
                away = False
            except redis.RedisError as error:
                if not away:
                    log.warning("cannot follow the board error=%s", error)
                away = True
            except Exception:
                log.exception("following failed; trying again")
            await asyncio.sleep(_POLL_S)

    def _tell(self) -> None:
        for live in self.models.values():
            Streams(self.client, live.name).set_fact(f"serving:{self.address}", self.facts(live))

    def facts(self, live: Live) -> ServingFacts:
        served = live.served
        return ServingFacts(
            at=time.time(),
            address=self.address,
            pid=os.getpid(),
            version=served.version if served else None,
            revision=served.revision if served else 0,
            provider=served.provider if served else "",
            refused=live.refused,
            answered=live.counts.answered,
            unlogged=live.counts.unlogged,
            entity_key=self.entity_key,
            versions={version: tally.facts() for version, tally in live.counts.versions.items()},
        )

    def _leave(self) -> None:
        """Keeps what serves, and takes this process's facts away, so that nobody mistakes it for a stale one."""
        self.follower.keep_copies()
        with contextlib.suppress(redis.RedisError):
            for name in self.models:
                self.client.hdel(streams.key(name, "facts"), f"serving:{self.address}")
