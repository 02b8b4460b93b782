"""A watch on a promoted version: a Shiryaev-Roberts e-detector on paired losses.

At every start (each 100 events) a fresh e-process for "the new version is no worse" begins, and all are summed. The
sum's mean is at most the number of starts, so the mean number of events to a false alarm is at least
100 x (threshold - 1), under any dependence. Source: Shin, Ramdas and Rinaldo, "E-detectors" (2203.03532).
"""

import json
import math
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from registry.evidence import GRID, LOG_WEIGHT, STAKES, Floats

THRESHOLD = 1_000.0  # a false alarm every 100,000 events at the earliest, on average
START_EVERY = 100


class Detector:
    """Alarms when z = (loss of the new - loss of the previous version) / range, in [-1, 1], runs above `tau`.

    The alarm latches: once raised it stays, at event `alarmed_at`, since the sum may fall again between two looks.
    """

    __slots__ = ("_log_r", "_peak", "alarmed_at", "n", "tau", "threshold")

    def __init__(self, threshold: float = THRESHOLD, tau: float = 0.0) -> None:
        if threshold <= 1:
            raise ValueError(f"threshold {threshold} must exceed 1; the mean time to a false alarm follows it")
        self.threshold, self.tau = threshold, tau
        self.n = 0
        self.alarmed_at: int | None = None
        self._log_r = np.full(len(STAKES), -np.inf)
        self._peak = -math.inf

    @property
    def alarm(self) -> bool:
        return self.alarmed_at is not None

    @property
    def log_r(self) -> float:
        """Natural log of the summed evidence now; -inf before the first event. The alarm is at log(threshold)."""
        return _log_sum_exp(self._log_r) if self.n else -math.inf

    @property
    def peak(self) -> float:
        """The largest `log_r` so far."""
        return self._peak

    def add(self, z: float) -> bool:
        """Count one event; returns `alarm`. Raises ValueError on NaN or |z| > 1, and then nothing has changed."""
        if not -1 <= z <= 1:
            raise ValueError(f"difference {z} is not in [-1, 1]; divide losses by their fixed range")
        starts = self.n % START_EVERY == 0
        self.n += 1
        if starts:
            self._log_r = np.logaddexp(self._log_r, LOG_WEIGHT)
        if starts or z != 0 or self.tau != 0:
            self._log_r = self._log_r + (np.log1p(STAKES * z) - STAKES * self.tau)
            self._look(self.n, _log_sum_exp(self._log_r))
        return self.alarm

    def add_many(self, z: npt.ArrayLike) -> bool:
        """Count events float64[n] in their order; returns `alarm`. Raises ValueError as `add` does, counting none."""
        values = np.asarray(z, dtype=np.float64).ravel()
        wrong = ~(np.abs(values) <= 1)
        if wrong.any():
            raise ValueError(f"difference {values[wrong][0]} is not in [-1, 1]; divide losses by their fixed range")
        while len(values):
            room = START_EVERY - self.n % START_EVERY
            self._add_stretch(values[:room])
            values = values[room:]
        return self.alarm

    def _add_stretch(self, z: Floats) -> None:
        """Events that hold at most one start, and that one first; summed one by one, so that batches change no bit."""
        if self.n % START_EVERY == 0:
            self._log_r = np.logaddexp(self._log_r, LOG_WEIGHT)
        steps = np.log1p(np.outer(z, STAKES)) - STAKES * self.tau
        grown = np.cumsum(np.vstack([self._log_r, steps]), axis=0)[1:]
        top = grown.max(axis=1)
        sums = top + np.log(np.exp(grown - top[:, None]).sum(axis=1))
        over = np.flatnonzero(sums >= math.log(self.threshold))
        if len(over):
            self._look(self.n + int(over[0]) + 1, float(sums[over[0]]))
        self._peak = max(self._peak, float(sums.max()))
        self._log_r = grown[-1]
        self.n += len(z)

    def _look(self, n: int, log_r: float) -> None:
        self._peak = max(self._peak, log_r)
        if self.alarmed_at is None and log_r >= math.log(self.threshold):
            self.alarmed_at = n

    def to_json(self) -> str:
        """The whole state; floats are written so that reading gives the same bits."""
        state: dict[str, Any] = {"grid": GRID, "threshold": self.threshold, "tau": self.tau, "n": self.n}
        if self.n:
            state |= {"alarmed_at": self.alarmed_at, "peak": self._peak, "log_r": self._log_r.tolist()}
        return json.dumps(state)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """What `to_json` wrote. Raises ValueError when it was written for other stakes."""
        state = json.loads(text)
        if state.get("grid") != GRID:
            raise ValueError(f"a detector with stakes {state.get('grid')!r}; this version reads {GRID!r} only")
        made = cls(state["threshold"], state["tau"])
        if state["n"]:
            made.n, made.alarmed_at, made._peak = state["n"], state["alarmed_at"], state["peak"]
            made._log_r = np.array(state["log_r"])
        return made


def _log_sum_exp(exponents: Floats) -> float:
    top = float(exponents.max())
    return top + math.log(float(np.exp(exponents - top).sum()))
