"""Asks a running instance first and answers it later, as the world does.

Rows are asked in order over HTTP. Each label is held back, for a number of rows or of seconds, and then given through
the feedback API until it is accepted. What was asked, answered and accepted is counted; nothing is dropped in silence.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp

from contracts.schema import class_text
from data.record import Asked, Result
from data.streams import Row

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_CAUGHT_UP_S = 1.0
"""After a pause, at most so much of what a rate would have asked meanwhile is asked at once."""
_MOST_UNDELIVERED = 100
"""Labels that are due and not yet accepted, above which asking waits, so that a delay in rows stays what it says."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to replay. Exactly one delay counts: seconds where given, else rows."""

    url: str
    """Of the instance, such as http://127.0.0.1:8700."""
    model: str
    delay_rows: int = 200
    delay_s: float | None = None
    rate: float | None = None
    """Rows asked per second; None is as fast as answers come."""
    limit: int | None = None
    concurrency: int = 1
    """Questions on their way at once; above 1 neighbours may be logged in another order."""
    patience_s: float = 60.0
    """How long a question is asked again while nobody answers at all."""
    reporter: str = "replay"
    entity: str | None = None
    """A feature whose value, as text, also names whom each question is about; a row without it names nobody."""


class Replay:
    """One replay. `run` returns when every row is asked and every label accepted; see `stop` and `abandon`."""

    def __init__(self, plan: Plan, rows: Iterable[Row], on_progress: Callable[[Result], None] | None = None):
        self.plan, self._rows = plan, rows
        self.rate = plan.rate
        """Rows per second from now on; may be changed while it runs."""
        self._next_at = 0.0
        self._on_progress = on_progress or (lambda result: None)
        self.result = Result()
        self._held: deque[Asked] = deque()
        self._due: deque[Asked] = deque()
        self._stopping = asyncio.Event()
        self._abandoned = asyncio.Event()
        self._asking = True
        self._feedback_away = False
        self._something_due = asyncio.Event()

    def stop(self) -> None:
        """Asks nothing more; the labels that are still held back are given at once."""
        self._stopping.set()
        self._something_due.set()

    def abandon(self) -> None:
        """Gives nothing more either: `run` returns and counts what is outstanding."""
        self.stop()
        self._abandoned.set()

    async def run(self) -> Result:
        self.result.started_at = time.time()
        begin = time.perf_counter()
        timeout = aiohttp.ClientTimeout(total=30, connect=5)
        connector = aiohttp.TCPConnector(limit=self.plan.concurrency + 1, keepalive_timeout=60)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as self._session:
            giving = asyncio.create_task(self._give())
            try:
                await self._ask_all()
            finally:
                self._asking = False
                self._something_due.set()
                await giving
                self.result.seconds = time.perf_counter() - begin
                self.result.outstanding = len(self._held) + len(self._due)
                self._on_progress(self.result)
        return self.result

    async def _ask_all(self) -> None:
        on_their_way: deque[asyncio.Task[Asked]] = deque()
        self._next_at = time.perf_counter()
        for number, (features, label) in enumerate(self._rows):
            if number == self.plan.limit or not await self._may_ask():
                break
            asked = Asked(number, label)
            self.result.asked += 1
            on_their_way.append(asyncio.create_task(self._ask(asked, features)))
            if len(on_their_way) >= self.plan.concurrency:
                self._hold(await on_their_way.popleft())
        while on_their_way:
            self._hold(await on_their_way.popleft())

    async def _may_ask(self) -> bool:
        """Waits until the next row's turn; False when there will be none."""
        if self.rate:
            now = time.perf_counter()
            self._next_at = max(self._next_at + 1 / self.rate, now - _CAUGHT_UP_S)
            if self._next_at > now:
                await _wait(self._stopping, self._next_at - now)
        while len(self._due) > _MOST_UNDELIVERED and not self._feedback_away and not self._stopping.is_set():
            await asyncio.sleep(0.001)
        return not self._stopping.is_set()

    async def _ask(self, asked: Asked, features: dict[str, Any]) -> Asked:
        url = f"{self.plan.url}/models/{self.plan.model}/predict"
        asked.asked_at = time.time()
        give_up_at = time.perf_counter() + self.plan.patience_s
        question: dict[str, Any] = {"features": features}
        if self.plan.entity in features:
            question["entity_id"] = str(features[self.plan.entity])
        pause_s = _FIRST_PAUSE_S
        while True:
            begin = time.perf_counter()
            status, body = await self._post(url, question)
            if status == 200:
                asked.latency_s = time.perf_counter() - begin
                self._read_answer(asked, body)
                return asked
            if 400 <= status < 500 and status not in (408, 429):
                self.result.refused += 1
                return asked
            if self._stopping.is_set() or time.perf_counter() > give_up_at:
                self.result.unanswered += 1
                return asked
            await _wait(self._stopping, pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _read_answer(self, asked: Asked, body: dict[str, Any]) -> None:
        asked.prediction_id, asked.answer = body.get("prediction_id"), body.get("label")
        asked.version, asked.revision = body.get("version"), body.get("revision")
        if "value" in body:
            asked.answer = body["value"]
            self.result.is_value = True
            asked.loss = abs(float(asked.answer) - float(asked.label))
        else:
            asked.loss = float(class_text(asked.answer) != class_text(asked.label))
        self.result.answered += 1
        self.result.unlogged += asked.prediction_id is None

    def _hold(self, asked: Asked) -> None:
        """Keeps a label back, and frees the one whose delay in rows is over."""
        self.result.rows.append(asked)
        self._held.append(asked)
        if self.plan.delay_s is None and len(self._held) > self.plan.delay_rows:
            self._free()
        self._something_due.set()
        self._on_progress(self.result)

    def _free(self) -> None:
        asked = self._held.popleft()
        if asked.prediction_id is not None:
            self._due.append(asked)

    async def _give(self) -> None:
        """Gives labels in the order of their questions until asking has ended and none is left."""
        while not self._abandoned.is_set():
            self._free_by_time()
            if self._due:
                await self._give_one(self._due[0])
                continue
            if not self._asking and not self._held:
                return
            await self._next_due()

    def _free_by_time(self) -> None:
        """Frees what its delay in seconds has passed, or everything when there is nothing to wait for."""
        now, delay_s = time.time(), self.plan.delay_s
        at_once = self._stopping.is_set() or (delay_s is None and not self._asking)
        while self._held and (at_once or (delay_s is not None and self._held[0].asked_at + delay_s <= now)):
            self._free()

    async def _next_due(self) -> None:
        self._something_due.clear()
        pause_s = 1.0
        if self.plan.delay_s is not None and self._held:
            pause_s = max(0.0, self._held[0].asked_at + self.plan.delay_s - time.time())
        await _wait(self._something_due, pause_s)

    async def _give_one(self, asked: Asked) -> None:
        """Gives one label until somebody takes it; only `abandon` ends that."""
        asked.labeled_at = asked.labeled_at or time.time()
        body = {
            "prediction_id": asked.prediction_id,
            "label": asked.label,
            "reporter": self.plan.reporter,
            "labeled_at": asked.labeled_at,
        }
        pause_s = _FIRST_PAUSE_S
        while not self._abandoned.is_set():
            status, receipt = await self._post(f"{self.plan.url}/models/{self.plan.model}/feedback", body)
            if 200 <= status < 300 or (400 <= status < 500 and status not in (408, 429)):
                unknown = "unknown" if status in (404, 410) else "refused"
                asked.feedback = str(receipt.get("status", "accepted")) if status < 300 else unknown
                self.result.feedback[asked.feedback] += 1
                self._due.popleft()
                self._feedback_away = False
                self._on_progress(self.result)
                return
            self._feedback_away = True
            await _wait(self._abandoned, pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _post(self, url: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """(status, body); status 0 when nobody answered. Every failure is counted by its kind."""
        try:
            async with self._session.post(url, json=body) as response:
                status, text = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.result.count_error(type(error).__name__)
            return 0, {}
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self.result.count_error(f"{status} without JSON: is this a Tiltyard?")
            return (0 if status < 300 else status), {}
        if status >= 400:
            self.result.count_error(_kind(status, answer))
        return status, answer


def _kind(status: int, answer: dict[str, Any]) -> str:
    error = answer.get("error")
    if not isinstance(error, dict):
        return str(status)
    where = f"{error['field']}: " if error.get("field") else ""
    return f"{status} {where}{error.get('reason', '')}"[:160]


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, or the time has passed."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
