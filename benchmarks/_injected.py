"""Injected drifts in real streams: who finds them, how soon, at the same number of alarms."""

import copy
import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from river import drift as rivers
from river.drift import kswin
from scipy import stats

from benchmarks._alarm_streams import REAL, Real, real
from benchmarks._head import head
from contracts.quantities import ConfigError
from data import drifts
from drift import budget
from drift.budget import Clock, Floats

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

ONSETS = (0.7,)
"""Of the rows that are watched."""
KINDS = {
    "10 % of labels wrong": "label-noise at={at} share=0.1",
    "25 % of labels wrong": "label-noise at={at} share=0.25",
    "labels flip": "abrupt at={at}",
    "labels flip gradually": "gradual at={at} width={horizon}",
    "labels flip now and then": "recurring at={at} period={period}",
    "main column shifts": "shift at={at} column={main} by=1sd",
    "main column sticks": "stuck at={at} column={main}",
    "main column noisy": "noise at={at} column={main} by=2sd",
}
BUDGETS = tuple(np.geomspace(0.05, 400, 40).tolist())
MOST_DAYS, LEAST_DAYS = 112, 28
BINARY = {name: getattr(rivers.binary, name) for name in ("DDM", "EDDM", "FHDDM", "HDDMA", "HDDMW")}
DETECTORS: dict[str, Callable[[], Any]] = {
    "ADWIN": rivers.ADWIN,
    "PageHinkley": rivers.PageHinkley,
    "KSWIN": lambda: rivers.KSWIN(seed=1),
    **BINARY,
}
OURS = "ours"


@dataclass
class Case:
    """One change in one stream: rows are counted from the first that is watched."""

    stream: str
    kind: str
    rows: int
    """Watched rows before the change."""
    horizon: int
    """Rows after it within which it must be found."""
    alarms: dict[str, list[list[int]]] = field(default_factory=dict)
    """Rows at which each method alarms; of ours, for each of the budgets."""


def play(folder: Path, names: Sequence[str], processes: int) -> None:
    print(f"Injected drifts in real streams, at equal numbers of alarms\n{head()}\n")
    with Pool(processes) as pool:
        found = pool.starmap(_of_streams, [(folder, name) for name in names or REAL], chunksize=1)
    tell([case for cases in found for case in cases])


def _of_streams(folder: Path, name: str) -> list[Case]:
    return [case for one in real(folder, [name]) for case in _of_stream(one)]


def _of_stream(one: Real) -> list[Case]:
    losses, _ = one.scored(one.pairs[one.first :])
    begin = one.first + LEAST_DAYS * one.day
    watched = len(one.pairs) - begin
    horizon = min(1_500, int(0.12 * watched))
    main, cases = _main(one, losses), []
    known = _Known(one)
    for share in ONSETS:
        at = begin + int(share * watched)
        for kind, spec in KINDS.items():
            text = spec.format(at=at, horizon=horizon // 2, period=max(horizon // 6, 1), main=main)
            drifted = _changed(one, text, at, horizon)
            if drifted is None:
                continue
            after, _ = one.scored(drifted)
            case = Case(one.name, kind, at - begin, len(after))
            stream = np.concatenate([losses[: at - one.first], after])
            case.alarms[OURS] = [_since(rows, begin - one.first) for rows in ours(stream, one.day, known.solved)]
            for name, rows in known.detected(losses[: at - one.first], after).items():
                case.alarms[name] = [_since(rows, begin - one.first)]
            for name, rows in known.shares(at, drifted, horizon).items():
                case.alarms[name] = [_since(rows, begin - one.first)]
            cases.append(case)
    print(f"# {one.name}: {len(cases)} changes, the main column is {main}", flush=True)
    return cases


def _since(rows: Sequence[int], begin: int) -> list[int]:
    return [row - begin for row in rows if row >= begin]


def _changed(one: Real, spec: str, at: int, horizon: int) -> list[Any] | None:
    """Rows from the change to the horizon; None where it does not fit the stream."""

    try:
        injection = drifts.Injection([drifts.parse(spec)], one.schema)
    except ConfigError as error:
        print(f"# {one.name}: left out, {error}")
        return None
    return list(injection.rows(one.pairs[: at + horizon]))[at:]


def _main(one: Real, losses: Floats) -> str:
    """The number whose shuffling costs the model most."""
    pairs = one.pairs[one.first : one.first + 1_500]
    rng, costs = np.random.default_rng(0), {}
    for feature in one.schema.features:
        if feature.type not in ("float", "int"):
            continue
        values = [features.get(feature.name) for features, _ in pairs]
        order = rng.permutation(len(values))
        shuffled = [
            ({**{k: v for k, v in f.items() if k != feature.name}}
             | ({feature.name: values[i]} if values[i] is not None else {}), y)
            for (f, y), i in zip(pairs, order, strict=True)
        ]  # fmt: skip
        costs[feature.name] = float(one.scored(shuffled)[0].mean() - losses[: len(pairs)].mean())
    return max(costs, key=lambda name: costs[name])


def ours(losses: Floats, day: int, solved: dict[str, Any]) -> list[list[int]]:
    """Rows at which alarms begin, for each budget: each 30 days judged by up to 112 days before them."""
    rows = day // 24
    slots = len(losses) // rows
    n, total = np.full(slots, float(rows)), losses[: slots * rows].reshape(slots, rows).sum(axis=1)
    clock, found = Clock(24, 24), [list[int]() for _ in BUDGETS]
    stands = [False] * len(BUDGETS)
    for end in range(LEAST_DAYS * 24, slots, clock.month):
        begin = max(0, end - MOST_DAYS * 24)
        past = n[begin:end], total[begin:end]
        key = hashlib.sha256(past[1].tobytes()).hexdigest()
        windows = clock.windows(end - begin)
        if key not in solved:
            reached = budget.simulate(*past, clock, windows, begin % 24, 200)
            curve = budget.counted(reached)
            thresholds = [budget.solve(curve, allowed, end - begin, clock)[0] for allowed in BUDGETS]
            solved[key] = budget.learn(*past, 24, windows, begin % 24), thresholds
        reference, thresholds = solved[key]
        seen = slice(begin, end + clock.month)
        reached = budget.statistic(n[seen], total[seen], reference, windows, begin % 24)[end - begin :]
        for i, threshold in enumerate(thresholds):
            for at, value in enumerate(reached.tolist()):
                if not stands[i] and value >= threshold:
                    found[i].append((end + at + 1) * rows - 1)
                    stands[i] = True
                elif stands[i] and value < budget.REARM * threshold:
                    stands[i] = False
    return found


@dataclass
class _Known:
    """What all changes of one stream share: everything before them."""

    one: Real
    solved: dict[str, Any] = field(default_factory=dict)
    _fed: dict[int, dict[str, Any]] = field(default_factory=dict)
    _windows: dict[int, float] = field(default_factory=dict)

    def detected(self, before: Floats, after: Floats) -> dict[str, list[int]]:
        """Rows at which River's detectors, with their defaults, find drift."""
        kswin.stats = SimpleNamespace(ks_2samp=_ks)
        binary = not self.one.schema.label.is_regression
        names = [name for name in DETECTORS if binary or name not in BINARY]
        if len(before) not in self._fed:
            self._fed[len(before)] = {name: _feed(DETECTORS[name](), before, 0, name) for name in names}
        found = {}
        for name, (detector, rows) in self._fed[len(before)].items():
            _, more = _feed(copy.deepcopy(detector), after, len(before), name)
            found[name] = rows + more
        return found

    def shares(self, at: int, drifted: Sequence[Any], horizon: int) -> dict[str, list[int]]:
        """Rows at which Evidently's default tests say that half of the columns drift, and that any does."""
        size = min(1_000, max(horizon, 100))
        step, first = size // 2, self.one.first
        rows = [*self.one.pairs[first:at], *drifted]
        ends = range(size, len(rows) + 1, step)
        shares = []
        for end in ends:
            if first + end <= at:
                if end not in self._windows:
                    self._windows[end] = self._share(rows[end - size : end])
                shares.append(self._windows[end])
            else:
                shares.append(self._share(rows[end - size : end]))
        return {
            "Evidently, half": _begins([share >= 0.5 for share in shares], ends),
            "Evidently, any": _begins([share > 0 for share in shares], ends),
        }

    def _share(self, pairs: Sequence[Any]) -> float:
        reference = self.one.pairs[max(0, self.one.first - 5_000) : self.one.first]
        drifted = []
        for feature in self.one.schema.features:
            kind = ColumnType.Numerical if feature.type in ("float", "int") else ColumnType.Categorical
            old, new = (pd.Series([f.get(feature.name) for f, _ in side]).dropna() for side in (reference, pairs))
            if kind == ColumnType.Categorical:
                old, new = old.astype(str), new.astype(str)
            if len(old) and len(new):
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    drifted.append(get_stattest(old, new, kind, None)(old, new, kind, None).drifted)
        return float(np.mean(drifted))


@cache
def _chance(steps: int, n: int) -> float:
    """What scipy gives for two samples of n whose distributions are `steps` of n apart."""
    return float(stats.ks_2samp(np.arange(n), np.arange(n) + steps, method="exact").pvalue)


def _ks(first: Sequence[float], second: Sequence[float], method: str) -> tuple[float, float]:
    """As scipy's `ks_2samp` for samples of one size, without the half millisecond that this takes for each row."""
    old, new = np.sort(first), np.sort(second)
    both = np.concatenate([old, new])
    gaps = np.searchsorted(old, both, side="right") - np.searchsorted(new, both, side="right")
    steps = int(np.abs(gaps).max())
    return steps / len(old), _chance(steps, len(old))


def _feed(detector: Any, losses: Floats, first: int, name: str) -> tuple[Any, list[int]]:
    found = []
    for at, loss in enumerate(losses.tolist()):
        detector.update(bool(loss) if name in BINARY else loss)
        if detector.drift_detected:
            found.append(first + at)
    return detector, found


def _begins(over: Sequence[bool], ends: Sequence[int]) -> list[int]:
    """A standing alarm counts once, as ours does."""
    return [end - 1 for at, end in enumerate(ends) if over[at] and (at == 0 or not over[at - 1])]


@dataclass(frozen=True)
class Outcome:
    alarms: int
    recall: float
    delay: float
    """Mean rows to the first alarm after a change, as a share of the horizon; 1 where there is none."""

    def __str__(self) -> str:
        return f"{self.alarms:>7,}{self.recall:>8.2f}{self.delay:>7.2f}"


def outcome(cases: Sequence[Case], rows_of: Callable[[Case], list[int]]) -> Outcome:
    alarms, delays = 0, []
    for case in cases:
        rows = rows_of(case)
        alarms += len(rows)
        after = [row - case.rows for row in rows if case.rows <= row < case.rows + case.horizon]
        delays.append(min(after, default=case.horizon) / case.horizon)
    return Outcome(alarms, float(np.mean([delay < 1 for delay in delays])), float(np.mean(delays)))


def every(cases: Sequence[Case], alarms: int) -> Outcome:
    """Of an alarm each N rows, N giving so many, with an even chance for each place of the first."""
    n = max(1.0, sum(case.rows + case.horizon for case in cases) / max(alarms, 1))
    recalls = [min(1.0, case.horizon / n) for case in cases]
    delays = [n / 2 / case.horizon if n < case.horizon else 1 - case.horizon / n / 2 for case in cases]
    return Outcome(alarms, float(np.mean(recalls)), float(np.mean(delays)))


def tell(cases: Sequence[Case]) -> None:
    print(f"\n{'':<18}{'':>6}{'theirs':>22}{'ours':>22}{'every N rows':>22}")
    print(f"{'against':<18}{'cases':>6}" + f"{'alarms':>7}{'recall':>8}{'delay':>7}" * 3)
    for name in [*DETECTORS, "Evidently, half", "Evidently, any"]:
        known = [case for case in cases if name in case.alarms]
        theirs = outcome(known, lambda case, name=name: case.alarms[name][0])
        mine = _matched(known, theirs.alarms)
        dumb = every(known, mine.alarms)
        print(f"{name:<18}{len(known):>6} {theirs} {mine} {dumb}   {_verdict(mine, theirs, dumb)}", flush=True)
    print("\nBy kind of change, ours at the alarms of each (recall)")
    print(f"{'':<26}" + "".join(f"{name[:14]:>16}" for name in [*DETECTORS, "Evidently, half"]))
    for kind in KINDS:
        line = ""
        for name in [*DETECTORS, "Evidently, half"]:
            known = [case for case in cases if name in case.alarms]
            some = [case for case in known if case.kind == kind]
            at = _at(known, outcome(known, lambda case, name=name: case.alarms[name][0]).alarms)
            theirs = outcome(some, lambda case, name=name: case.alarms[name][0])
            mine = outcome(some, lambda case, at=at: case.alarms[OURS][at])
            line += f"{f'{mine.recall:.2f} / {theirs.recall:.2f}':>16}"
        print(f"{kind:<26}{line}")


def _at(cases: Sequence[Case], alarms: int) -> int:
    """The largest budget that gives no more alarms; the smallest one where all give more."""
    totals = [outcome(cases, lambda case, i=i: case.alarms[OURS][i]).alarms for i in range(len(BUDGETS))]
    return max((i for i, total in enumerate(totals) if total <= alarms), default=0)


def _matched(cases: Sequence[Case], alarms: int) -> Outcome:
    at = _at(cases, alarms)
    return outcome(cases, lambda case: case.alarms[OURS][at])


def _verdict(mine: Outcome, theirs: Outcome, dumb: Outcome) -> str:
    if mine.alarms > theirs.alarms:
        return "LOST: ours cannot alarm as seldom"
    lost = [
        f"{what} to {whom}"
        for whom, other in (("it", theirs), ("every N", dumb))
        for what, is_worse in (("recall", mine.recall < other.recall), ("delay", mine.delay > other.delay))
        if is_worse
    ]
    return f"LOST: {', '.join(lost)}" if lost else "ahead"
