"""Counters of one model in this process, and how they read to Prometheus."""

from bisect import bisect_left
from collections import Counter

BOUNDS_S = (
    *(0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5),
)
"""Close enough that p50 to p99.9 can be read within half of their value."""


class Counts:
    """What happened since this process started. Only ever grows."""

    def __init__(self) -> None:
        self.answered = 0
        self.unlogged = 0
        """Answers without an entry in the stream: prediction_id was null."""
        self.reloads = 0
        self.releases_refused = 0
        self.refusals: Counter[int] = Counter()
        """Requests that got an error, by status."""
        self.feedback: Counter[str] = Counter()
        self._buckets = [0] * (len(BOUNDS_S) + 1)
        self._seconds = 0.0

    def answer(self, seconds: float, logged: bool) -> None:
        self.answered += 1
        if not logged:
            self.unlogged += 1
        self._seconds += seconds
        self._buckets[bisect_left(BOUNDS_S, seconds)] += 1

    def latency(self, labels: str) -> list[str]:
        """Prometheus lines of the histogram of seconds from a request's last byte to its answer."""
        name, total, lines = "tiltyard_prediction_seconds", 0, []
        for bound, count in zip((*BOUNDS_S, "+Inf"), self._buckets, strict=True):
            total += count
            lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
        return [*lines, f"{name}_sum{{{labels}}} {self._seconds:.6f}", f"{name}_count{{{labels}}} {total}"]
