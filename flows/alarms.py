"""What may be said of a version without labels: that it fails too often, and that its answers have jumped.

Both are looked at all the time, so both are bounds that hold at any time, as in `registry.evidence`.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from registry.evidence import LOG_WEIGHT, STAKES, Evidence

ODDS = 1e8
"""What it takes to alarm. A version that fails exactly as often as it may, and for ever, alarms after so many looks on
average at the earliest: three years of one a second."""
BLOCK = 2_000
"""Pairs that are compared with those before. In half as many, one stormy day moved the answers of an online learner
far enough on a real stream of flights."""
LEAST = 200
"""Pairs without which there is nothing to compare with."""
_KNOWN = 0.05  # what is not certain about the block before; the evidence against it is `ODDS`
_STAKES = (0.25, 1.0, 4.0, 16.0)
_QUARTERS = (0.25, 0.5, 0.75)

Scores = tuple[float, ...]


class Excess:
    """Alarms when more than a share `limit` of the events is bad.

    For events in {0, 1} with a conditional chance of at most `limit`, (1 + s)^bad exp(-n s limit) is a non-negative
    supermartingale for any stake s > 0, because 1 + s p <= exp(s p). One begins at each look and all are summed, as in
    `registry.rollback`: the sum's mean is at most the number of looks, so that the mean number of looks to a false
    alarm is at least `odds`, under any dependence, however many events a look has.
    """

    def __init__(self, limit: float, odds: float = ODDS):
        self.limit, self._needed = limit, math.log(odds)
        self._log_r = np.full(len(_STAKES), -np.inf)
        self._won, self._spent = np.log1p(_STAKES), np.array(_STAKES) * limit

    def add(self, n: int, bad: int) -> bool:
        """Counts the events of one look, `bad` among them; tells whether it alarms now."""
        if n:
            begun = np.logaddexp(self._log_r, -math.log(len(_STAKES)))
            self._log_r = begun + bad * self._won - n * self._spent
        return bool(np.logaddexp.reduce(self._log_r) >= self._needed)


class Agreement:
    """How two versions answered the same questions: [k, k] counts, the watched one's class by row."""

    def __init__(self, classes: int):
        self.counts: npt.NDArray[np.int64] = np.zeros((classes, classes), np.int64)

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def shares(self, of: int) -> npt.NDArray[np.float64]:
        """Share of each class, of the watched version (0) or of the other (1)."""
        shares: npt.NDArray[np.float64] = self.counts.sum(axis=1 - of) / max(1, self.n)
        return shares

    def evidence(self, k: int) -> Evidence:
        """About the share of class k, the watched version's minus the other's."""
        both = int(self.counts[k, k])
        return Evidence.of_counts(self.n, int(self.counts[k].sum()) - both, int(self.counts[:, k].sum()) - both)


class Jump(NamedTuple):
    """A class whose share jumped, and the shares of both versions before and now."""

    k: int
    n: int
    before: float
    now: float
    other_before: float
    other_now: float


class Shift:
    """Watches the shares of a version's classes beside those of another one that is asked the same.

    What is asked may change; then both change alike. So the difference between the two is compared, block by block:
    each `BLOCK` different questions with those before the last ones, so that a jump in the middle of a block is seen
    whole from the next. Values count by the quarter of the other version's values that they fall into. In a block, a
    jump of no more than `limit` alarms with a chance of 1/`odds`.
    """

    def __init__(self, classes: int, limit: float, odds: float = ODDS):
        """`classes` is 0 for a value."""
        self.limit, self._classes, self._odds = limit, classes, odds
        self._edges: list[float] | None = None
        self._early: list[tuple[Hashable, Scores, Scores]] = []
        self.past: deque[Agreement] = deque(maxlen=2)
        self.block, self._seen = self._fresh()

    def learn_before(self, pairs: Sequence[tuple[Hashable, Scores, Scores]]) -> None:
        """Takes what the two answered until now, if that is enough, as a block before."""
        if len(pairs) >= LEAST:
            self._count(pairs)
            self._turn()

    def add(self, pairs: Iterable[tuple[Hashable, Scores, Scores]]) -> Jump | None:
        """Counts (question, watched version's scores, the other's); tells of a jump of the watched one."""
        self._count(pairs)
        found = self._jump(self.past[0]) if self.past and self.block.n else None
        if found is not None or self.block.n >= BLOCK:
            self._turn()
        return found

    def _fresh(self) -> tuple[Agreement, set[Hashable]]:
        return Agreement(self._classes or len(_QUARTERS) + 1), set()

    def _turn(self) -> None:
        self.past.append(self.block)
        self.block, self._seen = self._fresh()

    def _count(self, pairs: Iterable[tuple[Hashable, Scores, Scores]]) -> None:
        for question, ours, theirs in self._cut(pairs):
            key = (question, a := self._class(ours), b := self._class(theirs))
            if key not in self._seen:  # who asks the same again and again changes no share
                self._seen.add(key)
                self.block.counts[a, b] += 1

    def _cut(self, pairs: Iterable[tuple[Hashable, Scores, Scores]]) -> Iterable[tuple[Hashable, Scores, Scores]]:
        """All pairs once values can be told apart by quarters; until then they wait."""
        if self._classes or self._edges is not None:
            return pairs
        self._early += pairs
        if len(self._early) < LEAST:
            return ()
        self._edges = np.quantile([theirs[0] for _, _, theirs in self._early], _QUARTERS).tolist()
        early, self._early = self._early, []
        return early

    def _class(self, scores: Scores) -> int:
        return scores.index(max(scores)) if self._edges is None else bisect_right(self._edges, scores[0])

    def _jump(self, before: Agreement) -> Jump | None:
        needed = math.log(self._odds * 2 * len(before.counts))
        (was, other_was), (now, other_now) = ([each.shares(0), each.shares(1)] for each in (before, self.block))
        for k in range(len(was)):
            lower, upper = before.evidence(k).bounds(_KNOWN)
            now_k = self.block.evidence(k)
            up = _log_odds(now_k.n, now_k.wins, now_k.losses, upper + self.limit)
            down = _log_odds(now_k.n, now_k.losses, now_k.wins, self.limit - lower)
            jumped = max(up, down) >= needed
            if jumped and abs(now[k] - was[k]) > abs(other_now[k] - other_was[k]):
                return Jump(k, self.block.n, *map(float, (was[k], now[k], other_was[k], other_now[k])))
        return None


def _log_odds(n: int, wins: int, losses: int, delta: float) -> float:
    """Evidence (log E) that the mean of n differences, so many of them 1 and -1, exceeds delta, which is above -1.

    1 + s (d - delta) has a mean of at most 1 for each stake s where the conditional mean of d is at most delta. That is
    less than `registry.evidence` asks for, the running mean, and finds a jump in half as many events.
    """
    if delta >= 1:
        return -math.inf
    stakes = STAKES / (1 + delta)
    won, lost, even = np.log1p(stakes * (1 - delta)), np.log1p(-stakes * (1 + delta)), np.log1p(-stakes * delta)
    exponents = LOG_WEIGHT + wins * won + losses * lost + (n - wins - losses) * even
    return float(np.logaddexp.reduce(exponents))
