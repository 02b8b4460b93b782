"""Curves of bounded size that depend only on what was added, so that a replay draws the same one."""

from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Generic, TypeVar

State = TypeVar("State", bound=tuple[Any, ...])
"""Its first part is the count that it is the state after."""

_POINTS = 240  # as many as a plot on a page can show
STEP = 20
_FINE = 96 * STEP  # younger states stand one step apart; from there on each doubling of the age has 48 of them


class LossCurve:
    """Mean loss of consecutive stretches. When full, neighbours merge and stretches double."""

    def __init__(self, stretch: int = 25):
        self.stretch = stretch
        self.points: list[tuple[float, int, float]] = []
        """(epoch seconds of the last prediction, predictions, mean loss)."""
        self._n, self._sum = 0, 0.0

    def add(self, at: Sequence[float], losses: Sequence[float]) -> None:
        """Losses of predictions in their order; sums go one by one, so that batches change no bit."""
        n, total = self._n, self._sum
        for asked_at, loss in zip(at, losses, strict=True):
            n, total = n + 1, total + loss
            if n >= self.stretch:
                self._close(asked_at, n, total)
                n, total = 0, 0.0
        self._n, self._sum = n, total

    def _close(self, at: float, n: int, total: float) -> None:
        self.points.append((at, n, total / n))
        if len(self.points) == _POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [(b[0], a[1] + b[1], (a[2] * a[1] + b[2] * b[1]) / (a[1] + b[1])) for a, b in pairs]
            self.stretch *= 2


class Samples(Generic[State]):
    """States at counts that `STEP` divides, the older the further apart: there is detail wherever one looks closer."""

    def __init__(self) -> None:
        self.points: list[State] = []

    def add(self, points: Sequence[State]) -> None:
        """Rising in their count, and above those before."""
        if points:
            self.points = thinned([*self.points, *points])


def thinned(states: Sequence[State]) -> list[State]:
    """Those of rising counts that stay, by their age in counts; their number grows with the logarithm of the newest.

    Spacings are powers of two, so that what is dropped once would be dropped ever after: when it was done, and how
    often, changes nothing.
    """
    newest = states[-1][0] if states else 0
    young = bisect_right(states, newest - _FINE, key=itemgetter(0))
    old = (state for state in states[:young] if state[0] % (STEP << ((newest - state[0]) // _FINE).bit_length()) == 0)
    return [*old, *states[young:]]
