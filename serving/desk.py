"""Questions that arrive together are scored together, logged in one round trip, and only then answered."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from contracts import entities, events, streams
from contracts.events import Prediction
from contracts.schema import Value
from serving.counts import Tally
from serving.live import Live
from serving.model import Scores, Served, finite
from serving.refusal import Refusal
from serving.wire import Away, Reply, Wire

log = logging.getLogger(__name__)

Answer = Callable[[int, bytes], None]
"""Takes an HTTP status and a JSON body; called once for each question."""


class Desk:
    """Collects questions for one turn of the event loop. What entities are called goes no further than here."""

    def __init__(self, wire: Wire, entity_key: bytes):
        self._wire, self._entity_key = wire, entity_key
        self._turn: dict[Live, list[_Asked]] = {}

    def ask(self, live: Live, body: bytes | bytearray, answer: Answer) -> None:
        """Answers a predict request, now or in a later turn. What cannot be read is refused and not logged."""
        try:
            row, entity_id = live.form.read(body)
        except Refusal as refusal:
            live.counts.refusals[refusal.status] += 1
            answer(refusal.status, refusal.body)
            return
        if not self._turn:
            asyncio.get_running_loop().call_soon(self._score_turn)
        entity = None if entity_id is None else entities.masked(self._entity_key, live.name, entity_id)
        self._turn.setdefault(live, []).append(_Asked(live, row, entity, answer, self._wire))

    def _score_turn(self) -> None:
        turn, self._turn = self._turn, {}
        for live, asked in turn.items():
            self._score(live, asked)
        self._wire.flush()

    def _score(self, live: Live, asked: "list[_Asked]") -> None:
        served = live.served
        if served is None:
            for question in asked:
                question.refuse(not_ready(live))
            return
        tally = live.counts.of(served.version)
        for question, scores in zip(asked, _score_timed(served, [each.row for each in asked], tally), strict=True):
            if isinstance(scores, Exception) or not finite(scores):
                if tally.fail(question.row, raised=isinstance(scores, Exception)):
                    log.error("gave no finite score model=%s version=%d got=%r", live.name, served.version, scores)
                question.refuse(Refusal(500, f"version {served.version} gives no finite score for this question"))
                continue
            question.served, question.scores, question.tally = served, scores, tally
            event = Prediction(
                served.version, served.revision, scores, question.row, live.schema.fingerprint, question.entity
            )
            self._wire.send(question.logged, b"XADD", live.stream, b"*", events.FIELD, events.encode(event))


class _Asked:
    """A question on its way to its answer."""

    __slots__ = ("answer", "at", "entity", "live", "row", "scores", "served", "tally", "wire")

    def __init__(self, live: Live, row: tuple[Value, ...], entity: str | None, answer: Answer, wire: Wire):
        self.live, self.row, self.entity, self.answer, self.wire = live, row, entity, answer, wire
        self.at = time.perf_counter()
        self.served: Served
        self.scores: Scores
        self.tally: Tally

    def refuse(self, refusal: Refusal) -> None:
        self.live.counts.refusals[refusal.status] += 1
        self.answer(refusal.status, refusal.body)

    def logged(self, reply: Reply) -> None:
        """Answers, with the entry's id or, when Redis did not take the entry, without one."""
        prediction_id = None if isinstance(reply, Away) else reply.decode()
        column = self.live.form.column(self.scores)
        self.tally.by_class[column] += 1
        body = self.live.form.write(self.served, self.scores, column, prediction_id)
        self.live.counts.answer(time.perf_counter() - self.at, prediction_id is not None)
        self.answer(200, body)
        if prediction_id is not None and (command := streams.next_millisecond(self.live.stream, reply)):
            self.wire.send(_ignored, *command)


def _ignored(_: Reply) -> None:
    """Refused where another process was quicker."""


def not_ready(live: Live) -> Refusal:
    why = live.refused or "no champion was published yet"
    return Refusal(503, f"{live.name} cannot answer: {why}", headers={"Retry-After": "1"})


def _score_timed(served: Served, rows: Sequence[tuple[Value, ...]], tally: Tally) -> Sequence[Scores | Exception]:
    cpu, began = time.thread_time() if tally.suspect else None, time.perf_counter()
    scored = _score_each(served, rows)
    tally.turn(time.perf_counter() - began, None if cpu is None else time.thread_time() - cpu)
    return scored


def _score_each(served: Served, rows: Sequence[tuple[Value, ...]]) -> Sequence[Scores | Exception]:
    """Scores together; when that fails, one by one, so that a question fails for itself only."""
    try:
        return served.score(rows)
    except Exception as error:  # noqa: BLE001  # onnxruntime raises many types, none of them public
        return [error] if len(rows) == 1 else [_score_each(served, [row])[0] for row in rows]
