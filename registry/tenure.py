"""What matured predictions say: loss of every version over all time, evidence of challengers within one tenure.

A tenure is the reign of one champion. Only predictions that it answered, asked after it began, compare anyone with it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from contracts.facts import ComparisonFacts, VersionFacts
from contracts.releases import Board
from registry.curves import LossCurve, Samples
from registry.evidence import Evidence
from registry.gate import SHOWN, Rules, decide, needed
from registry.losses import Loss, loss_named

CALIBRATION_ROWS = 100  # first labelled answers of a tenure, which fix the clip of a regression loss and do not count
CLIP_QUANTILE = 0.99
_ERRORS = ("absolute", "squared")


class Matured(msgspec.Struct, frozen=True, gc=False):
    """A labelled prediction whose time for labels has passed. `label` is the class's column, or the value."""

    offset: int
    asked_at: float
    answered_by: int
    scores: dict[int, tuple[float, ...]]
    """As logged at the question, by version; the answering one included."""
    label: float
    covered: bool
    """False where learning did not wait for the shadow scores: then nothing is compared."""


@dataclass
class Score:
    """How one version has done so far, on every matured prediction that it scored."""

    n: int = 0
    loss: float = 0.0
    correct: int = 0
    curve: LossCurve = field(default_factory=LossCurve)

    def add(self, at: float, loss: float, correct: bool) -> None:
        self.n += 1
        self.loss += loss
        self.correct += correct
        self.curve.add(at, loss)


@dataclass
class Comparison:
    """One challenger against the champion of this tenure."""

    evidence: Evidence = field(default_factory=Evidence)
    uncovered: int = 0
    """Pairs that could not be compared for want of an honest shadow score."""
    curve: Samples[tuple[int, float, float, float, float]] = field(default_factory=Samples)


class Record:
    """Scores of every version, and the comparisons of the current tenure."""

    def __init__(self, rules: Rules, loss: str):
        self.rules, self.loss_name = rules, loss
        self.versions: dict[int, Score] = {}
        self.comparisons: dict[int, Comparison] = {}
        self.champion: int | None = None
        self.since = -1
        self.matured = 0
        self.loss: Loss | None = None
        self._errors: list[float] = []
        self._calibrated_through = -1
        if loss not in _ERRORS or rules.clip is not None:
            self.loss = loss_named(loss, rules.clip)

    def begin(self, board: Board, since: int) -> bool:
        """Opens a new tenure when the champion, or the moment from which it reigns, has changed; tells whether."""
        if (board.champion, since) == (self.champion, self.since):
            return False
        self.champion, self.since, self.comparisons, self._errors = board.champion, since, {}, []
        if self.rules.clip is None and self.loss_name in _ERRORS:
            self.loss = None
        return True

    def add(self, event: Matured) -> None:
        """Counts one matured prediction; the caller brings them in prediction order."""
        self.matured += 1
        losses = self._losses(event)
        for version, loss in losses.items():
            if (score := self.versions.get(version)) is None:
                score = self.versions[version] = Score()
            is_right = not loss if self.loss_name == "zero_one" else self._is_right(event, version)
            score.add(event.asked_at, loss, is_right)
        if not self._is_compared(event, losses):
            return
        assert self.champion is not None
        if self.loss is None:
            self._calibrate(event.offset, losses[self.champion])
        else:
            self._compare(event, losses, self.loss)

    def restate(self, before: Matured, after: Matured) -> dict[int, float]:
        """The same prediction with another label: takes back what it counted for, and counts it anew.

        Returns the change of the paired difference of each challenger that it is evidence about. Curves keep what
        they showed at the time. Evidence is exactly retractable: `registry.evidence`.
        """
        old, new = self._losses(before), self._losses(after)
        for version in old.keys() & new.keys() & self.versions.keys():
            score = self.versions[version]
            score.loss += new[version] - old[version]
            score.correct += self._is_right(after, version) - self._is_right(before, version)
        if not self._is_compared(after, new) or self.loss is None or after.offset <= self._calibrated_through:
            return {}
        return self._recompare(after, old, new, self.loss)

    def _recompare(self, event: Matured, old: dict[int, float], new: dict[int, float], loss: Loss) -> dict[int, float]:
        assert self.champion is not None
        moved = {}
        for version in sorted(self.comparisons.keys() & new.keys() & old.keys() - {self.champion}):
            evidence = self.comparisons[version].evidence
            was = (old[self.champion] - old[version]) / loss.range
            now = (new[self.champion] - new[version]) / loss.range
            if was != now:
                evidence.retract(was)
                evidence.add(now)
                moved[version] = now - was
        return moved

    def _is_right(self, event: Matured, version: int) -> bool:
        return self.loss_name not in _ERRORS and _argmax(event.scores[version]) == int(event.label)

    def _is_compared(self, event: Matured, losses: dict[int, float]) -> bool:
        return event.answered_by == self.champion and event.offset > self.since and self.champion in losses

    def _losses(self, event: Matured) -> dict[int, float]:
        """Loss by version; scores that are no answer (not finite, no probabilities) have none."""
        of, losses = _absolute if self.loss is None else self.loss.of, {}
        for version, scores in event.scores.items():
            try:
                losses[version] = of(scores, event.label)
            except (ValueError, IndexError):
                continue
        return losses

    def _calibrate(self, offset: int, error: float) -> None:
        self._errors.append(error)
        self._calibrated_through = offset
        if len(self._errors) == CALIBRATION_ROWS:
            clip = sorted(self._errors)[math.ceil(CLIP_QUANTILE * CALIBRATION_ROWS) - 1]
            self.loss = loss_named(self.loss_name, clip or 1.0)

    def _compare(self, event: Matured, losses: dict[int, float], loss: Loss) -> None:
        assert self.champion is not None
        challengers = (set(event.scores) if event.covered else set(self.comparisons)) - {self.champion}
        for version in sorted(challengers) if len(challengers) > 1 else challengers:
            comparison = self.comparisons.get(version)
            if comparison is None:
                comparison = self.comparisons[version] = Comparison()
            if version not in losses:
                comparison.uncovered += 1
                continue
            evidence = comparison.evidence
            evidence.add((losses[self.champion] - losses[version]) / loss.range, event.asked_at)
            if comparison.curve.is_due(evidence.n):
                comparison.curve.add(self._point(evidence))

    def _point(self, evidence: Evidence) -> tuple[int, float, float, float, float]:
        lower, upper = evidence.lower(self.rules.alpha / self.rules.slots), evidence.upper(SHOWN)
        return evidence.n, evidence.log_e(self.rules.margin) / math.log(10), evidence.mean, lower, upper

    def version_facts(self, learners: dict[int, str]) -> tuple[VersionFacts, ...]:
        return tuple(
            VersionFacts(
                version=version,
                learner=learners.get(version, "?"),
                n=score.n,
                loss=score.loss / score.n,
                accuracy=None if self.loss_name in _ERRORS else score.correct / score.n,
                curve=tuple(score.curve.points),
            )
            for version, score in sorted(self.versions.items())
        )

    def comparison_facts(
        self, challengers: tuple[int, ...], learners: dict[int, str], now: float
    ) -> tuple[ComparisonFacts, ...]:
        """One per challenger, also before its first pair, so that a reader sees who is still being waited for."""
        return tuple(self._facts(version, learners.get(version, "?"), now) for version in challengers)

    def _facts(self, version: int, learner: str, now: float) -> ComparisonFacts:
        comparison = self.comparisons.get(version) or Comparison()
        verdict = decide(comparison.evidence, self.rules, now)
        return ComparisonFacts(
            champion=-1 if self.champion is None else self.champion,
            challenger=version,
            learner=learner,
            started_at=comparison.evidence.started_at or now,
            n=verdict.n,
            wins=verdict.wins,
            losses=verdict.losses,
            gain=verdict.mean,
            lower=verdict.lower,
            upper=verdict.upper,
            log_e=verdict.log_e,
            needed=needed(self.rules),
            uncovered=comparison.uncovered,
            decision=verdict.decision,
            reason=verdict.reason,
            evidence=comparison.evidence.to_json(),
            curve=tuple(comparison.curve.points),
        )


def _absolute(scores: Sequence[float], label: float) -> float:
    """The error while its clip is not known. Raises ValueError where it is not finite."""
    error = abs(scores[0] - label)
    if not math.isfinite(error):
        raise ValueError(f"error {error} is not finite")
    return error


def _argmax(scores: tuple[float, ...]) -> int:
    """The column of the largest score; the first of equal ones, as serving answers."""
    return scores.index(max(scores))
