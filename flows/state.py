"""Everything that the learn loop must remember, in one small value that is checkpointed whole.

Labels that have not matured are not part of it: they can be read again from the streams, where they stay for longer
than that. What must not be decided twice is: which of them lacked an honest shadow score.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from contracts import events
from contracts.config import Model
from contracts.releases import PRIOR_VERSION
from contracts.streams import START
from contracts.votes import Votes
from learners.detectors import Detectors
from registry.tenure import Record

DELAYS_KEPT = 1_000
DELAY_STEPS = 20
SHORTEST_DELAY_S = 0.001


@dataclass(slots=True)
class Waiting:
    """The label of a prediction that has not matured."""

    at: int
    """`Example.at` of its example in the journal."""
    label: str | float


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
    timed_out: int = 0
    """Predictions without a label that were learned as negative."""


@dataclass
class Restated:
    """Corrections of matured labels whose ledger line is due: the evidence has moved already."""

    corrections: int = 0
    first_by: int = 0
    last_by: int = 0
    moved: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By challenger: pairs whose difference changed, and by how much in all."""

    def sentence(self) -> str:
        """For the ledger."""
        labels = "1 correction" if self.corrections == 1 else f"{self.corrections:,} corrections"
        pairs = sum(pairs for pairs, _ in self.moved.values())
        return f"{labels} of labels that were evidence already: {pairs:,} compared pairs were weighed anew."

    def numbers(self) -> dict[str, Any]:
        """What moved, by challenger: pairs, and the change of the summed difference (shares of the loss range)."""
        moved = {str(version): {"pairs": pairs, "change": total} for version, (pairs, total) in self.moved.items()}
        return {"corrections": self.corrections, "from": self.first_by, "through": self.last_by, "moved": moved}

    def add(self, by: int, moved: Mapping[int, float]) -> None:
        """One correction, and what it did to the difference of each challenger."""
        self.corrections += 1
        self.first_by, self.last_by = self.first_by or by, by
        for version, change in moved.items():
            pairs, total = self.moved.get(version, (0, 0.0))
            self.moved[version] = pairs + 1, total + change


@dataclass
class JoinState:
    """Evidence, counters, and the last feedback id: the offset of it all."""

    record: Record
    last_id: str = START
    matured_through: int = -1
    """Predictions with a smaller offset have matured."""
    negative_since: int | None = None
    """Predictions from this offset on are negative without a label; None while that is not the rule."""
    counts: Counts = field(default_factory=Counts)
    votes: dict[int, Votes] = field(default_factory=dict)
    """Of predictions with more than one label, by offset, for as long as labels are taken."""
    uncovered: set[int] = field(default_factory=set)
    """Labelled predictions without an honest shadow score, for as long as labels are taken."""
    delays_s: deque[float] = field(default_factory=lambda: deque(maxlen=DELAYS_KEPT))
    restated: Restated = field(default_factory=Restated)
    detectors: Detectors | None = None
    """On the champion's loss; None before the first save, and in older checkpoints."""
    names: dict[int, str] = field(default_factory=lambda: {PRIOR_VERSION: "prior"})
    """The learner behind each version ever seen; releases of retired ones are gone."""

    @classmethod
    def fresh(cls, model: Model) -> "JoinState":
        return cls(Record(model.gate, model.loss))

    def detect(self, names: Sequence[str]) -> None:
        """Shows the detectors of these names what has matured since the last time."""
        record, self.detectors = self.record, self.detectors or Detectors()
        self.detectors.follow((record.champion, record.since), names, record.watch.taken())

    def delay_quantiles(self) -> tuple[float, float, float] | None:
        if not self.delays_s:
            return None
        median, p90, p99 = np.quantile(np.array(self.delays_s), [0.5, 0.9, 0.99])
        return float(median), float(p90), float(p99)

    def delay_steps(self) -> tuple[tuple[float, float, int], ...]:
        """(from s, to s, labels) between the shortest and the longest delay, each step as many times as long."""
        if not self.delays_s:
            return ()
        delays_s = np.maximum(np.array(self.delays_s), SHORTEST_DELAY_S)
        shortest_s, longest_s = delays_s.min(), max(delays_s.max(), 1.2 * delays_s.min())
        edges_s = np.geomspace(shortest_s, longest_s, DELAY_STEPS + 1)
        counts, _ = np.histogram(np.clip(delays_s, edges_s[0], edges_s[-1]), edges_s)
        return tuple(zip(edges_s[:-1].tolist(), edges_s[1:].tolist(), counts.tolist(), strict=True))

    def forget_before(self, offset: int) -> None:
        """Drops what no label can refer to any more."""
        self.votes = {at: votes for at, votes in self.votes.items() if at >= offset}
        self.uncovered = {at for at in self.uncovered if at >= offset}
        self.record.forget_before(events.seconds_at(offset))
