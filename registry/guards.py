"""What forbids a promotion although the evidence is there: labels that are missing, other losses, segments, doubts.

Nothing of this can make a promotion false that was not; it only keeps back. Thresholds without a source are choices,
and each says so in what it tells.
"""

import math
from collections.abc import Iterable, Sequence

from contracts.facts import ComparisonFacts
from registry.evidence import Evidence
from registry.gate import SHOWN, Rules, Verdict, decide, needed

GROUP = 50  # pairs that may differ, below which the labels of a group are too few to compare
APART = 0.1  # share by which the labelled share of two groups may differ


def judge(comparison: ComparisonFacts, rules: Rules, now: float, also: Sequence[str] = ()) -> Verdict:
    """The verdict on a challenger at `now` (epoch seconds); `also` is what else forbids to promote it."""
    evidence = Evidence.from_json(comparison.evidence)
    held = [*also, *held_back(comparison, evidence, rules)]
    return decide(evidence, rules, now, held_back_by=held)


def held_back(comparison: ComparisonFacts, evidence: Evidence, rules: Rules) -> list[str]:
    """Every reason against a promotion that the comparison itself gives."""
    return [
        *_few_labels(comparison, rules),
        *_selective_labels(comparison, rules),
        *_guardrails(comparison, rules),
        *_segments(comparison, rules),
        *_doubtful(comparison, evidence, rules),
    ]


def coverage(comparison: ComparisonFacts) -> float | None:
    """Labelled share of the pairs that may differ; None while there are none."""
    asked = sum(n for _, n in comparison.asked.values())
    return sum(labelled for labelled, _ in comparison.asked.values()) / asked if asked else None


def _few_labels(comparison: ComparisonFacts, rules: Rules) -> Iterable[str]:
    share = coverage(comparison)
    if share is not None and share < rules.min_coverage:
        yield (
            f"only {share:.0%} of the questions on which they may differ have labels, not {rules.min_coverage:.0%} "
            "(label disagreements first: tiltyard ask-labels)"
        )


def _selective_labels(comparison: ComparisonFacts, rules: Rules) -> Iterable[str]:
    """Labels that come more often for one answer than for another favour whoever gives it."""
    shares = {answer: labelled / n for answer, (labelled, n) in comparison.asked.items() if n >= GROUP}
    if len(shares) < 2 or not rules.min_coverage:
        return
    least, most = min(shares, key=lambda answer: shares[answer]), max(shares, key=lambda answer: shares[answer])
    if shares[most] - shares[least] > APART:
        yield (
            f"labels depend on the answer: {shares[most]:.0%} come back where the champion answered class {most}, "
            f"counted from 0, and {shares[least]:.0%} where it answered class {least}; have some of all labelled"
        )


def _guardrails(comparison: ComparisonFacts, rules: Rules) -> Iterable[str]:
    """Each must be shown not to suffer by more than its tolerance; all must pass, so alpha is not shared."""
    for name, tolerance in rules.guardrails.items():
        evidence = Evidence.from_json(comparison.guardrails[name]) if name in comparison.guardrails else Evidence()
        if evidence.log_e(-tolerance) < -math.log(rules.alpha):
            yield (
                f"{name} loss is not shown to suffer by less than {100 * tolerance:g} points: "
                f"{100 * evidence.mean:+.2g} so far, could be {100 * evidence.lower(rules.alpha):+.2g}"
            )


def _segments(comparison: ComparisonFacts, rules: Rules) -> Iterable[str]:
    """A segment in which the challenger is shown worse is a veto; alpha is shared among the segments."""
    for name, text in comparison.segments.items():
        evidence = Evidence.from_json(text)
        if evidence.log_e_worse(0.0) >= math.log(len(comparison.segments) / SHOWN):
            yield f"it is worse where {name}: by {-100 * evidence.mean:.2g} points on {evidence.n:,} requests"


def _doubtful(comparison: ComparisonFacts, evidence: Evidence, rules: Rules) -> Iterable[str]:
    """Whether it would still be promoted if as many of its young wins turned out wrong as labels do."""
    wins, total = comparison.young
    lost = wins * comparison.corrected
    if lost and evidence.stressed(rules.margin, lost, total / wins) < needed(rules):
        yield (
            f"{comparison.corrected:.1%} of labels are corrected, and if as many of its {wins:,} wins within "
            f"{rules.correction_lag} are, it is not good enough"
        )
