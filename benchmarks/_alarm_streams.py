"""Streams of losses for `benchmarks.drift`: simulated ones that stand still, and real ones under a frozen model."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from contracts.config import Learner
from contracts.schema import Schema
from data import drifts
from data import streams as sources
from drift.budget import Floats
from learners import batch

REAL = {
    "elec2": (15_000, 48),
    "nycflights13_delay15": (20_000, 240),
    "acs_employment_ma_2015_2018": (20_000, 240),
    "bike_sharing_hourly_reg": (17_379, 24),
    "bananas": (5_300, 48),
    "shuttle": (20_000, 240),
}
"""Rows, and how many make a day: by their own clock (elec2, bikes), else enough for the rows to last."""
FITTED = 0.3
"""Share of the rows, the oldest, that the frozen model is fitted on."""


@dataclass(frozen=True)
class Family:
    """Streams whose error rate has a daily season and noise that is correlated from hour to hour, but never drifts."""

    name: str
    per_hour: float
    correlation: float
    """Of the log odds, from one hour to the next."""
    noise: float
    """Standard deviation of the log odds beside the season."""


FAMILIES = (
    Family("season alone", 60, 0.0, 0.0),
    Family("season, noise correlated by 0.7", 60, 0.7, 0.3),
    Family("season, noise correlated by 0.9", 60, 0.9, 0.3),
    Family("season, few labels, much noise", 8, 0.7, 0.6),
)


def simulated(family: Family, seed: int, hours: int) -> tuple[Floats, Floats]:
    """Labels and errors of each hour, float64[hours]; each seed has its own phase of traffic."""
    rng = np.random.default_rng([seed, FAMILIES.index(family)])
    shocks = rng.normal(size=hours + 200) * family.noise * np.sqrt(1 - family.correlation**2)
    noise = np.zeros(len(shocks))
    for at in range(1, len(shocks)):
        noise[at] = family.correlation * noise[at - 1] + shocks[at]
    turn = 2 * np.pi * np.arange(hours) / 24
    labels = rng.poisson(family.per_hour * (1 + 0.7 * np.sin(turn + seed)))
    odds = -2 + 0.6 * np.sin(turn) + noise[200:]
    return labels.astype(float), rng.binomial(labels, 1 / (1 + np.exp(-odds))).astype(float)


@dataclass
class Real:
    """A real stream, and a model that was fitted on its oldest rows and never again."""

    name: str
    schema: Schema
    pairs: list[tuple[dict[str, Any], Any]]
    day: int
    fitted: Any = field(repr=False)
    first: int = 0
    """The first row that the model was not fitted on."""
    unit: float = 1.0
    """What losses are divided by: 1 for errors; for values the 99th percentile of absolute errors on fitted rows."""

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        return [self.schema.decode(features) for features, _ in self.pairs]

    def scored(self, pairs: Sequence[tuple[dict[str, Any], Any]]) -> tuple[Floats, Floats]:
        """Losses in [0, 1] and scores, float64[n] and float64[n, k]."""
        scores = self.fitted.scores([self.schema.decode(features) for features, _ in pairs])
        known = [self.schema.label.decode(label) for _, label in pairs]
        if self.schema.label.is_regression:
            return np.minimum(np.abs(scores[:, 0] - np.array(known, float)) / self.unit, 1.0), scores
        truth = np.array([self.schema.label.index(label) for label in known])
        return (scores.argmax(axis=1) != truth).astype(float), scores

    def changed(self, spec: str) -> list[tuple[dict[str, Any], Any]]:
        """Its rows with an injected change."""
        return list(drifts.Injection([drifts.parse(spec)], self.schema).rows(self.pairs))


def real(folder: Path, names: Sequence[str] = tuple(REAL)) -> Iterator[Real]:
    """Those that are there."""
    for name in names:
        count, day = REAL[name]
        path = folder / f"{name}.csv.gz"
        if name not in sources.names() and not path.exists():
            continue
        began = time.perf_counter()
        found = sources.stream(name) if name in sources.names() else sources.stream(path, "label")
        pairs = list(islice(found, count))
        one = Real(name, found.schema, pairs, day, None, int(FITTED * len(pairs)))
        rows = [found.schema.decode(features) for features, _ in pairs[: one.first]]
        labels = [found.schema.label.decode(label) for _, label in pairs[: one.first]]
        kept = 0.2  # fitted on the older part, so that the range of errors comes from rows that it never saw
        learner = Learner(algorithm="hist_gradient_boosting", kind="batch")
        one.fitted = batch.fit(learner, found.schema, rows, labels, 0, kept, lambda text: None)
        if found.schema.label.is_regression:
            scores = one.fitted.scores(rows[-int(kept * len(rows)) :])[:, 0]
            one.unit = float(np.quantile(np.abs(scores - np.array(labels[-len(scores) :], float)), 0.99))
        print(
            f"# {name}: {len(pairs):,} rows, fitted on {one.first:,} ({time.perf_counter() - began:.0f} s)", flush=True
        )
        yield one
