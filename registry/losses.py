"""Losses with a range that is fixed in advance, and paired differences normalised by it.

The range is the price of the guarantee in `registry.evidence`: dividing by observed values would void it.
Scores are one row as logged: probabilities in class order, or one value. The label is the class's column, or the value.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Name = Literal["zero_one", "brier", "log", "absolute", "squared"]

PROBABILITY_FLOOR = 0.01  # log loss below this probability counts as at it: ln 100 = 4.6 bounds one mistake
ROUNDING = 1e-3  # float32 graphs may miss a sum of 1 by this much; more than that is no probability


class Loss(msgspec.Struct, frozen=True):
    """One loss: its name, its range (in loss units) and where it is clipped."""

    name: Name
    range: float
    clip: float = 0.0
    """Log loss: smallest probability that counts. Absolute and squared: largest error that counts, in label units."""

    def of(self, scores: Sequence[float], label: float) -> float:
        """The loss of one row of scores, in [0, range]. Raises ValueError on scores that are no answer."""
        if not math.isfinite(sum(scores)) and not all(map(math.isfinite, scores)):
            raise ValueError(f"scores {list(scores)} are not finite")
        if self.name in ("absolute", "squared"):
            error = min(abs(scores[0] - label), self.clip)
            return error if self.name == "absolute" else error * error
        column = int(label)
        if not 0 <= column < len(scores):
            raise ValueError(f"label {column} is not a column of {len(scores)} scores")
        if self.name == "zero_one":
            # The first of equal scores wins, as with argmax, which chooses the served label.
            return float(scores.index(max(scores)) != column)
        if min(scores) < -ROUNDING or abs(sum(scores) - 1) > ROUNDING:
            raise ValueError(f"scores {list(scores)} are not probabilities")
        if self.name == "log":
            return -math.log(min(max(scores[column], self.clip), 1.0))
        squares = sum(score * score for score in scores) - 2 * scores[column] + 1
        return min(max(squares, 0.0), self.range)

    def of_many(self, scores: npt.ArrayLike, labels: npt.ArrayLike) -> Floats:
        """`of` for scores float64[n, k] and labels [n], as float64[n]."""
        rows = np.asarray(scores, dtype=np.float64)
        wanted = np.asarray(labels, dtype=np.float64)
        if not np.isfinite(rows).all():
            raise ValueError("scores are not finite")
        if self.name in ("absolute", "squared"):
            errors: Floats = np.minimum(np.abs(rows[:, 0] - wanted), self.clip)
            powers: Floats = errors if self.name == "absolute" else errors * errors
            return powers
        columns = wanted.astype(np.intp)
        if len(columns) and not (columns.min() >= 0 and columns.max() < rows.shape[1]):
            raise ValueError(f"labels are not columns of {rows.shape[1]} scores")
        if self.name == "zero_one":
            mistakes: Floats = np.where(rows.argmax(axis=1) == columns, 0.0, 1.0)
            return mistakes
        if len(rows) and (rows.min() < -ROUNDING or np.abs(rows.sum(axis=1) - 1).max() > ROUNDING):
            raise ValueError("scores are not probabilities")
        own = rows[np.arange(len(rows)), columns]
        if self.name == "log":
            return -np.log(np.clip(own, self.clip, 1.0))
        squares: Floats = (rows * rows).sum(axis=1) - 2 * own + 1
        return np.clip(squares, 0.0, self.range)

    def difference(self, champion: Sequence[float], challenger: Sequence[float], label: float) -> float:
        """(champion's loss - challenger's loss) / range, in [-1, 1]; positive favours the challenger."""
        return (self.of(champion, label) - self.of(challenger, label)) / self.range

    def differences(self, champion: npt.ArrayLike, challenger: npt.ArrayLike, labels: npt.ArrayLike) -> Floats:
        """`difference` for scores float64[n, k] twice and labels [n], as float64[n]."""
        return (self.of_many(champion, labels) - self.of_many(challenger, labels)) / self.range


def loss_named(name: str, clip: float | None = None) -> Loss:
    """The loss of that name. Raises ValueError where it is unknown or its clip is missing or makes no sense.

    `clip` is the largest error that counts for absolute and squared, in label units (needed there: errors have no
    other bound), and the smallest probability that counts for log.
    """
    match name:
        case "zero_one":
            return Loss(name, 1.0)
        case "brier":
            return Loss(name, 2.0)  # the two columns of a binary answer: halved, it is (p - y)^2
        case "log":
            floor = PROBABILITY_FLOOR if clip is None else clip
            if not 0 < floor < 1:
                raise ValueError(f"log loss needs a clip between 0 and 1, not {floor}")
            return Loss(name, -math.log(floor), floor)
        case "absolute" | "squared":
            if clip is None or not (0 < clip < math.inf):
                raise ValueError(f"{name} loss needs a clip above 0 (the largest error that counts), not {clip}")
            return Loss(name, clip if name == "absolute" else clip * clip, clip)
    raise ValueError(f"no loss is named {name!r}; known are {', '.join(get_args(Name))}")


def is_clipped(loss: Loss, scores: Sequence[float], label: float) -> bool:
    """True where an absolute or squared error is larger than what counts; above 5 % of events the clip is too small."""
    return loss.name in ("absolute", "squared") and abs(scores[0] - label) > loss.clip
