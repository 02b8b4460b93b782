"""Everything that the learn loop must remember, in one value that is checkpointed whole."""

import heapq
import secrets
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from contracts import events
from contracts.config import Model
from contracts.releases import PRIOR_VERSION
from contracts.schema import Schema, Value
from contracts.streams import START
from learners.online import OnlineLearner
from registry.tenure import Matured, Record

DELAYS_KEPT = 1_000
GOLDEN_ROWS = 16


@dataclass
class Waiting:
    """A labelled prediction that has not matured."""

    offset: int
    asked_at: float
    answered_by: int
    scores: dict[int, tuple[float, ...]]
    label: str | float
    covered: bool


@dataclass
class Counts:
    """What became of the feedback that was read."""

    feedback: int = 0
    joined: int = 0
    orphans: int = 0
    duplicates: int = 0
    corrections: int = 0
    late: int = 0
    uncovered: int = 0
    dead_letters: int = 0


@dataclass
class LearnState:
    """Learners, evidence, labels that wait to mature, counters, and the last feedback id: the offset of it all."""

    learners: dict[str, OnlineLearner]
    record: Record
    last_id: str = START
    counts: Counts = field(default_factory=Counts)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    order: list[tuple[int, str]] = field(default_factory=list)
    """Heap over `waiting` by prediction offset."""
    delays_s: deque[float] = field(default_factory=lambda: deque(maxlen=DELAYS_KEPT))
    recent: deque[tuple[Value, ...]] = field(default_factory=lambda: deque(maxlen=GOLDEN_ROWS))
    """Newest rows learned from: the golden batch of the next revisions."""
    benched: dict[str, str] = field(default_factory=dict)
    """Why a learner no longer learns."""
    enrolled: dict[str, int] = field(default_factory=dict)
    """MLflow version of each registered learner."""
    names: dict[int, str] = field(default_factory=lambda: {PRIOR_VERSION: "prior"})
    """The learner behind each version ever seen; releases of retired ones are gone."""
    genesis: str = field(default_factory=lambda: secrets.token_hex(8))
    """Names this line of learners, so that a repeated registration finds the first one."""

    @classmethod
    def fresh(cls, model: Model) -> "LearnState":
        return cls({}, Record(model.gate, model.loss))

    def wait(self, id_: str, waiting: Waiting) -> None:
        self.waiting[id_] = waiting
        heapq.heappush(self.order, (waiting.offset, id_))

    def mature(self, until_s: float, schema: Schema) -> None:
        """Hands predictions asked at or before `until_s` to the record, in prediction order."""
        for waiting in self._due(until_s):
            label = waiting.label
            column = label if isinstance(label, float) else float(schema.label.index(label))
            self.record.add(
                Matured(waiting.offset, waiting.asked_at, waiting.answered_by, waiting.scores, column, waiting.covered)
            )

    def _due(self, until_s: float) -> Iterator[Waiting]:
        while self.order and events.seconds_at(self.order[0][0]) < until_s:
            yield self.waiting.pop(heapq.heappop(self.order)[1])

    def delay_quantiles(self) -> tuple[float, float, float] | None:
        if not self.delays_s:
            return None
        median, p90, p99 = np.quantile(np.array(self.delays_s), [0.5, 0.9, 0.99])
        return float(median), float(p90), float(p99)
