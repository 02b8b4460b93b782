"""Losses with a range that is fixed in advance, which paired differences are divided by.

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
Name = Literal["zero_one", "cost", "brier", "log", "absolute", "squared"]

PROBABILITY_FLOOR = 0.01  # log loss below this probability counts as at it: ln 100 = 4.6 bounds one mistake
ROUNDING = 1e-3  # float32 graphs may miss a sum of 1 by this much; more than that is no probability


class Loss(msgspec.Struct, frozen=True):
    """One loss: its name, its range (in loss units) and where it is clipped."""

    name: Name
    range: float
    clip: float = 0.0
    """Log loss: smallest probability that counts. Absolute and squared: largest error that counts, in label units."""
    costs: tuple[tuple[float, ...], ...] = ()
    """Of answering column j where column i is true: costs[i][j]."""

    @property
    def is_of_answers(self) -> bool:
        """Whether only the answered class counts: two versions that answer alike then differ by 0, labelled or not."""
        return self.name in ("zero_one", "cost")

    def of(self, scores: npt.ArrayLike, labels: npt.ArrayLike) -> Floats:
        """The loss of each row, float64[n], for scores float64[n, k] and labels float64[n].

        NaN where the label is NaN, and where scores are no answer: not finite, or no probabilities where those are
        weighed. What a row gives does not depend on the rows beside it.
        """
        rows, wanted = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
        if not rows.size:
            return np.full(len(rows), math.nan)
        known = np.isfinite(rows).all(axis=1) & np.isfinite(wanted)
        if self.name in ("absolute", "squared"):
            with np.errstate(invalid="ignore"):
                errors = np.minimum(np.abs(rows[:, 0] - wanted), self.clip)
            return np.where(known, errors if self.name == "absolute" else errors * errors, math.nan)
        known &= (wanted >= 0) & (wanted < rows.shape[1])
        columns = np.where(known, wanted, 0).astype(np.intp)
        if self.is_of_answers:
            # The first of equal scores wins, as with argmax, which chooses the served label.
            answers = rows.argmax(axis=1)
            return np.where(known, self._of_answers(answers, columns), math.nan)
        with np.errstate(invalid="ignore"):
            known &= (rows.min(axis=1) >= -ROUNDING) & (np.abs(rows.sum(axis=1) - 1) <= ROUNDING)
            return np.where(known, self._of_probabilities(rows, rows[np.arange(len(rows)), columns]), math.nan)

    def _of_probabilities(self, rows: Floats, own: Floats) -> Floats:
        if self.name == "log":
            logs: Floats = -np.log(np.clip(own, self.clip, 1.0))
            return logs
        squares: Floats = np.clip((rows * rows).sum(axis=1) - 2 * own + 1, 0.0, self.range)
        return squares

    def _of_answers(self, answers: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> Floats:
        if self.name == "zero_one":
            return np.where(answers != columns, 1.0, 0.0)
        table = np.array(self.costs)
        found: Floats = np.where(
            (answers < len(table)) & (columns < len(table)),
            table[np.minimum(columns, len(table) - 1), np.minimum(answers, len(table) - 1)],
            math.nan,
        )
        return found

    def is_clipped(self, scores: npt.ArrayLike, labels: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Where an absolute or squared error is larger than what counts; above 5 % of events the clip is too small."""
        rows, wanted = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
        if self.name not in ("absolute", "squared") or not rows.size:
            return np.zeros(len(rows), dtype=bool)
        with np.errstate(invalid="ignore"):
            clipped: npt.NDArray[np.bool_] = np.abs(rows[:, 0] - wanted) > self.clip
        return clipped


def loss_named(name: str, clip: float | None = None, costs: Sequence[Sequence[float]] = ()) -> Loss:
    """The loss of that name. Raises ValueError where it is unknown, or its clip or costs are missing or make no sense.

    `clip` is the largest error that counts for absolute and squared, in label units (needed there: errors have no
    other bound), and the smallest probability that counts for log. `costs[i][j]` is that of answering class j where
    class i is true; its range is that of the whole matrix, whatever was observed.
    """
    match name:
        case "zero_one":
            return Loss(name, 1.0)
        case "cost":
            table = tuple(tuple(map(float, row)) for row in costs)
            cells = [cell for row in table for cell in row]
            if not cells or any(len(row) != len(table) for row in table) or not all(map(math.isfinite, cells)):
                raise ValueError("cost loss needs costs: one row per true class, one finite number per answered class")
            if max(cells) == min(cells):
                raise ValueError("costs are all the same: no answer is better than another")
            return Loss(name, max(cells) - min(cells), costs=table)
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
