"""Losses of a version by the hour: what the watch on it compares its newest hours with."""

from collections.abc import Sequence
from itertools import islice

SLOT_S = 3_600
KEPT = 150 * 24
"""Hours: a reference of up to 112 days, and the month after it."""


class Slots:
    """Labelled predictions and their summed loss, by the hour in which they were asked."""

    def __init__(self) -> None:
        self.began: int | None = None
        """The first hour ever, in hours since the epoch."""
        self.hours: dict[int, tuple[int, float]] = {}
        """(labelled predictions, summed loss) by hours since the epoch, ascending."""

    def add(self, at: Sequence[float], losses: Sequence[float]) -> None:
        """Losses of predictions asked at ascending epoch seconds; sums go one by one, so that batches change no bit."""
        hours, begin = self.hours, 0
        while begin < len(at):
            hour = int(at[begin] // SLOT_S)
            end = len(at) if at[-1] < (hour + 1) * SLOT_S else _first_beyond(at, begin, (hour + 1) * SLOT_S)
            n, total = hours.get(hour, (0, 0.0))
            for loss in losses[begin:end]:
                total += loss
            hours[hour] = n + end - begin, total
            self.began = hour if self.began is None else self.began
            begin = end
        if len(hours) > KEPT:
            for old in list(islice(hours, len(hours) - KEPT)):
                del hours[old]

    def restate(self, at: float, change: float) -> None:
        """The loss of one prediction, asked at an epoch second, has changed by so much."""
        hour = int(at // SLOT_S)
        if hour in self.hours:
            n, total = self.hours[hour]
            self.hours[hour] = n, total + change


def _first_beyond(at: Sequence[float], begin: int, end_s: float) -> int:
    return next(i for i in range(begin, len(at)) if at[i] >= end_s)
