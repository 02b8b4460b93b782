"""Somebody who gives no question and no label up: asks, labels later, and remembers every promise."""

import asyncio
import heapq
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import redis

from contracts import events, streams
from contracts.events import Feedback, Prediction
from flows.place import Place
from tests.flows.world import question

AGAIN_S = 0.05
PATIENCE_S = 300.0  # beyond any restart
TIMEOUT = aiohttp.ClientTimeout(total=20, connect=5)
Labels = Iterator[tuple[float, str]]
Given = Sequence[tuple[str, str]]
"""(prediction id, label)."""


class Http(AbstractAsyncContextManager["Http"]):
    """Questions and labels over HTTP, one a request."""

    def __init__(self, url: str, connections: int = 12):
        self.url, self.width, self.at_once = url, connections, 1
        self.repeated = self.unlogged = 0

    async def __aenter__(self) -> "Http":
        self._session = aiohttp.ClientSession(timeout=TIMEOUT, connector=aiohttp.TCPConnector(limit=self.width))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, numbers: Sequence[int]) -> list[str]:
        """Prediction ids: an answer without one is asked for again."""
        return [await self._asked(n) for n in numbers]

    async def _asked(self, n: int) -> str:
        (x, c), give_up_at = question(n).row, time.monotonic() + PATIENCE_S
        while True:
            status, body = await self._post("predict", {"features": {"x": x, "c": c}})
            if status == 200 and body["prediction_id"] is not None:
                return str(body["prediction_id"])
            self.unlogged += status == 200
            await self._pause(status, body, give_up_at)

    async def give(self, labels: Given) -> list[str]:
        """Receipts: a label is given until there is one."""
        return [await self._given(id_, label) for id_, label in labels]

    async def _given(self, id_: str, label: str) -> str:
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            status, body = await self._post("feedback", {"prediction_id": id_, "label": label})
            if status == 202:
                return str(body["feedback_id"])
            await self._pause(status, body, give_up_at)

    async def _pause(self, status: int, body: Any, give_up_at: float) -> None:
        assert status in (0, 200, 503), f"a sound request got {status}: {body}"
        assert time.monotonic() < give_up_at, f"no answer for {PATIENCE_S:g} s: {status} {body}"
        self.repeated += 1
        await asyncio.sleep(AGAIN_S)

    async def _post(self, verb: str, body: dict[str, Any]) -> tuple[int, Any]:
        """(0, why) when nobody answered."""
        try:
            async with self._session.post(f"{self.url}/{verb}", json=body) as response:
                return response.status, await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0, repr(error)


class Direct(AbstractAsyncContextManager["Direct"]):
    """The same entries as serving writes them, many in one round trip: what HTTP would take too long for."""

    def __init__(self, place: Place, at_once: int = 200):
        self.place, self.width, self.at_once = place, 1, at_once
        self.repeated = 0

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def ask(self, numbers: Sequence[int]) -> list[str]:
        return await asyncio.to_thread(self._until_done, self._asked, numbers)

    def _asked(self, pipeline: Any, numbers: Sequence[int]) -> None:
        champion, fingerprint = self.place.releases.board().champion, self.place.schema.fingerprint
        for n in numbers:
            asked, p = question(n), random.Random(n).random()
            event = Prediction(champion or 0, 0, (1 - p, p), asked.row, fingerprint)
            pipeline.xadd(self.place.streams.key("predictions"), {"e": events.encode(event)})

    async def give(self, labels: Given) -> list[str]:
        return [receipt[1] for receipt in await asyncio.to_thread(self._until_done, self._given, labels)]

    def _given(self, pipeline: Any, labels: Given) -> None:
        for id_, label in labels:
            keys, arguments = streams.feedback_call("m", Feedback(id_, label), 86_400)
            pipeline.eval(streams.ADD_FEEDBACK, len(keys), *keys, *arguments)

    def _until_done(self, fill: Callable[[Any, Any], None], what: Sequence[Any]) -> list[Any]:
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                pipeline = self.place.client.pipeline(transaction=False)
                fill(pipeline, what)
                return [_text(answer) for answer in pipeline.execute()]
            except redis.RedisError:
                if time.monotonic() > give_up_at:
                    raise
                self.repeated += 1
                time.sleep(AGAIN_S)


def _text(answer: Any) -> Any:
    return answer.decode() if isinstance(answer, bytes) else [part.decode() for part in answer]


@dataclass
class Client:
    """Asks question after question by one way, and gives each its labels when their time has come."""

    way: Http | Direct
    questions: int
    first: int = 0
    """Number of the first one."""
    share: Callable[[], float] = lambda: 1.0
    """The share of the questions that may have been asked by now."""
    maturity_s: float = 2.0
    asked: int = 0
    answered: list[str] = field(default_factory=list)
    """Every prediction id that was given to this client."""
    receipts: list[str] = field(default_factory=list)
    """The feedback id of every label that was accepted."""
    given: dict[str, list[str]] = field(default_factory=dict)
    """Labels that were accepted, by prediction id, in the order in which they were given."""
    _due: list[tuple[float, str, str, Labels]] = field(default_factory=list)
    _busy: int = 0

    async def run(self) -> None:
        """Returns when every question is asked and every label accepted."""
        async with self.way:
            await asyncio.gather(*(self._work() for _ in range(self.way.width)))

    async def _work(self) -> None:
        while self.asked < self.questions or self._due or self._busy:
            self._busy += 1
            worked = await self._give() or await self._ask()
            self._busy -= 1
            if not worked:
                await asyncio.sleep(0.01)

    async def _ask(self) -> bool:
        room = int(self.questions * min(1.0, self.share())) - self.asked
        numbers = range(self.first + self.asked, self.first + self.asked + min(room, self.way.at_once))
        self.asked += len(numbers)
        if numbers:
            for n, id_ in zip(numbers, await self.way.ask(numbers), strict=True):
                self.answered.append(id_)
                self._await_label(id_, labels_of(n, self.maturity_s))
        return bool(numbers)

    async def _give(self) -> bool:
        now, taken = time.monotonic(), list[tuple[float, str, str, Labels]]()
        while self._due and self._due[0][0] <= now and len(taken) < self.way.at_once:
            taken.append(heapq.heappop(self._due))
        if taken:
            receipts = await self.way.give([(id_, label) for _, id_, label, _ in taken])
            for receipt, (_, id_, label, labels) in zip(receipts, taken, strict=True):
                self.receipts.append(receipt)
                self.given.setdefault(id_, []).append(label)
                self._await_label(id_, labels)
        return bool(taken)

    def _await_label(self, id_: str, labels: Labels) -> None:
        for delay_s, label in labels:
            heapq.heappush(self._due, (time.monotonic() + delay_s, id_, label, labels))
            return


def labels_of(n: int, maturity_s: float) -> Labels:
    """(seconds after the one before, label): most come soon, some after maturity, some never; some are corrected."""
    rng, right = random.Random(f"labels:{n}"), question(n).label
    wrong = "false" if right == "true" else "true"
    if rng.random() < 0.02:
        return
    draw = rng.random()
    delay_s = rng.expovariate(2 / maturity_s) if draw < 0.95 else maturity_s * rng.uniform(1, 2)
    corrections = 0 if (draw := rng.random()) >= 0.02 else 2 if draw < 0.002 else 1
    for left in range(corrections, -1, -1):
        yield delay_s, wrong if left % 2 else right
        delay_s = maturity_s * (rng.uniform(0, 0.3) if rng.random() < 0.5 else rng.uniform(1.5, 5))
