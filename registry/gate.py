"""May the challenger take over? One pure function from evidence and rules to a verdict that a person can read."""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from contracts.gate_rules import Gate as Rules
from contracts.quantities import seconds
from registry.evidence import STAKES, Evidence

__all__ = ["Decision", "Plan", "Rules", "Verdict", "counts_in_words", "decide", "events_to_go", "needed", "plan"]

Decision = Literal["collecting", "continue", "ready", "promote", "retire", "give_up", "inconclusive"]

SHOWN = 0.05  # alpha for "worse" and "not better by min_gain": dropping a challenger cannot raise false promotions
PROBATION_MATURED = 20_000  # pairs, or seconds, for which the former champion shadows the new one
PROBATION_S = 7 * 86_400.0
CYCLE_SLACK = 0.01  # share of a season by which a look may miss its end; looks come on a schedule


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with a challenger, in one sentence, and the numbers that the sentence was made from.

    `log_e` and `needed` are natural logs. `lower` holds with probability 1 - alpha/slots at all times at once, `upper`
    with 95 %; both and `mean` are shares of the loss range, positive favouring the challenger.
    """

    decision: Decision
    reason: str
    n: int
    wins: int
    losses: int
    mean: float
    log_e: float
    needed: float
    lower: float
    upper: float
    events_to_go: int | None


class Plan(msgspec.Struct, frozen=True):
    """Labelled requests until promotion, at the median and in nine of ten comparisons."""

    median: int
    p90: int


def decide(evidence: Evidence, rules: Rules, now: float, *, held_back_by: Sequence[str] = ()) -> Verdict:
    """The verdict at `now` (epoch seconds); the order of its tests is part of the promise.

    `held_back_by` names what else forbids a promotion (a guardrail, label coverage); any of it turns "promote" into
    "ready". Age and season count from `evidence.started_at`; where that is None, age never ends a comparison, and a
    season never passes.
    """
    if evidence.n < rules.min_matured:
        return _verdict("collecting", _few_labels(evidence, rules), evidence, rules)
    to_go = _season_to_go(evidence, rules, now)
    if to_go > 0:
        reason = f"One whole season ({rules.season}) must pass first; {_duration(to_go)} to go."
        return _verdict("collecting", reason, evidence, rules)
    if evidence.log_e(rules.margin) >= needed(rules):
        held = [*held_back_by, *_mid_season(evidence, rules, now)]
        return _verdict("ready" if held else "promote", _won(evidence, rules, held), evidence, rules)
    # A margin below zero accepts a slightly worse challenger, so only losing by more than that counts as worse.
    if evidence.log_e_worse(min(0.0, rules.margin)) >= -math.log(SHOWN):
        return _verdict("retire", _worse(evidence), evidence, rules)
    if evidence.log_e_worse(_least_gain(rules)) >= -math.log(SHOWN):
        return _verdict("give_up", _too_little(evidence, rules), evidence, rules)
    if evidence.n >= rules.max_matured:
        return _verdict("inconclusive", _not_enough(evidence, f"{evidence.n:,} requests"), evidence, rules)
    if evidence.started_at is not None and now - evidence.started_at >= seconds(rules.max_age):
        spent = f"{_duration(seconds(rules.max_age))} and {evidence.n:,} requests"
        return _verdict("inconclusive", _not_enough(evidence, spent), evidence, rules)
    return _verdict("continue", _so_far(evidence, rules), evidence, rules)


def needed(rules: Rules) -> float:
    """Natural log of the evidence that promotes: alpha is shared among the slots of one champion tenure."""
    return math.log(rules.slots / rules.alpha)


def events_to_go(evidence: Evidence, rules: Rules) -> int | None:
    """Labelled requests until promotion at the pace so far; None where the pace does not lead there."""
    if evidence.n == 0:
        return None
    pace = float((evidence.totals()[0] / evidence.n - rules.margin * STAKES).max())
    missing = needed(rules) - evidence.log_e(rules.margin)
    return math.ceil(max(0.0, missing) / pace) if pace > 0 else None


def plan(better: float, worse: float, rules: Rules) -> Plan | None:
    """How long a comparison will take where the challenger alone is right on a share `better` of requests.

    `worse` is the share on which the champion alone is right. None where the challenger would not win. The constants
    are measured over ten settings: 0.49 to 0.96 for the first, 1.96 to 2.37 for the second.
    """
    if not (0 <= worse < better and better + worse <= 1):
        return None
    stake = min((better - worse) / (better + worse), float(STAKES[0]))
    growth = better * math.log1p(stake) + worse * math.log1p(-stake)
    median = (needed(rules) + 0.85) / growth
    return Plan(math.ceil(median), math.ceil(2.2 * median))


def counts_in_words(evidence: Evidence) -> str:
    """What was counted, as a sentence."""
    told = "only one of the two was right on" if evidence.is_zero_one else "their losses differed on"
    return (
        f"On {evidence.n:,} labelled requests {told} {evidence.wins + evidence.losses:,}; "
        f"the challenger was better {evidence.wins:,} times, the champion {evidence.losses:,}."
    )


def _verdict(decision: Decision, reason: str, evidence: Evidence, rules: Rules) -> Verdict:
    return Verdict(
        decision=decision,
        reason=reason,
        n=evidence.n,
        wins=evidence.wins,
        losses=evidence.losses,
        mean=evidence.mean,
        log_e=evidence.log_e(rules.margin),
        needed=needed(rules),
        lower=evidence.lower(rules.alpha / rules.slots),
        upper=evidence.upper(SHOWN),
        events_to_go=events_to_go(evidence, rules) if decision in ("collecting", "continue") else None,
    )


def _least_gain(rules: Rules) -> float:
    return max(rules.min_gain, rules.margin) if rules.margin >= 0 else rules.margin


def _elapsed(evidence: Evidence, now: float) -> float:
    """Seconds of traffic that the evidence covers: to its last question, since labels mature later than that."""
    if evidence.started_at is None:
        return 0.0
    return (now if evidence.ended_at is None else evidence.ended_at) - evidence.started_at


def _season_to_go(evidence: Evidence, rules: Rules, now: float) -> float:
    if rules.season is None:
        return 0.0
    season = seconds(rules.season)
    return season * (1 - CYCLE_SLACK) - _elapsed(evidence, now)


def _mid_season(evidence: Evidence, rules: Rules, now: float) -> list[str]:
    """Stopping in mid-cycle promotes on the good half of a season: in every run of a square season of ±4 points."""
    if rules.season is None:
        return []
    phase = _elapsed(evidence, now) / seconds(rules.season) % 1
    if min(phase, 1 - phase) <= CYCLE_SLACK:
        return []
    return [f"the season of {rules.season} is {phase:.0%} through, and only whole ones count"]


def _few_labels(evidence: Evidence, rules: Rules) -> str:
    return f"{evidence.n:,} of the {rules.min_matured:,} labelled requests that a decision needs at least."


def _won(evidence: Evidence, rules: Rules, held: Sequence[str]) -> str:
    gain = f"{_difference(evidence)} (at least {_points(evidence.lower(rules.alpha / rules.slots))})"
    if held:
        return f"{gain}: good enough, but held back: {'; '.join(held)}."
    return (
        f"{gain}. However often you look, a useless challenger gets this far in at most "
        f"{100 * rules.alpha:g} in 100 champion tenures."
    )


def _worse(evidence: Evidence) -> str:
    return f"{_difference(evidence)} (at least {_points(-evidence.upper(SHOWN))})."


def _too_little(evidence: Evidence, rules: Rules) -> str:
    return f"At best {_better(evidence.upper(SHOWN))}; less than the {_points(_least_gain(rules))} you asked for."


def _not_enough(evidence: Evidence, spent: str) -> str:
    lower, upper = evidence.bounds(SHOWN)
    return f"{spent} were not enough; the difference is between {100 * lower:+.1f} and {100 * upper:+.1f} points."


def _so_far(evidence: Evidence, rules: Rules) -> str:
    lower, upper = evidence.lower(rules.alpha / rules.slots), evidence.upper(SHOWN)
    told = f"So far {_difference(evidence)}; could still be anywhere from {_better(lower)} to {_better(upper)}."
    more = events_to_go(evidence, rules)
    return told if more is None else f"{told} At this pace about {_rounded(more):,} more labelled requests."


def _difference(evidence: Evidence) -> str:
    mean = evidence.mean
    if evidence.is_zero_one:
        return f"{_points(abs(mean))} points {'fewer' if mean >= 0 else 'more'} mistakes"
    return f"{_points(abs(mean))} points {'less' if mean >= 0 else 'more'} loss"


def _better(advantage: float) -> str:
    return f"{_points(abs(advantage))} points {'better' if advantage >= 0 else 'worse'}"


def _points(share: float) -> str:
    points = 100 * share
    return f"{points:.1f}" if abs(points) >= 0.1 or points == 0 else f"{points:.2g}"


def _rounded(count: int) -> int:
    """Two leading digits: the estimate is no better than that."""
    unit: int = 10 ** max(0, len(str(count)) - 2)
    return math.ceil(count / unit) * unit


def _duration(span_s: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if span_s >= 2 * length:
            return f"{span_s / length:.0f} {unit}"
    return f"{span_s:.0f} seconds"
