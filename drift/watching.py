"""One loss watched by the hour: from when its threshold holds, what it reached, and which alarm stands."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from drift import budget
from drift.budget import Clock, Floats

LEAST_DAYS = 28
MOST_DAYS = 112
LEAST_SEASONS = 6


@dataclass(frozen=True)
class Hours:
    """Labels and summed losses of consecutive slots from `first` on (slots since the epoch), float64[n] each."""

    first: int
    n: Floats
    total: Floats

    @classmethod
    def of(cls, by_slot: Mapping[int, tuple[float, float]], until: int) -> "Hours":
        """Slots before `until`, which are over; those without a label count as empty."""
        known = {slot: both for slot, both in by_slot.items() if slot < until}
        first = min(known, default=until)
        n, total = np.zeros(until - first), np.zeros(until - first)
        for slot, (labels, loss) in known.items():
            n[slot - first], total[slot - first] = labels, loss
        return cls(first, n, total)

    @property
    def until(self) -> int:
        return self.first + len(self.n)

    def part(self, begin: int, end: int) -> "Hours":
        chosen = slice(begin - self.first, end - self.first)
        return Hours(begin, self.n[chosen], self.total[chosen])


@dataclass(frozen=True)
class Watched:
    """What looking at a loss found. Slots are since the epoch."""

    reference: tuple[int, int]
    """Slots that the threshold was made of: from, until before."""
    threshold: float
    expected: float
    """Alarms in 30 days that simulations gave at the threshold."""
    statistic: float
    """At the newest look."""
    window: int
    """Slots over which it is largest."""
    loss: float
    usual: float
    """Mean in that window, and what the reference lets expect there."""
    alarms: tuple[tuple[int, int | None], ...]
    """(slot of the look that began it, of the look that ended it or None) since the reference."""

    @property
    def since(self) -> int | None:
        """Slot at whose end the standing alarm began."""
        return self.alarms[-1][0] if self.alarms and self.alarms[-1][1] is None else None


def enough(clock: Clock, allowed: float) -> int:
    """Slots of past that a threshold needs: four weeks, as long as the budget lets a false alarm wait, six seasons."""
    days = min(MOST_DAYS, LEAST_DAYS / min(allowed, 1.0))
    slots = max(math.ceil(days * clock.day), LEAST_SEASONS * clock.season)
    return -(-slots // clock.season) * clock.season


def missing(hours: Hours, clock: Clock, allowed: float) -> str:
    """How far a past is from enough, in words."""
    return f"{len(hours.n) // clock.day} of {enough(clock, allowed) // clock.day} days of past"


def reference_of(hours: Hours, began: int, origin: int, clock: Clock, allowed: float) -> tuple[int, int] | None:
    """The slots that make the threshold now, or None while there are too few.

    The reference ends where the champion's reign began (`origin`), or as soon after its first slot (`began`) as there
    is enough past, and moves on by 30 days each 30 days.
    """
    least = enough(clock, allowed)
    first_end = max(origin, began + least)
    if hours.until <= first_end:
        return None
    end = first_end + (hours.until - 1 - first_end) // clock.month * clock.month
    begin = max(hours.first, end - max(least, MOST_DAYS * clock.day // clock.season * clock.season))
    return (begin, end) if end - begin >= least else None


def look(hours: Hours, reference: tuple[int, int], clock: Clock, allowed: float) -> Watched:
    """The alarm process on the slots after the reference, for `allowed` false alarms in 30 days."""
    past = hours.part(*reference)
    made = budget.calibrate(past.n, past.total, clock, allowed, phase=past.first % clock.season)
    longest = max(made.windows)
    begin = max(reference[1] - longest, hours.first)
    seen = hours.part(begin, hours.until)
    phase = begin % clock.season
    by_window = budget.by_window(seen.n, seen.total, made.reference, made.windows, phase)[:, reference[1] - begin :]
    looks = np.arange(clock.cadence - 1, by_window.shape[1], clock.cadence)
    if not len(looks):
        looks = np.array([by_window.shape[1] - 1])
    reached = by_window[:, looks].max(axis=0)
    at = reference[1] + looks
    window = made.windows[int(by_window[:, looks[-1]].argmax())]
    newest = hours.part(max(int(at[-1]) + 1 - window, hours.first), int(at[-1]) + 1)
    expected = newest.n * made.reference.profile[(newest.first + np.arange(len(newest.n))) % clock.season]
    labels = max(float(newest.n.sum()), 1.0)
    found = budget.episodes(reached, made.threshold)
    return Watched(
        reference,
        made.threshold,
        made.expected,
        float(reached[-1]),
        window,
        float(newest.total.sum()) / labels,
        float(expected.sum()) / labels,
        tuple((int(at[one.begin]), None if one.end is None else int(at[one.end])) for one in found),
    )
