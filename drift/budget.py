"""Thresholds from a stated budget of false alarms: the whole alarm process, simulated on a stream's own past.

A loss is watched in slots of equal length. What a slot's loss has beyond what is expected (its labels times the mean
loss at that phase of the season, over the reference) is summed over windows of several lengths, and divided by the
deviation of such windows in the reference, their variance taken as proportional to what is expected (quasi-Poisson, as
in Farrington et al. (1996), "A statistical algorithm for the early detection of outbreaks of infectious disease"). The
largest is the statistic. An alarm begins when it reaches the threshold and ends when it is back at half of that, so
that a standing alarm counts once.

The threshold is the one at which futures that were resampled from the past give as many alarms in 30 days as the
budget says. Each simulation draws a reference and a future, and estimates profile and spread anew from that reference,
so that what is not known about a short past raises the threshold (the bootstrap-t argument). Blocks of several days,
of the same phase of the season, keep autocorrelation and season: Künsch (1989), "The jackknife and the bootstrap for
general stationary observations"; Politis and Romano (1992), "A circular block-resampling procedure for stationary
data"; Dudek, Leśkow, Paparoditis and Politis (2014), "A generalized block bootstrap for seasonal time series".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DAYS = 30
"""What budgets are stated for."""
REARM = 0.5
"""Share of the threshold at which an alarm ends."""
SIMULATIONS = 300
_UNSEEN = 1 / 3
"""Alarms in the length of the past by which simulations stay below the budget. The threshold for rare alarms rests on
the few largest values of the past and varies with them; too low a one costs more alarms than too high a one saves. Over
four families of streams, 28 and 56 days of past and budgets of 0.3, 1 and 3, thresholds for the budget itself gave
about 1 + 1/(3k) times as many alarms, k being what the budget allows in the length of the past: so this many more."""
_SHARE = 0.25
_THRESHOLDS = 120
_SEED = 20_260_101
_WINDOWS_H = (1, 2, 4, 8, 24, 72, 168)
_NEVER = 1e-12
_ONE_LOSS = 1.0
"""Added to each variance: the largest loss there is, once, is nobody's alarm, however seldom it was seen."""
_LEAST = 2.5
"""No threshold is lower, also where the past has nothing that varies."""
_LONGEST = 6
"""A window is at most the reference divided by this: what is longer varied too seldom to be known."""


@dataclass(frozen=True)
class Clock:
    """How a stream's time is cut, in slots."""

    season: int
    """Slots of one season."""
    day: int
    """Slots of a day; blocks are whole days, and whole seasons where those are shorter."""
    cadence: int = 1
    """Slots from one look to the next."""

    @property
    def month(self) -> int:
        return DAYS * self.day

    def windows(self, past: int) -> tuple[int, ...]:
        """Lengths of windows that a reference of so many slots can judge."""
        lengths = {max(1, round(hours * self.day / 24)) for hours in _WINDOWS_H}
        return tuple(sorted(w for w in lengths if w <= max(1, past // _LONGEST)))

    def block(self, past: int) -> int:
        """Block length for a reference of so many slots: the cube root of its days (Hall, Horowitz and Jing, 1995)."""
        return math.ceil(math.cbrt(past / self.day)) * self.day


@dataclass(frozen=True)
class Reference:
    """What is normal: of one stream, or of many simulated ones (then arrays have a first axis)."""

    profile: Floats
    """Mean loss by phase of the season, float64[..., season]."""
    spread: Floats
    """Variance of windows' loss by their length, in units of what is expected in them, float64[..., windows]."""


@dataclass(frozen=True)
class Calibration:
    """A threshold with what it was made of."""

    reference: Reference
    windows: tuple[int, ...]
    threshold: float
    expected: float
    """Alarms in 30 days that the simulations gave at the threshold."""
    error: float
    """Standard error of that, from the number of simulations."""
    past: int
    """Slots of the reference."""


@dataclass(frozen=True)
class Curve:
    """Alarms in 30 days by threshold, ascending, with the standard error of their mean."""

    thresholds: Floats
    means: Floats
    errors: Floats


@dataclass(frozen=True)
class Episode:
    """One alarm, by the looks at which it began and ended; `end` is None while it stands."""

    begin: int
    end: int | None


def calibrate(
    n: npt.ArrayLike, total: npt.ArrayLike, clock: Clock, budget: float, phase: int = 0, simulations: int = SIMULATIONS
) -> Calibration:
    """The threshold for `budget` false alarms in 30 days, from the labels and summed losses of past slots.

    Both are float64[T], the losses divided by their range; slot k has phase (phase + k) of the season. Of the past the
    newest whole seasons count. Raises ValueError when there are fewer than two.
    """
    n, total = np.asarray(n, np.float64), np.asarray(total, np.float64)
    past = len(n) // clock.season * clock.season
    if past < 2 * clock.season:
        raise ValueError(f"{len(n)} slots of past are fewer than two seasons of {clock.season}")
    phase = (phase + len(n) - past) % clock.season
    n, total = n[-past:], total[-past:]
    windows = clock.windows(past)
    curve = counted(simulate(n, total, clock, windows, phase, simulations))
    threshold, expected, error = solve(curve, budget, past, clock)
    return Calibration(learn(n, total, clock.season, windows, phase), windows, threshold, expected, error, past)


def learn(n: Floats, total: Floats, season: int, windows: Sequence[int], phase: int) -> Reference:
    """The reference in slots float64[..., T] of whole seasons."""
    shape = (*n.shape[:-1], -1, season)
    asked, lost = n.reshape(shape).sum(axis=-2), total.reshape(shape).sum(axis=-2)
    events = asked.sum(axis=-1, keepdims=True)
    mean = lost.sum(axis=-1, keepdims=True) / np.maximum(events, 1)
    profile = np.roll(np.where(asked > 0, lost / np.maximum(asked, 1), mean), phase, axis=-1)
    excess, expected = _against(n, total, profile, phase)
    spread = []
    for w in windows:
        squares, sums = (
            np.mean(part[..., w - 1 :], axis=-1) for part in (_summed(excess, w) ** 2, _summed(expected, w))
        )
        spread.append(squares / np.maximum(sums, _NEVER))
    return Reference(profile, np.stack(spread, axis=-1))


def statistic(n: Floats, total: Floats, reference: Reference, windows: Sequence[int], phase: int) -> Floats:
    """The largest studentised excess of the windows that end with each slot, float64[..., T]."""
    largest: Floats = by_window(n, total, reference, windows, phase).max(axis=0)
    return largest


def by_window(n: Floats, total: Floats, reference: Reference, windows: Sequence[int], phase: int) -> Floats:
    """The studentised excess of each window that ends with each slot, float64[windows, ..., T]."""
    excess, expected = _against(n, total, reference.profile, phase)
    found: Floats = np.stack(
        [
            _summed(excess, w) / np.sqrt(_summed(expected, w) * reference.spread[..., at, None] + _ONE_LOSS)
            for at, w in enumerate(windows)
        ]
    )
    return found


def episodes(reached: Floats, threshold: float) -> list[Episode]:
    """Alarms in the statistic of consecutive looks, float64[L]; a standing one counts once."""
    found: list[Episode] = []
    begin: int | None = None
    for at, value in enumerate(reached.tolist()):
        if begin is None and value >= threshold:
            begin = at
        elif begin is not None and value < REARM * threshold:
            found.append(Episode(begin, at))
            begin = None
    return found if begin is None else [*found, Episode(begin, None)]


def _against(n: Floats, total: Floats, profile: Floats, phase: int) -> tuple[Floats, Floats]:
    """Loss beyond what the profile lets expect, and that itself, by slot."""
    season = profile.shape[-1]
    expected = n * np.take(profile, (phase + np.arange(n.shape[-1])) % season, axis=-1)
    return total - expected, expected


def _summed(values: Floats, window: int) -> Floats:
    """Sums of the window that ends with each slot; shorter ones at the start."""
    sums = np.cumsum(values, axis=-1)
    sums[..., window:] = sums[..., window:] - sums[..., :-window]
    return sums


def simulate(n: Floats, total: Floats, clock: Clock, windows: Sequence[int], phase: int, simulations: int) -> Floats:
    """The statistic at the looks of 30 days, float64[simulations, looks], each after a reference of its own."""
    past, rng = len(n), np.random.default_rng(_SEED)
    drawn = resampled(past, past + clock.month, clock, simulations, rng)
    n, total = n[drawn], total[drawn]
    reference = learn(n[:, :past], total[:, :past], clock.season, windows, phase)
    tail = slice(past - max(windows), None)
    at = (phase + past - max(windows)) % clock.season
    reached = statistic(n[:, tail], total[:, tail], reference, windows, at)[:, max(windows) :]
    return reached[:, clock.cadence - 1 :: clock.cadence]


def resampled(past: int, length: int, clock: Clock, times: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Which slot of the past stands in each slot of resampled streams, int[times, length], the season kept."""
    block = clock.block(past)
    blocks = -(-length // block)
    shifts = rng.integers(0, past // clock.season, (times, blocks)) * clock.season
    starts = shifts + np.arange(blocks) * block % clock.season
    drawn: npt.NDArray[np.intp] = (starts[:, :, None] + np.arange(block)).reshape(times, -1)[:, :length] % past
    return drawn


def solve(curve: Curve, budget: float, past: int, clock: Clock) -> tuple[float, float, float]:
    """(threshold, mean alarms at it, standard error of that mean) for a budget, after so many slots of past."""
    aim = budget * max(1 - _UNSEEN * clock.month / (budget * past), _SHARE)
    over = np.flatnonzero(curve.means > aim)
    at = int(over[-1]) + 1 if len(over) else 0
    error = float(curve.errors[min(at, len(curve.means) - 1)])
    if at == 0:
        return _LEAST, float(curve.means[0]), error
    if at == len(curve.means):
        return math.nextafter(float(curve.thresholds[-1]), math.inf), 0.0, error
    share = (curve.means[at - 1] - aim) / (curve.means[at - 1] - curve.means[at])
    return float(curve.thresholds[at - 1] + share * (curve.thresholds[at] - curve.thresholds[at - 1])), aim, error


def counted(reached: Floats) -> Curve:
    """From what `simulate` gave."""
    thresholds = np.linspace(_LEAST, max(float(reached.max()), _LEAST), _THRESHOLDS)
    counts = _counted(reached, thresholds)
    return Curve(thresholds, counts.mean(axis=0), counts.std(axis=0) / math.sqrt(len(reached)))


def _counted(reached: Floats, thresholds: Floats) -> Floats:
    """Alarms by simulation and threshold."""
    stands = np.zeros((len(reached), len(thresholds)), bool)
    counts = np.zeros(stands.shape)
    for values in reached.T:
        begins = ~stands & (values[:, None] >= thresholds)
        counts += begins
        stands = begins | (stands & (values[:, None] >= REARM * thresholds))
    return counts
