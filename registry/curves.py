"""Curves of bounded size that depend only on what was added, so that a replay draws the same one."""

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

    def add(self, at: float, loss: float) -> None:
        self._n += 1
        self._sum += loss
        if self._n < self.stretch:
            return
        self.points.append((at, self._n, self._sum / self._n))
        self._n, self._sum = 0, 0.0
        if len(self.points) == _POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [(b[0], a[1] + b[1], (a[2] * a[1] + b[2] * b[1]) / (a[1] + b[1])) for a, b in pairs]
            self.stretch *= 2


class Samples(Generic[Point]):
    """Every `step`-th state of something. When full, every other one is dropped and steps double."""

    def __init__(self, step: int = 10):
        self.step = step
        self.points: list[Point] = []

    def is_due(self, n: int) -> bool:
        """True where the n-th state belongs on the curve."""
        return n % self.step == 0

    def add(self, point: Point) -> None:
        self.points.append(point)
        if len(self.points) == _POINTS:
            self.points = self.points[1::2]
            self.step *= 2
