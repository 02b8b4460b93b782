"""What retraining by benefit is worth beside the simple ways, and whether its forecasts hold, on real streams.

Each stream is cut into looks of a week or so. At each, a policy may fit the learner anew on all labels so far (at most
`Retrain.window_rows`); the newest fit answers until the next look. Gain is the loss saved against never fitting again,
seconds are CPU time of fitting, both as shares of those of a fit at every look. Policies:

* every look, and every third;
* on drift, by the dummy: an alarm every tenth look, whatever happened;
* by benefit, as production decides it (`drift.benefit`), where a second of training costs as much as `PRICE` answers of
  the simplest guess.

Held are the forecasts whose truth was learned (the policy fitted) and that lay in the 80 % interval.

`python -m benchmarks.retrain [--data FOLDER] [--learner NAME ...] [--rows N] [STREAM ...]`
"""

import argparse
import csv
import gzip
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks._head import head
from contracts.config import Learner
from contracts.fits import BlockFacts, FitFacts, LearnerFits
from contracts.retrain_rules import Retrain
from contracts.schema import Feature, Label, Schema
from data import streams as sources
from drift import benefit, forecast
from learners import batch
from tests.learners.streams import FOLDER

PRICE, FIRST, GOAL_GAIN, GOAL_SECONDS = 10.0, 4, 0.95, 0.3
LOOKS = {
    "elec2": (45_312, 336),
    "bike_sharing_hourly_reg": (17_379, 168),
    "nycflights13_delay15": (327_346, 6_300),
    "acs_employment_ma_2015_2018": (277_677, 5_785),
    "nab_nyc_taxi": (10_320, 336),
    "nab_machine_temperature_system_failure": (22_695, 288),
}
"""Rows of a stream, and rows from one look to the next: a week of elec2, bikes, flights and taxis, a day of the machine
and a month of the survey."""
LAGS = {"nab_nyc_taxi": (48, 336), "nab_machine_temperature_system_failure": (12, 24, 288)}
"""These are series: the value is forecast from the hour, the weekday and earlier values."""


@dataclass
class Stream:
    """Rows and labels in order, cut into looks; fits and what they lost, each computed when first asked for."""

    schema: Schema
    rows: list[Any]
    labels: list[Any]
    size: int
    learner: Learner
    rules: Retrain
    fitted: dict[int, batch.Fitted] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    known: dict[tuple[int, int], float] = field(default_factory=dict)

    @property
    def looks(self) -> range:
        return range(FIRST, len(self.rows) // self.size)

    def fit(self, look: int) -> FitFacts:
        """The fit made at a look; `version` is the look."""
        through = look * self.size
        rows = min(through, self.rules.window_rows)
        if look not in self.fitted:
            window = slice(through - rows, through)
            began = time.process_time()
            self.fitted[look] = batch.fit(
                self.learner, self.schema, self.rows[window], self.labels[window], 0, 1e-9, lambda text: None
            )
            self.seconds[look] = time.process_time() - began
        return FitFacts(version=look, through=through, rows=rows, seconds=self.seconds[look])

    def loss(self, fit: int, look: int) -> float:
        """Mean loss of a fit on what was asked between a look and the next."""
        if (fit, look) not in self.known:
            block = slice(look * self.size, (look + 1) * self.size)
            scores = self.fitted[fit].scores(self.rows[block])
            truth = self.labels[block]
            if self.schema.label.is_regression:
                losses = np.abs(scores[:, 0] - np.array(truth, float))
            else:
                losses = scores.argmax(axis=1) != np.array([self.schema.label.index(label) for label in truth])
            self.known[fit, look] = float(losses.mean())
        return self.known[fit, look]


@dataclass
class Played:
    """The looks at which a policy fitted, and for each forecast whose truth it learned whether that was within."""

    fits: set[int]
    held: list[bool] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.retrain")
    parser.add_argument("--data", type=Path, default=FOLDER)
    parser.add_argument("--learner", nargs="+", default=["linear", "hist_gradient_boosting"])
    parser.add_argument("--rows", type=int)
    parser.add_argument("streams", nargs="*", default=list(LOOKS))
    chosen = parser.parse_args()
    print(f"When retraining pays\n{head()}\n\n{'':<58}{'gain':>7}{'seconds':>9}{'fits':>6}{'held':>12}")
    held: list[bool] = []
    lost: list[str] = []
    for learner in chosen.learner:
        for name in chosen.streams:
            if not (chosen.data / f"{name}.csv.gz").exists():
                print(f"{name}: not in {chosen.data}")
                continue
            stream = _stream(chosen.data, name, learner, chosen.rows)
            told = _play(f"{name}, {learner}", stream)
            held += told.held
            lost += told.lost
    print(f"\n80 % intervals that held the truth: {sum(held)} of {len(held)}, {np.mean(held):.0%}" if held else "")
    print(f"Below {GOAL_GAIN:.0%} of the gain or above {GOAL_SECONDS:.0%} of the seconds:")
    print("\n".join(f"  {line}" for line in lost) or "  none")


@dataclass
class _Told:
    held: list[bool]
    lost: list[str]


def _play(title: str, stream: Stream) -> _Told:
    looks = stream.looks
    never, always = _cost(stream, set()), _cost(stream, set(looks))
    most = never[0] - always[0]
    print(f"{title}: {len(looks)} looks of {stream.size:,}, loss {never[0]:.4g} never, {always[0]:.4g} at every look")
    lost: list[str] = []
    by_benefit = _by_benefit(stream)
    for policy, played in {
        "every look": Played(set(looks)),
        "every third": Played(set(looks[::3])),
        "on drift (every tenth)": Played(set(looks[::10])),
        "by benefit": by_benefit,
    }.items():
        loss, seconds = _cost(stream, played.fits)
        gain, share = (never[0] - loss) / most, seconds / always[1]
        held = f"{sum(played.held)} of {len(played.held)}" if played.held else ""
        fits = len(played.fits - {FIRST})
        print(f"    {policy:<54}{gain:7.2f}{share:9.2f}{fits:6}{held:>12}", flush=True)
        if played is by_benefit and not (gain >= GOAL_GAIN and share <= GOAL_SECONDS):
            note = (
                f"; a fit at every look saves {most / never[0]:.1%} of the loss of never"
                if most < 0.1 * never[0]
                else ""
            )
            lost.append(f"{title}: {gain:.0%} of the gain for {share:.0%} of the seconds{note}")
    return _Told(by_benefit.held, lost)


def _cost(stream: Stream, fits: set[int]) -> tuple[float, float]:
    """Mean loss, and seconds of all fits but the first, which every policy makes."""
    losses, newest = [], FIRST
    stream.fit(FIRST)
    for look in stream.looks:
        if look in fits:
            newest = stream.fit(look).version
        losses.append(stream.loss(newest, look))
    return float(np.mean(losses)), sum(stream.seconds[look] for look in fits - {FIRST})


def _by_benefit(stream: Stream) -> Played:
    """Production's decisions, look by look, with nothing that was not known then."""
    known = LearnerFits(fits=(stream.fit(FIRST),))
    held: list[bool] = []
    for look in stream.looks[1:]:
        scored = [fit.version for fit in known.fits[-forecast.COMPARED :]]
        block = BlockFacts(
            through=look * stream.size, n=stream.size, losses={one: stream.loss(one, look - 1) for one in scored}
        )
        if known.awaited is not None:
            truth = forecast.saved(scored[-2], scored[-1], block)
            assert truth is not None
            held.append(known.awaited.lower <= truth <= known.awaited.upper)
        known = benefit.went_on(known, block)
        rows = min(look * stream.size, stream.rules.window_rows)
        fresh = FitFacts(version=look, through=look * stream.size, rows=rows)
        told = forecast.forecast(known.fits, known.blocks, known.errors, fresh)
        verdict = benefit.decide(known, told, benefit.seconds_of(known.fits[-1], rows), stream.rules)
        known = msgspec.structs.replace(known, saved_s=verdict.saved_s, bar=verdict.bar)
        if verdict.due:
            known = msgspec.structs.replace(known, fits=(*known.fits, stream.fit(look)), awaited=told)
    return Played({fit.version for fit in known.fits}, held)


def _stream(folder: Path, name: str, algorithm: str, most: int | None) -> Stream:
    count, size = LOOKS.get(name, (20_000, 500))
    path = folder / f"{name}.csv.gz"
    if name in LAGS:
        schema, rows, labels = _series(path, LAGS[name])
    else:
        found = sources.stream(str(path), "label")
        schema = found.schema
        pairs = list(islice(found, count))
        rows, labels = [schema.decode(x) for x, _ in pairs], [schema.label.decode(y) for _, y in pairs]
    price = PRICE * _simplest(schema.label, labels)
    rules = Retrain(when=("benefit",), price=price)
    return Stream(schema, rows[:most], labels[:most], size, Learner(algorithm=algorithm, kind="batch"), rules)


def _simplest(label: Label, labels: Iterable[Any]) -> float:
    """Mean loss of the most frequent class, or of the median."""
    if label.is_regression:
        values = np.array(list(labels), float)
        return float(np.abs(values - np.median(values)).mean())
    _, counts = np.unique(np.array(list(labels), str), return_counts=True)
    return 1 - float(counts.max() / counts.sum())


def _series(path: Path, lags: tuple[int, ...]) -> tuple[Schema, list[Any], list[Any]]:
    with gzip.open(path, "rt") as lines:
        records = list(csv.DictReader(lines))
    values = [float(record["value"]) for record in records]
    times = [datetime.fromisoformat(record["timestamp"]) for record in records]
    names = ("hour", "weekday", *(f"{lag}_ago" for lag in lags))
    schema = Schema(tuple(Feature(name, "float") for name in names), Label("regression", ()))
    at: Callable[[int], tuple[float, ...]] = lambda i: (  # noqa: E731
        times[i].hour + times[i].minute / 60,
        float(times[i].weekday()),
        *(values[i - lag] for lag in lags),
    )
    begin = max(lags)
    return schema, [at(i) for i in range(begin, len(values))], list(values[begin:])


if __name__ == "__main__":
    main()
