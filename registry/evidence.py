"""Evidence that a challenger beats the champion, valid however often one looks.

Each event is one paired difference d = (champion's loss - challenger's loss) / loss range, in [-1, 1]; d > 0 means
that the challenger was better. For a constant stake s in [0, 1), the product of (1 + s d_i) exp(-s delta) is at most a
non-negative martingale at every moment at which the running mean of the conditional advantages is at most delta,
because log(1 + x) <= x. A fixed mixture over stakes is therefore an e-process: by Ville's inequality it ever reaches
1/alpha with probability at most alpha, under any drift and dependence, at any stopping time. Inverting it in delta
gives a confidence sequence, so a band and the gate never disagree.

Sources (arXiv): Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (2010.09686);
Choe and Ramdas, "Comparing sequential forecasters" (2110.00115); Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform,
nonparametric, nonasymptotic confidence sequences" (1810.08240).
"""

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

GRID = "v1"  # names the stakes below in stored evidence; other stakes need another name
STAKES: Floats = 0.9 * 2.0 ** (-np.arange(16) / 2)  # 0.9 keeps log1p(-stake) above -2.31, so no sum overflows
LOG_WEIGHT = -math.log(len(STAKES))
WON: Floats = np.log1p(STAKES)  # what d = +1 adds for each stake on "better", and d = -1 for each stake on "worse"
LOST: Floats = np.log1p(-STAKES)


class Moment(NamedTuple):
    """What a band is drawn from, at one moment of a comparison."""

    n: int
    mean: float
    plus: Floats
    minus: Floats
    """As `Evidence.totals` gives them."""
    at: float
    """Epoch seconds at which the newest question was asked; 0 where that is not known."""


class Point(NamedTuple):
    """Of a curve."""

    n: int
    log10_e: float
    mean: float
    lower: float
    upper: float
    at: float = 0.0
    """As of its moment."""


class Evidence:
    """Additive sums over paired differences: constant size, order-free, mergeable, exactly retractable.

    `n` counts events, `wins` those with d > 0, `losses` those with d < 0; `s1` and `s2` are the sums of d and d*d.
    `started_at` and `ended_at` (epoch seconds, or None) say when the first and the last counted question was asked.
    """

    __slots__ = ("_down", "_minus", "_plus", "_s1", "_s2", "_up", "ended_at", "losses", "n", "started_at", "wins")

    def __init__(self, started_at: float | None = None) -> None:
        self.n = self.wins = self.losses = 0
        self.started_at: float | None = started_at
        self.ended_at: float | None = None
        # d = +1 and d = -1 are counted, not summed: with 0/1 loss the whole state is exact integers.
        self._up = self._down = 0
        self._s1 = self._s2 = 0.0
        self._plus, self._minus = np.zeros_like(STAKES), np.zeros_like(STAKES)

    @classmethod
    def of_counts(cls, n: int, wins: int, losses: int) -> Self:
        """The evidence of n events under 0/1 loss, `wins` for the challenger and `losses` against it."""
        if min(wins, losses) < 0 or wins + losses > n:
            raise ValueError(f"{wins} wins and {losses} losses do not fit into {n} events")
        made = cls()
        made.n, made.wins, made.losses, made._up, made._down = n, wins, losses, wins, losses
        return made

    @property
    def s1(self) -> float:
        return self._up - self._down + self._s1

    @property
    def s2(self) -> float:
        return self._up + self._down + self._s2

    @property
    def mean(self) -> float:
        """The average advantage so far; 0 before the first event."""
        return self.s1 / self.n if self.n else 0.0

    @property
    def is_zero_one(self) -> bool:
        """True while every difference was -1, 0 or 1: the loss then counts mistakes."""
        return self._up + self._down == self.wins + self.losses

    def add(self, d: float, at: float | None = None) -> None:
        """Count one difference, asked at `at`. Raises ValueError on NaN or |d| > 1, and then nothing has changed."""
        _check(d)
        self._count(d, 1)
        if at is not None:
            self._span(at)

    def retract(self, d: float) -> None:
        """Undo one earlier add(d). Raises ValueError where no such difference can have been added."""
        _check(d)
        if not self._counted(d):
            raise ValueError(f"difference {d} cannot be retracted: none like it was counted")
        self._count(d, -1)

    def _counted(self, d: float) -> bool:
        if d == 0:
            return self.n > self.wins + self.losses
        if abs(d) == 1:
            return (self._up if d > 0 else self._down) > 0
        return (self.wins > self._up) if d > 0 else (self.losses > self._down)

    def _count(self, d: float, times: int) -> None:
        self.n += times
        if d == 0:
            return
        if d > 0:
            self.wins += times
        else:
            self.losses += times
        if d == 1:
            self._up += times
        elif d == -1:
            self._down += times
        else:
            self._s1 += times * float(d)
            self._s2 += times * (float(d) * float(d))
            self._plus += times * np.log1p(STAKES * d)
            self._minus += times * np.log1p(-STAKES * d)

    def add_many(self, d: npt.ArrayLike, at: npt.ArrayLike | None = None) -> None:
        """Count differences float64[n], asked at float64[n]. Raises ValueError as `add` does; then none is counted."""
        self.follow(d, at)

    def follow(self, d: npt.ArrayLike, at: npt.ArrayLike | None = None, every: int | None = None) -> list[Moment]:
        """Count as `add_many` does; returns the moments at which `n` had become a multiple of `every`."""
        values = np.asarray(d, dtype=np.float64).ravel()
        wrong = ~(np.abs(values) <= 1)
        if wrong.any():
            _check(float(values[wrong][0]))
        won, lost = values == 1, values == -1
        is_between = (values != 0) & ~won & ~lost
        between = values[is_between]
        sums = [np.asarray(start)[None] for start in (self._s1, self._s2, self._plus, self._minus)]
        if len(between):
            staked = np.outer(between, STAKES)
            rows = (between, between * between, np.log1p(staked), np.log1p(-staked))
            # Onto the start, row by row, as `add` sums them: how events are batched changes no bit.
            sums = [np.cumsum(np.concatenate([start, each]), axis=0) for start, each in zip(sums, rows, strict=True)]
        times = np.zeros(len(values)) if at is None else np.asarray(at, dtype=np.float64)
        due = np.arange(every - self.n % every, len(values) + 1, every) - 1 if every else np.empty(0, np.intp)
        moments = self._moments(due, won, lost, np.cumsum(is_between)[due], sums, times) if len(due) else []
        self.n += len(values)
        self.wins += int((values > 0).sum())
        self.losses += int((values < 0).sum())
        self._up += int(won.sum())
        self._down += int(lost.sum())
        if len(between):
            self._s1, self._s2 = float(sums[0][-1]), float(sums[1][-1])
            self._plus, self._minus = sums[2][-1], sums[3][-1]
        if at is not None and len(values):
            self._span(float(times.min()))
            self._span(float(times.max()))
        return moments

    def _moments(
        self,
        due: npt.NDArray[np.intp],
        won: Bools,
        lost: Bools,
        rows: npt.NDArray[np.intp],
        sums: list[Floats],
        at: Floats,
    ) -> list[Moment]:
        """After the differences at `due`, intp[k], whose sums stand in `rows`, intp[k]."""
        n, up, down = self.n + due + 1, self._up + np.cumsum(won)[due], self._down + np.cumsum(lost)[due]
        mean = (up - down + sums[0][rows]) / n
        plus = up[:, None] * WON + down[:, None] * LOST + sums[2][rows]
        minus = up[:, None] * LOST + down[:, None] * WON + sums[3][rows]
        latest = np.maximum(np.maximum.accumulate(at)[due], self.ended_at or 0.0)
        return list(map(Moment, n.tolist(), mean.tolist(), plus, minus, latest.tolist()))

    def merge(self, other: "Evidence") -> None:
        """Count everything that `other` counted; the two must not share events."""
        self.n += other.n
        self.wins += other.wins
        self.losses += other.losses
        self._up += other._up
        self._down += other._down
        self._s1 += other._s1
        self._s2 += other._s2
        self._plus += other._plus
        self._minus += other._minus
        if other.ended_at is not None:
            self._span(other.ended_at)
        if other.started_at is not None:
            self.started_at = min(other.started_at, other.started_at if self.started_at is None else self.started_at)

    def _span(self, at: float) -> None:
        if self.started_at is None or at < self.started_at:
            self.started_at = at
        if self.ended_at is None or at > self.ended_at:
            self.ended_at = at

    def totals(self) -> tuple[Floats, Floats]:
        """(log wealth of each stake on "better", of each stake on "worse"), float64[16] each, at delta = 0."""
        return self._up * WON + self._down * LOST + self._plus, self._up * LOST + self._down * WON + self._minus

    def log_e(self, delta: float = 0.0) -> float:
        """Natural log of the evidence against "the average advantage is at most delta"."""
        return float(_log_mean_exp(self.totals()[0] - self.n * delta * STAKES))

    def log_e_worse(self, delta: float = 0.0) -> float:
        """Natural log of the evidence against "the average advantage is at least delta"."""
        return float(_log_mean_exp(self.totals()[1] + self.n * delta * STAKES))

    def lower(self, alpha: float) -> float:
        """With probability 1 - alpha the average advantage is never below this; above delta iff E(delta) > 1/alpha."""
        return float(_roots(self.totals()[0][None], np.array([self.n], float), alpha)[0])

    def upper(self, alpha: float) -> float:
        """With probability 1 - alpha the average advantage is never above this."""
        return -float(_roots(self.totals()[1][None], np.array([self.n], float), alpha)[0])

    def bounds(self, alpha: float) -> tuple[float, float]:
        """(lower, upper); each side is ever wrong with probability at most alpha. (-1, 1) before the first event."""
        return self.lower(alpha), self.upper(alpha)

    def stressed(self, delta: float, lost: float, d: float) -> float:
        """`log_e(delta)` if `lost` of the wins, by `d` each, had been losses by as much instead.

        It needs no whole number: a share of the wins that is expected to be corrected.
        """
        d = min(1.0, max(0.0, d))
        change = lost * (np.log1p(-STAKES * d) - np.log1p(STAKES * d))
        return float(_log_mean_exp(self.totals()[0] + change - self.n * delta * STAKES))

    def moment(self) -> Moment:
        return Moment(self.n, self.mean, *self.totals(), self.ended_at or 0.0)

    def to_json(self) -> str:
        """The whole state; floats are written so that reading gives the same bits. Under 2 kB."""
        state: dict[str, Any] = {"grid": GRID, "n": self.n, "wins": self.wins, "losses": self.losses}
        state |= {"up": self._up, "down": self._down, "started_at": self.started_at, "ended_at": self.ended_at}
        if self._s2 or self._plus.any():
            state |= {"s1": self._s1, "s2": self._s2, "plus": self._plus.tolist(), "minus": self._minus.tolist()}
        return json.dumps(state)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """What `to_json` wrote. Raises ValueError when it was written for other stakes."""
        state = json.loads(text)
        if state.get("grid") != GRID:
            raise ValueError(f"evidence with stakes {state.get('grid')!r}; this version reads {GRID!r} only")
        made = cls.of_counts(state["n"], state["wins"], state["losses"])
        made._up, made._down = state["up"], state["down"]
        made.started_at, made.ended_at = state["started_at"], state["ended_at"]
        if "plus" in state:
            made._s1, made._s2 = state["s1"], state["s2"]
            made._plus, made._minus = np.array(state["plus"]), np.array(state["minus"])
        return made

    def __repr__(self) -> str:
        return f"Evidence(n={self.n}, wins={self.wins}, losses={self.losses}, s1={self.s1:.6g})"


def band(moments: Sequence[Moment], delta: float, alpha_lower: float, alpha_upper: float) -> list[Point]:
    """Evidence against "at most delta", with its bounds, at several moments at once: a tenth of the cost of each."""
    if not moments:
        return []
    n = np.array([moment.n for moment in moments], float)
    plus, minus = np.stack([moment.plus for moment in moments]), np.stack([moment.minus for moment in moments])
    log10_e = _log_mean_exp(plus - n[:, None] * delta * STAKES) / math.log(10)
    lower, upper = _roots(plus, n, alpha_lower), -_roots(minus, n, alpha_upper)
    columns = zip(log10_e.tolist(), lower.tolist(), upper.tolist(), moments, strict=True)
    return [Point(one.n, log_e, one.mean, low, high, one.at) for log_e, low, high, one in columns]


def _check(d: float) -> None:
    # Never clamped: a value outside is a loss with a wrong range, and clamping it would void the guarantee.
    if not -1 <= d <= 1:  # also catches NaN
        raise ValueError(f"difference {d} is not in [-1, 1]; divide losses by their fixed range")


def _log_mean_exp(exponents: Floats) -> Floats:
    """Over the last axis, which holds the stakes."""
    top = exponents.max(axis=-1)
    logs: Floats = top + LOG_WEIGHT + np.log(np.exp(exponents - top[..., None]).sum(axis=-1))
    return logs


def _roots(totals: Floats, n: Floats, alpha: float) -> Floats:
    """The delta at which each evidence equals 1/alpha, within [-1, 1]: float64[m] for totals float64[m, 16] and n [m].

    log E is convex and decreasing in delta, and the start lies left of the root (one stake alone reaches 1/alpha
    there), so Newton's steps rise monotonically to it. Each is stepped until it alone has arrived, so that its last
    bit does not depend on which others it is asked with.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha = {alpha} is not between 0 and 1")
    needed = -math.log(alpha) - LOG_WEIGHT
    counted = np.maximum(n, 1)[:, None] * STAKES
    x = ((totals - needed) / counted).max(axis=1)
    moves = n > 0
    for _ in range(50):
        exponents = totals - x[:, None] * counted
        top = exponents.max(axis=1)
        shares = np.exp(exponents - top[:, None])
        mass = shares.sum(axis=1)
        step = (top + np.log(mass) - needed) * mass / (shares * counted).sum(axis=1)
        x = np.where(moves, x + step, x)
        moves &= np.abs(step) >= 1e-12
        if not moves.any():
            break
    roots: Floats = np.where(n > 0, np.clip(x, -1.0, 1.0), -1.0)
    return roots
