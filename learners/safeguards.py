"""How far one state of a learner is from another, on rows that never change."""

import numpy as np
import numpy.typing as npt

from contracts.schema import Label

Floats = npt.NDArray[np.float64]


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
