"""A learner and the examples on which it shows what it keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from contracts.config import Learner
from contracts.schema import Value
from learners import batch
from learners.catalogue import build_online
from learners.online import OnlineLearner
from learners.promise import require
from learners.synthetic import Examples, strangers

Row = tuple[Value, ...]
_SAMPLE = 400
_HOLDOUT = 0.2


@dataclass(frozen=True)
class Case:
    """A learner of either kind, and the examples that it is tried on."""

    learner: Learner
    data: Examples

    def __len__(self) -> int:
        return len(self.data.rows)

    @cached_property
    def asked(self) -> Sequence[Row]:
        """A sample of the rows, and rows with what was never seen."""
        rows = self.data.rows
        return [*rows[:: max(1, len(rows) // _SAMPLE)], *strangers(self.data.schema)]

    def fresh(self) -> OnlineLearner:
        """It, online and before its first label."""
        return build_online(self.learner, self.data.schema)

    def part(self, first: int, end: int) -> Examples:
        """Examples from `first` to `end`, both moved down to the border of a mini-batch."""
        size = self.learner.mini_batch or 1
        cut = slice(first // size * size, end // size * size)
        return Examples(self.data.schema, self.data.rows[cut], self.data.labels[cut])

    def trained(self, rows: int) -> OnlineLearner:
        """It, online and after the first rows."""
        online = self.fresh()
        online.learn(*self.part(0, rows).pairs)
        return online

    @cached_property
    def fitted(self) -> batch.Fitted:
        """It, fitted on all but the newest rows. Raises batch.CannotFit."""
        return self.fit()

    def fit(self) -> batch.Fitted:
        """It, fitted anew."""
        data, seed = self.data, self.learner.seed
        return batch.fit(self.learner, data.schema, data.rows, data.labels, seed, _HOLDOUT, lambda _: None)


def valid(scores: np.ndarray, data: Examples, when: str) -> None:
    """Raises Broken where float64[n, k] are no scores of the schema's label."""
    width = data.schema.label.width
    require(scores.shape[1:] == (width,), f"it answered {scores.shape[1:]} scores for {width}, {when}")
    require(bool(np.isfinite(scores).all()), f"a score is not finite, {when}")
    if not data.schema.label.is_regression:
        require(bool((scores >= 0).all()), f"a probability is negative, {when}")
        total = scores.sum(axis=1)
        require(np.allclose(total, 1), f"probabilities sum to {total.min():.3g} to {total.max():.3g}, {when}")
