"""Curves of bounded size that depend only on what was added, so that a replay draws the same one."""

from collections.abc import Sequence
from typing import Generic, TypeVar

Point = TypeVar("Point")

_POINTS = 240  # as many as a plot on a page can show


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


class Samples(Generic[Point]):
    """Every `step`-th state of something. When full, every other one is dropped and steps double."""

    def __init__(self, step: int = 20):
        self.step = step
        self.points: list[Point] = []

    def until_due(self, n: int) -> int:
        """How many more than `n` until a state belongs on the curve."""
        return self.step - n % self.step

    @property
    def room(self) -> int:
        """How many more points until steps double."""
        return _POINTS - len(self.points)

    def add(self, points: Sequence[Point]) -> None:
        """At most `room` of them."""
        self.points += points
        if len(self.points) >= _POINTS:
            self.points = self.points[1::2]
            self.step *= 2
