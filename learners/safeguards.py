"""How far one state of a learner is from another, on rows that never change."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contracts.schema import Label

Floats = npt.NDArray[np.float64]


@dataclass
class Spread:
    """Count, mean and sum of squared deviations of values, added up in pieces.

    Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance".
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: npt.ArrayLike) -> None:
        """Counts float64[k]."""
        more = np.asarray(values, np.float64)
        if not len(more):
            return
        apart, n = float(more.mean()) - self.mean, self.n + len(more)
        self.squares += float(((more - more.mean()) ** 2).sum()) + apart * apart * self.n * len(more) / n
        self.mean += apart * len(more) / n
        self.n = n

    @property
    def deviation(self) -> float:
        """The standard deviation of what was counted; 0 for nothing."""
        return math.sqrt(self.squares / self.n) if self.n else 0.0


def change(before: Floats, after: Floats, label: Label, spread: float) -> float:
    """Mean change of scores float64[n, k]: the share of probability that moved, or values in units of `spread`.

    The share is the total variation distance, half the sum of absolute differences, in [0, 1]. 0 for no rows.
    """
    if not len(before):
        return 0.0
    moved = np.abs(after - before)
    if label.is_regression:
        return float(moved.mean() / (spread or 1.0))
    return float(moved.sum(axis=1).mean() / 2)
