"""One challenger against the champion of this tenure: evidence, and what else a decision needs to know.

Everything is a sum over units of evidence, exactly retractable, so that it is the same in whatever batches it came.
"""

import math
import operator
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from registry.blocks import Blocks, Example
from registry.curves import STEP, Samples, thinned
from registry.evidence import Evidence, Moment, Point
from registry.losses import Floats

LAG_STEPS = 50

Draw = Callable[[Sequence[Moment]], list[Point]]
Bools = npt.NDArray[np.bool_]


class Pairs(NamedTuple):
    """Consecutive pairs of one challenger and the champion, by column: float64[n] unless said otherwise."""

    asked_at: Floats
    d: Floats
    """Paired differences; NaN where there is none."""
    is_labelled: Bools
    differ: Bools
    """Where the two may differ in loss; under a loss of answers, where they answered differently."""
    answers: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]] | None
    """Answered class of champion and challenger, intp[n] each; None for values."""
    guards: dict[str, Floats]
    """`d` under each other loss that must not suffer."""
    is_clipped: Bools
    lag_s: float | None
    """Seconds for which labels go on being corrected."""
    units: Sequence[str] | None
    """Whose each pair is, where evidence is counted by unit."""
    segments: Sequence[tuple[str, ...]]
    ranks: Floats
    """Where rankings are compared, float64[n, 3]: scores of the positive class by champion and challenger, label."""


@dataclass
class Tally:
    """Evidence over units: each counts once, with the mean of its differences within a window of time."""

    evidence: Evidence = field(default_factory=Evidence)
    window_s: float = math.inf
    units: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)
    """(sum of differences, how many) by unit and window; empty where each event is a unit."""

    def add(self, d: Floats, asked_at: Floats, units: Sequence[str] | None, every: int | None = None) -> list[Moment]:
        """Counts differences float64[n], none of them NaN; returns the moments at which `every` divided the count."""
        if units is None:
            return self.evidence.follow(d, asked_at, every)
        moments = []
        for one, at, unit in zip(d.tolist(), asked_at.tolist(), units, strict=True):
            key = self._key(unit, at)
            total, n = self.units.get(key, (0.0, 0))
            if n:
                self.evidence.retract(_mean(total, n))
            self.units[key] = total + one, n + 1
            self.evidence.add(_mean(total + one, n + 1), at)
            if every and not n and self.evidence.n % every == 0:
                moments.append(self.evidence.moment())
        return moments

    def first_of_units(self, pairs: "Pairs") -> Floats:
        """Differences of units that are new here, in their order: the rest depends on them."""
        known = ~np.isnan(pairs.d)
        if pairs.units is None:
            return pairs.d[known]
        seen, fresh = set(self.units), []
        for at in np.flatnonzero(known).tolist():
            key = self._key(pairs.units[at], float(pairs.asked_at[at]))
            if key not in seen:
                seen.add(key)
                fresh.append(at)
        return pairs.d[fresh]

    def _key(self, unit: str, asked_at: float) -> tuple[str, int]:
        return unit, int(asked_at // self.window_s)

    def restate(self, was: float, now: float, asked_at: float, unit: str | None) -> float:
        """Counts one difference anew; returns by how much the unit's moved."""
        if unit is not None:
            key = self._key(unit, asked_at)
            total, n = self.units.get(key, (0.0, 0))
            if not n:
                return 0.0  # its window is over for so long that it was forgotten
            self.units[key] = total - was + now, n
            was, now = _mean(total, n), _mean(total - was + now, n)
        if was != now:
            self.evidence.retract(was)
            self.evidence.add(now)
        return now - was

    def forget_before(self, at: float) -> None:
        """Drops units whose window ended before an epoch second."""
        if self.units:
            self.units = {key: value for key, value in self.units.items() if (key[1] + 1) * self.window_s > at}


@dataclass
class Comparison:
    """What is known of one challenger within one tenure."""

    tally: Tally = field(default_factory=Tally)
    uncovered: int = 0
    """Pairs that could not be compared for want of an honest shadow score."""
    clipped: int = 0
    """Pairs in which an error was larger than what counts."""
    guardrails: dict[str, Tally] = field(default_factory=dict)
    segments: dict[str, Tally] = field(default_factory=dict)
    asked: dict[int, tuple[int, int]] = field(default_factory=dict)
    """(labelled, all) of the pairs that may differ, by the class that the champion answered; -1 for values."""
    answers: dict[tuple[int, int], int] = field(default_factory=dict)
    """How often champion and challenger answered which classes."""
    young: deque[tuple[float, int, float]] = field(default_factory=deque)
    """(until epoch second, wins, sum of their differences) of the time in which labels are still corrected."""
    audit: Evidence = field(default_factory=Evidence)
    """Of labels that came after maturity: shown, never decided by."""
    blocks: Blocks | None = None
    """Where rankings are compared."""
    curve: Samples[Point] = field(default_factory=Samples)

    @property
    def evidence(self) -> Evidence:
        return self.tally.evidence

    def add(self, pairs: Pairs, draw: Draw) -> Floats:
        """Counts pairs in prediction order; `draw` makes points of a curve from what they are drawn from.

        Returns the differences of units that are new, in their order.
        """
        if self.blocks is not None:
            return self._add_blocks(self.blocks, pairs, draw)
        enters, fresh = ~np.isnan(pairs.d), self.tally.first_of_units(pairs)
        self.uncovered += int((pairs.is_labelled & ~enters).sum())
        self.clipped += int((pairs.is_clipped & enters).sum())
        self._count_answers(pairs)
        self._count_young(pairs, enters)
        moments = self.tally.add(pairs.d[enters], pairs.asked_at[enters], _those(pairs.units, enters), STEP)
        self.curve.add(draw(thinned(moments)))
        for name, d in pairs.guards.items():
            known = ~np.isnan(d)
            _of(self.guardrails, name, self.tally).add(d[known], pairs.asked_at[known], _those(pairs.units, known))
        if any(pairs.segments):
            self._count_segments(pairs, enters)
        return fresh

    def _add_blocks(self, blocks: Blocks, pairs: Pairs, draw: Draw) -> Floats:
        """Labelled pairs as examples of a ranking; `d` then is one difference for each block."""
        known = ~np.isnan(pairs.d)
        self.uncovered += int((pairs.is_labelled & ~known).sum())
        self._count_answers(pairs)
        asked_at, ranks = pairs.asked_at[known].tolist(), pairs.ranks[known].tolist()
        examples = [Example(at, mine, other) for at, (mine, other, _) in zip(asked_at, ranks, strict=True)]
        found = np.array(blocks.add(examples, [positive > 0 for _, _, positive in ranks])).reshape(-1, 2)
        self.curve.add(draw(thinned(self.evidence.follow(found[:, 0], found[:, 1], STEP))))
        return found[:, 0]

    def _count_young(self, pairs: Pairs, enters: Bools) -> None:
        """In steps of a fiftieth of the lag."""
        if pairs.lag_s is None or not enters.any():
            return
        d, steps = pairs.d[enters], np.floor(pairs.asked_at[enters] / (pairs.lag_s / LAG_STEPS))
        for step in np.unique(steps).tolist():
            won = d[(steps == step) & (d > 0)].tolist()
            until = (step + 1) * pairs.lag_s / LAG_STEPS
            _, wins, total = self.young.pop() if self.young and self.young[-1][0] == until else (until, 0, 0.0)
            self.young.append((until, wins + len(won), reduce(operator.add, won, total)))
        while self.young[0][0] <= self.young[-1][0] - pairs.lag_s:
            self.young.popleft()

    def _count_segments(self, pairs: Pairs, enters: Bools) -> None:
        found: dict[str, list[int]] = {}
        for at in np.flatnonzero(enters).tolist():
            for segment in pairs.segments[at]:
                found.setdefault(segment, []).append(at)
        for segment, those in found.items():
            units = None if pairs.units is None else [pairs.units[at] for at in those]
            _of(self.segments, segment, self.tally).add(pairs.d[those], pairs.asked_at[those], units)

    def _count_answers(self, pairs: Pairs) -> None:
        groups = [(-1, pairs.differ)]
        if pairs.answers is not None:
            champion, _ = pairs.answers
            found, counts = np.unique(np.stack(pairs.answers), axis=1, return_counts=True)
            for mine, other, n in zip(*found.tolist(), counts.tolist(), strict=True):
                self.answers[mine, other] = self.answers.get((mine, other), 0) + n
            groups = [(mine, pairs.differ & (champion == mine)) for mine in np.unique(champion).tolist()]
        for answer, those in groups:
            labelled, n = self.asked.get(answer, (0, 0))
            self.asked[answer] = labelled + int((those & pairs.is_labelled).sum()), n + int(those.sum())

    def forget_before(self, at: float) -> None:
        """Drops what no correction can refer to any more."""
        for tally in (self.tally, *self.guardrails.values(), *self.segments.values()):
            tally.forget_before(at)


def _mean(total: float, n: int) -> float:
    """Rounding may carry a mean of ones beyond one."""
    return min(1.0, max(-1.0, total / n))


def _of(tallies: dict[str, Tally], name: str, like: Tally) -> Tally:
    if name not in tallies:
        tallies[name] = Tally(window_s=like.window_s)
    return tallies[name]


def _those(units: Sequence[str] | None, where: Bools) -> Sequence[str] | None:
    return None if units is None else [units[at] for at in np.flatnonzero(where).tolist()]
