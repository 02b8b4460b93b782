"""Alarms against the budget where nothing drifts, and against other detectors where something does.

`python -m benchmarks.drift still [--streams N] [--past DAYS] [--budget B]`: simulated streams with daily seasons and
correlated noise, and real streams in shuffled time, watched for 30 days each.

`python -m benchmarks.drift injected`: known changes in real streams under a frozen model; delay and recall beside an
alarm every N rows, Evidently's defaults and River's detectors with theirs, each at its own number of alarms.

Real streams lie in the folder of `--folder` or TILTYARD_DATASETS; those that are not there are left out.
"""

import argparse
import math
import os
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from benchmarks import _injected
from benchmarks._alarm_streams import FAMILIES, REAL, Family, real, simulated
from benchmarks._head import head
from drift import budget
from drift.budget import Clock, Floats
from tests.learners.streams import FOLDER

HOURLY = Clock(season=24, day=24)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.drift")
    parser.add_argument("what", choices=("still", "injected"))
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--past", type=int, default=28, help="days")
    parser.add_argument("--budget", type=float, default=1.0, help="false alarms in 30 days")
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("TILTYARD_DATASETS", FOLDER)))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("names", nargs="*", help="real streams; all of them by default")
    chosen = parser.parse_args()
    if chosen.what == "injected":
        _injected.play(chosen.folder, chosen.names, chosen.processes)
        return
    print(f"Alarms in 30 days where nothing drifts, by the budget\n{head()}\n")
    print(f"{'streams':<40}{'n':>5}{'past':>6}{'budget':>8}{'alarms':>8}{'of':>6}{'95 % interval':>16}{'variance':>10}")
    with Pool(chosen.processes) as pool:
        for family in FAMILIES:
            work = [(family, seed, chosen.past, chosen.budget) for seed in range(chosen.streams)]
            _tell(family.name, chosen, pool.starmap(_of_family, work))
        for one in real(chosen.folder, chosen.names or tuple(REAL)):
            losses, _ = one.scored(one.pairs[one.first :])
            work = [(losses, seed, chosen.past, chosen.budget) for seed in range(max(1, chosen.streams // 4))]
            _tell(f"{one.name}, shuffled", chosen, pool.starmap(_shuffled, work))


def _tell(name: str, chosen: argparse.Namespace, alarms: list[int]) -> None:
    wanted = chosen.budget * len(alarms)
    low, high = poisson(wanted)
    total = sum(alarms)
    verdict = "" if low <= total <= high else "   LOST"
    print(
        f"{name:<40}{len(alarms):>5}{chosen.past:>6}{chosen.budget:>8g}{total:>8}{wanted:>6.0f}"
        f"{f'{low} to {high}':>16}{np.var(alarms):>10.2f}{verdict}",
        flush=True,
    )


def poisson(mean: float) -> tuple[int, int]:
    """Central interval that holds at least 95 % of a Poisson variable."""
    below, low, at = 0.0, 0, 0
    while True:
        chance = math.exp(-mean + at * math.log(mean) - math.lgamma(at + 1))
        below += chance
        low = at + 1 if below < 0.025 else low
        if below >= 0.975:
            return low, at
        at += 1


def _of_family(family: Family, seed: int, past: int, allowed: float) -> int:
    return _alarms(*simulated(family, seed, 24 * (past + budget.DAYS)), 24 * past, allowed)


def _shuffled(losses: Floats, seed: int, past: int, allowed: float) -> int:
    """The losses in shuffled order, dealt out to hours with a daily season of traffic."""
    rng = np.random.default_rng(seed)
    hours = 24 * (past + budget.DAYS)
    traffic = 1 + 0.7 * np.sin(2 * np.pi * np.arange(hours) / 24)
    ends = np.round(np.cumsum(traffic) / traffic.sum() * len(losses)).astype(int)
    sums = np.concatenate([[0.0], np.cumsum(rng.permutation(losses))])
    starts = np.concatenate([[0], ends[:-1]])
    return _alarms((ends - starts).astype(float), sums[ends] - sums[starts], 24 * past, allowed)


def _alarms(n: Floats, total: Floats, past: int, allowed: float) -> int:
    """Alarms in the slots after the past, of which the threshold was made."""
    made = budget.calibrate(n[:past], total[:past], HOURLY, allowed)
    reached = budget.statistic(n, total, made.reference, made.windows, 0)[past:]
    return len(budget.episodes(reached, made.threshold))


if __name__ == "__main__":
    main()
