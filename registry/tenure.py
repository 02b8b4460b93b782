"""What matured predictions say: loss of every version over all time, evidence of challengers within one tenure.

A tenure is the reign of one champion. Only predictions that it answered, asked after it began, compare anyone with it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.facts import ComparisonFacts, VersionFacts, WatchFacts
from contracts.quantities import seconds
from contracts.releases import Board
from registry.blocks import Blocks, negatives_for
from registry.comparison import Comparison, Pairs, Tally
from registry.curves import LossCurve
from registry.evidence import Moment, Point, band
from registry.gate import SHOWN, Rules, needed
from registry.guards import judge
from registry.losses import Floats, Loss, loss_named
from registry.matured import Matured, Run, runs
from registry.probation import Watch
from registry.slots import Slots

CALIBRATION_ROWS = 100  # first labelled answers of a tenure, which fix the clip of a regression loss and do not count
CLIP_QUANTILE = 0.99
SEGMENTS_SHOWN = 24  # each bound costs 70 us at every checkpoint
_ERRORS = ("absolute", "squared")
_FITTED = (*_ERRORS, "auc")  # whose range or blocks come from the first labels of a tenure
_NOTHING = np.empty((0, 3))
_MISTAKES = Loss("zero_one", 1.0)
_UNCLIPPED = Loss("absolute", math.inf, math.inf)  # while the clip is not known


@dataclass
class Score:
    """How one version has done so far, on every matured and labelled prediction that it scored."""

    n: int = 0
    loss: float = 0.0
    correct: int = 0
    curve: LossCurve = field(default_factory=LossCurve)
    slots: Slots | None = None
    """None before the first, and in older checkpoints."""

    def add(self, at: Sequence[float], losses: Sequence[float], correct: int) -> None:
        self.n += len(losses)
        self.correct += correct
        for loss in losses:
            self.loss += loss
        self.curve.add(at, losses)
        self.slots = self.slots or Slots()
        self.slots.add(at, losses)


class Record:
    """Scores of every version, and the comparisons of the current tenure."""

    def __init__(self, rules: Rules, loss: str):
        self.rules, self.loss_name = rules, loss
        self.versions: dict[int, Score] = {}
        self.comparisons: dict[int, Comparison] = {}
        self.champion: int | None = None
        self.since = -1
        self.matured = 0
        """Labelled predictions."""
        self.seen = 0
        """All predictions that have matured."""
        self.loss: Loss | None = None
        self.watch = Watch()
        self.previous: int | None = None
        self._errors: list[float] = []
        self._calibrated_through = -1
        if not self._is_fitted:
            self.loss = loss_named(loss, rules.clip, rules.costs)

    def under(self, rules: Rules, loss: str) -> "Record":
        """This record with other rules from now on; an empty one where what it has counted means nothing by them."""

        def counted(by: Rules) -> tuple[object, ...]:
            return by.clip, by.costs, by.unit, by.unit_window

        if (loss, counted(rules)) == (self.loss_name, counted(self.rules)):
            self.rules = rules
            return self
        fresh = Record(rules, loss)
        fresh.matured, fresh.seen = self.matured, self.seen
        return fresh

    def begin(self, board: Board, since: int) -> bool:
        """Opens a new tenure when the champion, or the moment from which it reigns, has changed; tells whether."""
        self.previous = board.previous
        if (board.champion, since) == (self.champion, self.since):
            return False
        self.champion, self.since, self.comparisons, self._errors = board.champion, since, {}, []
        self.watch = Watch()
        if self._is_fitted:
            self.loss = None
        return True

    @property
    def _is_fitted(self) -> bool:
        return self.loss_name == "auc" or (self.loss_name in _ERRORS and self.rules.clip is None)

    def add(self, matured: Iterable[Matured]) -> None:
        """Counts matured predictions; the caller brings them in prediction order."""
        for run in runs(matured):
            self.seen += len(run)
            self.matured += int(run.is_labelled.sum())
            while (rest := self._add(run)) is not None:
                run = rest

    def _add(self, run: Run) -> Run | None:
        """Counts a run; returns what is left of it once the range of the loss is known."""
        loss = self._loss
        losses = {version: loss.of(scores, run.labels) for version, scores in run.scores.items()}
        is_compared = run.offsets > self.since if run.answered_by == self.champion else np.zeros(len(run), bool)
        rest = None
        if self.loss is None and is_compared.any():
            known = is_compared & ~np.isnan(losses[run.answered_by])
            calibrating = np.flatnonzero(known)[: CALIBRATION_ROWS - len(self._errors)]
            if len(calibrating):
                of = run.labels if self.loss_name == "auc" else losses[run.answered_by]
                self._calibrate(of[calibrating].tolist(), int(run.offsets[calibrating[-1]]))
            if self.loss is not None:
                counted = int(calibrating[-1]) + 1
                rest = Run(run.rows[counted:]) if counted < len(run) else None
                losses = {version: of[:counted] for version, of in losses.items()}
                run = Run(run.rows[:counted])
        elif is_compared.any():
            self._compare(run, losses, is_compared)
        self._score(run, losses)
        return rest

    def _score(self, run: Run, losses: dict[int, Floats]) -> None:
        at = run.asked_at
        for version, of in losses.items():
            known = ~np.isnan(of)
            if known.any():
                score = self.versions.setdefault(version, Score())
                score.add(at[known].tolist(), of[known].tolist(), self._right(run, version, known))

    def _right(self, run: Run, version: int, known: np.ndarray) -> int:
        if self.loss_name in _ERRORS:
            return 0
        return int((run.scores[version][known].argmax(axis=1) == run.labels[known]).sum())

    @property
    def _loss(self) -> Loss:
        """What versions are scored by, also before anybody is compared."""
        return self.loss or (_MISTAKES if self.loss_name == "auc" else _UNCLIPPED)

    def _calibrate(self, first: list[float], through: int) -> None:
        """Takes in the first errors of a tenure, or its first labels where rankings are compared."""
        self._errors += first
        self._calibrated_through = through
        if len(self._errors) < CALIBRATION_ROWS:
            return
        if self.loss_name == "auc":
            self.loss = _MISTAKES
        else:
            clip = sorted(self._errors)[math.ceil(CLIP_QUANTILE * CALIBRATION_ROWS) - 1]
            self.loss = loss_named(self.loss_name, clip or 1.0)

    def _compare(self, run: Run, losses: dict[int, Floats], is_compared: np.ndarray) -> None:
        assert self.loss is not None
        champion = run.answered_by
        chosen = slice(None) if is_compared.all() else is_compared
        guards = [loss_named(name) for name in self.rules.guardrails]
        for version in sorted(set(losses if run.is_covered else self.comparisons) - {champion}):
            comparison = self._comparison(version)
            if version not in losses:
                comparison.uncovered += int(run.is_labelled[chosen].sum())
                continue
            pairs = self._pairs(run, losses, version, guards, chosen)
            entered = comparison.add(pairs, self._draw)
            if version == self.previous:
                self.watch.compare(entered)
        own = losses[champion][chosen]
        self.watch.follow(own[~np.isnan(own)] / self.loss.range, self.rules.min_matured)

    def _comparison(self, version: int) -> Comparison:
        if version not in self.comparisons:
            window_s = math.inf if self.rules.unit_window is None else seconds(self.rules.unit_window)
            made = self.comparisons[version] = Comparison(Tally(window_s=window_s))
            if self.loss_name == "auc":
                made.blocks = Blocks(negatives_for(int(sum(self._errors)), len(self._errors)))
        return self.comparisons[version]

    def _pairs(
        self, run: Run, losses: dict[int, Floats], version: int, guards: list[Loss], chosen: slice | np.ndarray
    ) -> Pairs:
        """Champion and one challenger on the chosen rows of a run."""
        assert self.loss is not None
        mine, other = run.scores[run.answered_by][chosen], run.scores[version][chosen]
        labels, labelled = run.labels[chosen], run.is_labelled[chosen]
        d = (losses[run.answered_by][chosen] - losses[version][chosen]) / self.loss.range
        sound: npt.NDArray[np.bool_] = ~np.isnan(np.hstack([mine, other]).sum(axis=1))
        differ = sound
        answers = None
        if self.loss_name not in _ERRORS and mine.size and other.size:
            answers = np.where(sound, mine.argmax(axis=1), -1), np.where(sound, other.argmax(axis=1), -1)
            if self.loss_name != "auc" and self.loss.is_of_answers:
                differ = answers[0] != answers[1]
                # Whatever the label would have been, both would have been right, or wrong alike.
                d = np.where(sound & ~differ & ~labelled, 0.0, d)
        rows = run.rows if isinstance(chosen, slice) else [run.rows[at] for at in np.flatnonzero(chosen).tolist()]
        return Pairs(
            asked_at=run.asked_at[chosen],
            d=d,
            is_labelled=labelled,
            differ=differ,
            answers=answers,
            guards={one.name: (one.of(mine, labels) - one.of(other, labels)) / one.range for one in guards},
            is_clipped=self.loss.is_clipped(mine, labels) | self.loss.is_clipped(other, labels),
            lag_s=None if self.rules.correction_lag is None else seconds(self.rules.correction_lag),
            units=None if self.rules.unit is None else [one.unit for one in rows],
            segments=[one.segments for one in rows] if self.rules.segments else (),
            ranks=np.column_stack([mine[:, -1], other[:, -1], labels]) if self.loss_name == "auc" else _NOTHING,
        )

    def _draw(self, moments: Sequence[Moment]) -> list[Point]:
        return band(moments, self.rules.margin, self.rules.alpha / self.rules.slots, SHOWN)

    def restate(self, before: Matured, after: Matured) -> dict[int, float]:
        """The same prediction with another label: takes back what it counted for, and counts it anew.

        Returns the change of the paired difference of each challenger that it is evidence about. Curves keep what
        they showed at the time. Evidence is exactly retractable: `registry.evidence`.
        """
        old, new = Run([before]), Run([after])
        loss = self._loss
        for version in self.versions.keys() & new.scores.keys():
            was, now = (float(loss.of(run.scores[version], run.labels)[0]) for run in (old, new))
            if not math.isnan(was + now):
                known, score = np.array([True]), self.versions[version]
                score.loss += now - was
                if score.slots is not None:
                    score.slots.restate(float(new.asked_at[0]), now - was)
                score.correct += self._right(new, version, known) - self._right(old, version, known)
        if self.loss is None or not self._is_evidence(after) or after.offset <= self._calibrated_through:
            return {}
        if self.loss_name == "auc":
            return {}  # a block that was made of two labels cannot be unmade for one of them
        return self._recompare(old, new)

    def _is_evidence(self, one: Matured) -> bool:
        return one.answered_by == self.champion and one.offset > self.since

    def _recompare(self, old: Run, new: Run) -> dict[int, float]:
        moved = {}
        for version in sorted(self.comparisons.keys() & new.scores.keys() - {new.answered_by}):
            was, now = self._pair(old, version), self._pair(new, version)
            comparison = self.comparisons[version]
            asked_at, unit = float(now.asked_at[0]), None if now.units is None else now.units[0]
            change = _restate(comparison.tally, was.d, now.d, asked_at, unit)
            if change:
                moved[version] = change
            for name in now.guards.keys() & comparison.guardrails.keys():
                _restate(comparison.guardrails[name], was.guards[name], now.guards[name], asked_at, unit)
            for segment in new.rows[0].segments:
                if segment in comparison.segments:
                    _restate(comparison.segments[segment], was.d, now.d, asked_at, unit)
        return moved

    def _pair(self, run: Run, version: int) -> Pairs:
        """Champion and one challenger on a run of one row."""
        assert self.loss is not None
        losses = {one: self.loss.of(run.scores[one], run.labels) for one in (run.answered_by, version)}
        return self._pairs(run, losses, version, [loss_named(name) for name in self.rules.guardrails], slice(None))

    def audit(self, late: Matured) -> None:
        """A label that came after maturity: shown beside the evidence, and no part of it."""
        run = Run([late])
        if self.loss is None or not self._is_evidence(late):
            return
        for version in sorted(self.comparisons.keys() & run.scores.keys() - {run.answered_by}):
            d = self._pair(run, version).d
            if not math.isnan(d[0]):
                self.comparisons[version].audit.add(float(d[0]))

    def forget_before(self, at: float) -> None:
        """Drops what no correction can refer to any more: of predictions asked before an epoch second."""
        for comparison in self.comparisons.values():
            comparison.forget_before(at)

    def watch_facts(self) -> WatchFacts:
        return self.watch.facts(self.champion, self.since, self.previous)

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
        self, challengers: tuple[int, ...], learners: dict[int, str], now: float, corrected: float = 0.0
    ) -> tuple[ComparisonFacts, ...]:
        """One per challenger, also before its first pair, so that a reader sees who is still being waited for.

        `corrected` is the share of labels that were.
        """
        return tuple(self._facts(version, learners.get(version, "?"), now, corrected) for version in challengers)

    def _facts(self, version: int, learner: str, now: float, corrected: float) -> ComparisonFacts:
        comparison = self.comparisons.get(version) or Comparison()
        evidence = comparison.evidence
        young = comparison.young
        curve = [Point(*point) for point in comparison.curve.points]  # older checkpoints have points without a time
        facts = ComparisonFacts(
            champion=-1 if self.champion is None else self.champion,
            challenger=version,
            learner=learner,
            started_at=evidence.started_at or now,
            n=evidence.n,
            wins=evidence.wins,
            losses=evidence.losses,
            gain=evidence.mean,
            needed=needed(self.rules),
            uncovered=comparison.uncovered,
            evidence=evidence.to_json(),
            curve=tuple(point[:5] for point in curve),
            curve_at=tuple(point.at for point in curve),
            asked=comparison.asked,
            answers=tuple((mine, other, n) for (mine, other), n in sorted(comparison.answers.items())),
            guardrails={name: tally.evidence.to_json() for name, tally in comparison.guardrails.items()},
            segments={name: tally.evidence.to_json() for name, tally in comparison.segments.items()},
            bounds=_bounds(comparison, self.rules),
            audit=comparison.audit.to_json() if comparison.audit.n else None,
            clipped=comparison.clipped,
            young=(sum(wins for _, wins, _ in young), sum(total for _, _, total in young)),
            corrected=corrected,
        )
        verdict = judge(facts, self.rules, now)
        return msgspec.structs.replace(
            facts,
            lower=verdict.lower,
            upper=verdict.upper,
            log_e=verdict.log_e,
            decision=verdict.decision,
            reason=verdict.reason,
        )


def _bounds(comparison: Comparison, rules: Rules) -> dict[str, tuple[float, float]]:
    """At the levels at which `registry.guards` decides, so that what is shown and what is vetoed agree."""
    guards, segments = comparison.guardrails, comparison.segments
    most = sorted(segments, key=lambda name: -segments[name].evidence.n)[:SEGMENTS_SHOWN]
    levels = dict.fromkeys(guards, rules.alpha) | {name: SHOWN / len(segments) for name in most}
    return {name: (guards | segments)[name].evidence.bounds(level) for name, level in levels.items()}


def _restate(tally: Tally, was: Floats, now: Floats, asked_at: float, unit: str | None) -> float:
    if math.isnan(was[0]) or math.isnan(now[0]):
        return 0.0
    return tally.restate(float(was[0]), float(now[0]), asked_at, unit)
