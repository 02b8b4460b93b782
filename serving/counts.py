"""Counters of one model in this process, of all it answers and of each version, and how they read to Prometheus."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable

from contracts.facts import AnsweringFacts

BOUNDS_S = (
    *(0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5),
)
"""Close enough that p50 to p99.9 can be read within half of their value."""

_VERSIONS_KEPT = 8
_MOST_FAILING = 10_000
_SUSPECT_TURNS = 100


class Durations:
    """A histogram of seconds."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        self.total_s += seconds
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1

    def quantile(self, share: float) -> float:
        """The bound that this share kept: an upper one, or the last bound where it lies beyond. 0 before the first."""
        wanted, so_far = share * sum(self.counts), 0
        for bound, count in zip(BOUNDS_S, self.counts, strict=False):
            so_far += count
            if so_far >= wanted:
                return bound if so_far else 0.0
        return BOUNDS_S[-1]

    def lines(self, name: str, labels: str) -> list[str]:
        """Prometheus's lines of it."""
        so_far, lines = 0, []
        for bound, count in zip((*BOUNDS_S, "+Inf"), self.counts, strict=True):
            so_far += count
            lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {so_far}')
        return [*lines, f"{name}_sum{{{labels}}} {self.total_s:.6f}", f"{name}_count{{{labels}}} {so_far}"]


class Tally:
    """What one version did with what it was asked here. Only ever grows."""

    __slots__ = ("_failing", "_limit_s", "by_class", "failed", "not_finite", "raised", "scoring", "slow", "suspect")

    def __init__(self, classes: int, limit_s: float):
        """Of a model with so many classes (1 for a value), whose turns shall take at most `limit_s` to score."""
        self.by_class = [0] * classes
        self.raised = self.not_finite = self.failed = self.slow = 0
        self.scoring = Durations()
        self.suspect = 0
        """Turns to come whose CPU time is measured, too: a call into the kernel that most turns need not pay."""
        self._limit_s = limit_s
        self._failing: set[Hashable] = set()

    def turn(self, seconds: float, cpu_s: float | None) -> None:
        """Counts one scoring of what was asked together.

        It is slow where its own CPU time says so: a busy machine delays the best of versions. The first turn that
        takes long by the clock makes the next ones measured.
        """
        self.scoring.add(seconds)
        if cpu_s is not None:
            self.suspect -= 1
        if seconds > self._limit_s:
            self.suspect = _SUSPECT_TURNS
            self.slow += cpu_s is not None and cpu_s > self._limit_s

    def fail(self, question: Hashable, raised: bool) -> bool:
        """Counts a question that got no score; tells whether it is the first one since `facts` were told."""
        if raised:
            self.raised += 1
        else:
            self.not_finite += 1
        if question in self._failing or len(self._failing) >= _MOST_FAILING:
            return False
        self._failing.add(question)
        self.failed += 1
        return len(self._failing) == 1

    def facts(self) -> AnsweringFacts:
        """What is told once a second; from now on, a question that failed before counts again."""
        self._failing = set()
        return AnsweringFacts(
            answered=sum(self.by_class),
            raised=self.raised,
            not_finite=self.not_finite,
            failed=self.failed,
            turns=sum(self.scoring.counts),
            slow=self.slow,
            by_class=tuple(self.by_class),
            median_s=self.scoring.quantile(0.5),
            p99_s=self.scoring.quantile(0.99),
            scoring_s=self.scoring.total_s,
        )


class Counts:
    """What happened since this process started. Only ever grows."""

    def __init__(self, classes: int, limit_s: float) -> None:
        """`classes` and `limit_s` as `Tally` has them."""
        self.answered = 0
        self.unlogged = 0
        """Answers without an entry in the stream: prediction_id was null."""
        self.reloads = 0
        self.releases_refused = 0
        self.refusals: Counter[int] = Counter()
        """Requests that got an error, by status."""
        self.feedback: Counter[str] = Counter()
        self.latency = Durations()
        """From a question's last byte to its answer."""
        self.versions: dict[int, Tally] = {}
        """The newest ones that answered."""
        self._classes, self._limit_s = classes, limit_s

    def of(self, version: int) -> Tally:
        """What one version did; of too many, the one that came first is forgotten."""
        found = self.versions.get(version)
        if found is None:
            kept = list(self.versions.items())[1 - _VERSIONS_KEPT :]
            found = Tally(self._classes, self._limit_s)
            self.versions = {**dict(kept), version: found}  # replaced whole: another thread reads it
        return found

    def answer(self, seconds: float, logged: bool) -> None:
        self.answered += 1
        if not logged:
            self.unlogged += 1
        self.latency.add(seconds)
