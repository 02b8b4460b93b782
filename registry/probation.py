"""The watch on a champion: against the version before it, which decides a rollback, and against its own past."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from contracts.facts import WatchFacts
from registry.losses import Floats
from registry.rollback import Detector

TOLERANCE = 0.01  # share of the loss range by which a champion may do worse than it did, before anybody is told
ALPHA = 0.05
BLOCK = 20  # losses to a mean: River's detectors cost up to a microsecond each time they are fed


@dataclass
class Watch:
    """Of one tenure. Both detectors read matured pairs in prediction order, and corrections move neither."""

    against_previous: Detector = field(default_factory=Detector)
    """z = (champion's loss - former champion's loss) / range: its alarm is a rollback."""
    against_past: Detector = field(default_factory=Detector)
    """z = champion's loss / range - limit: its alarm is a message, since the world may have changed for everybody."""
    limit: float | None = None
    """Share of the loss range; None until enough is known of the champion."""
    means: tuple[float, ...] = ()
    """Of blocks of the champion's losses, as shares of the range, that nobody has taken yet."""
    _first: list[float] = field(default_factory=list)
    _rest: tuple[float, ...] = ()

    def compare(self, d: Floats) -> None:
        """Paired differences float64[n] of the former champion as a challenger; none is NaN."""
        self.against_previous.add_many(d)

    def follow(self, losses: Floats, enough: int) -> None:
        """The champion's own losses float64[n], as shares of the range; the first `enough` set the limit."""
        waiting = (*self._rest, *losses.tolist())
        ends = range(BLOCK, len(waiting) + 1, BLOCK)
        self.means += tuple(math.fsum(waiting[end - BLOCK : end]) / BLOCK for end in ends)
        self._rest = waiting[len(ends) * BLOCK :]
        if self.limit is None:
            missing = enough - len(self._first)
            self._first += losses[:missing].tolist()
            losses = losses[missing:]
            if len(self._first) == enough:
                self.limit, self._first = limit_of(self._first), []
        if self.limit is not None:
            self.against_past.add_many(np.clip(losses - self.limit, -1.0, 1.0))

    def taken(self) -> tuple[float, ...]:
        """The means, once each."""
        means, self.means = self.means, ()
        return means

    def facts(self, version: int | None, since: int, previous: int | None) -> WatchFacts:
        """Of the champion that reigns since an offset, and the one before it, while it is under probation."""
        ours, past = self.against_previous, self.against_past
        return WatchFacts(
            version=version,
            since=since,
            previous=previous,
            n=ours.n,
            log_r=ours.log_r if ours.n else 0.0,
            needed=math.log(ours.threshold),
            alarmed_at=ours.alarmed_at,
            limit=self.limit,
            worse_than_itself_at=past.alarmed_at,
        )


def limit_of(losses: Sequence[float]) -> float:
    """Upper bound of the mean of losses in [0, 1] (Hoeffding, 95 %), and what is tolerated beyond it."""
    mean = math.fsum(losses) / len(losses)
    return min(1.0, mean + math.sqrt(math.log(1 / ALPHA) / (2 * len(losses))) + TOLERANCE)
