"""Many comparisons at once: the formulas of `registry.evidence` and `registry.rollback` over arrays of repetitions.

`test_evidence` and `test_rollback` hold that these give what the classes give, one event at a time.
"""

import math

import numpy as np
import numpy.typing as npt

from registry.evidence import LOG_WEIGHT, LOST, STAKES, WON

Array = npt.NDArray[np.float64]
TWENTY = math.log(20)  # one challenger at alpha 0.05
EIGHTY = math.log(80)  # four slots
_CHUNK = 2_000_000  # array elements worked on at a time: stays in memory that two cores share


def log_e(d: npt.NDArray, delta: float | Array = 0.0, every: int = 1) -> Array:
    """log E after each `every`-th event, [reps, looks], for differences [reps, events]; int8 means -1, 0, 1.

    float32 takes half the time and is right to 1e-3.
    `delta` may differ from event to event, float64[events].
    """
    rows = max(1, _CHUNK // d.shape[1])
    return np.vstack([_log_e(d[i : i + rows], delta, every) for i in range(0, len(d), rows)])


def _log_e(d: npt.NDArray, delta: float | Array, every: int) -> Array:
    looks = slice(every - 1, None, every)
    counted = d.dtype == np.int8
    spent = (np.arange(1, d.shape[1] + 1) * delta)[looks].astype(np.float64 if counted else d.dtype)
    total: Array | None = None
    if counted:
        wins = np.cumsum(d > 0, axis=1)[:, looks].astype(float)
        losses = np.cumsum(d < 0, axis=1)[:, looks].astype(float)
    for stake, won, lost in zip(STAKES, WON, LOST, strict=True):
        size = float(stake)  # a plain float, so that float32 stays float32
        wealth = wins * won + losses * lost if counted else np.cumsum(np.log1p(size * d), axis=1)[:, looks]
        grown = np.exp(np.minimum(wealth - size * spent, 80.0))  # beyond every threshold, short of overflow
        total = grown if total is None else total + grown
    assert total is not None
    return np.log(total) + LOG_WEIGHT


def crossed_at(evidence: Array, threshold: float, every: int = 1, least: int = 0) -> Array:
    """The event at which each row first reaches the threshold, inf where never; looks before `least` do not count."""
    over = evidence >= threshold
    over[:, : max(0, math.ceil(least / every) - 1)] = False
    return np.where(over.any(axis=1), (over.argmax(axis=1) + 1.0) * every, np.inf)


def draw(rng: np.random.Generator, reps: int, better: float | Array, worse: float | Array, events: int) -> npt.NDArray:
    """Differences of 0/1 losses, int8[reps, events]: +1 with probability `better`, -1 with `worse`."""
    uniform = rng.random((reps, events), dtype=np.float32)
    return (uniform < better).astype(np.int8) - (uniform > 1 - np.asarray(worse)).astype(np.int8)


def disagreements(
    rng: np.random.Generator, reps: int, better: float, worse: float, events: int
) -> tuple[npt.NDArray, Array]:
    """`draw` without its zeros, which leave E(0) alone: differences and the event number of each, inf past the end."""
    share = better + worse
    most = int(events * share + 8 * math.sqrt(events * share)) + 8
    at = np.cumsum(rng.geometric(share, (reps, most)), axis=1).astype(float)
    signs = np.where(rng.random((reps, most)) < better / share, 1, -1).astype(np.int8)
    assert (at[:, -1] >= events).all()
    return np.where(at <= events, signs, 0).astype(np.int8), np.where(at <= events, at, np.inf)


def share(flags: npt.NDArray) -> float:
    return float(np.mean(flags))


def alarmed_at(z: npt.NDArray, threshold: float = 1_000.0, start_every: int = 100) -> Array:
    """The event at which the rollback detector alarms on each row of z [reps, events], inf where never."""
    reps, events = z.shape
    first = np.full(reps, np.inf)
    wealth = np.zeros((reps, len(STAKES)))
    for i in range(events):
        if i % start_every == 0:
            wealth += math.exp(LOG_WEIGHT)
        wealth *= 1 + STAKES * z[:, i, None]
        np.minimum(wealth, 1e280, out=wealth)
        over = wealth.sum(axis=1) >= threshold
        first[over & np.isinf(first)] = i + 1
    return first


def z_statistic(d: npt.NDArray) -> Array:
    """The paired z-statistic after each event, as a test that was planned for one look would have it."""
    n = np.arange(1, d.shape[1] + 1)
    s1, s2 = np.cumsum(d, axis=1, dtype=float), np.cumsum(np.square(d, dtype=float), axis=1)
    spread = np.sqrt(np.maximum(s2 / n - (s1 / n) ** 2, 1e-12))
    return s1 / n / spread * np.sqrt(n)


def log_msprt(d: npt.NDArray, tau: float = 0.02) -> Array:
    """log of the mixture SPRT with a N(0, tau^2) prior on the mean and the variance plugged in, from event 30 on."""
    n = np.arange(1, d.shape[1] + 1)
    s1, s2 = np.cumsum(d, axis=1, dtype=float), np.cumsum(np.square(d, dtype=float), axis=1)
    variance = np.maximum(s2 / n - (s1 / n) ** 2, 1e-12)
    wider = variance + n * tau * tau
    ratio = 0.5 * np.log(variance / wider) + tau * tau * s1**2 / (2 * variance * wider)
    ratio[:, :29] = -np.inf
    # One-sided: only a positive mean promotes.
    return np.where(s1 > 0, ratio, -np.inf)
