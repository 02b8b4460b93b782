"""What would change a verdict: the same question as why not."""

from collections.abc import Iterator

from contracts.facts import ComparisonFacts
from contracts.gate_rules import Gate
from registry.evidence import Evidence
from registry.gate import PROBATION_MATURED, PROBATION_S, Verdict
from registry.guards import coverage, held_back

_DAY_S = 86_400


def would_change(verdict: Verdict, comparison: ComparisonFacts | None, rules: Gate) -> list[str]:
    """Sentences, the likeliest first."""
    told = {
        "collecting": _more,
        "continue": _more,
        "ready": _release,
        "promote": _undo,
        "retire": _worse,
        "give_up": _too_little,
        "inconclusive": _spent,
    }[verdict.decision]
    return [*told(verdict, rules), *(_held(comparison, rules) if comparison is not None else ())]


def _more(verdict: Verdict, rules: Gate) -> Iterator[str]:
    missing = rules.min_matured - verdict.n
    if missing > 0:
        yield f"{missing:,} more labelled requests, before which nothing is decided (gate.min_matured)."
    if verdict.events_to_go is not None and verdict.events_to_go > max(0, missing):
        yield f"About {verdict.events_to_go:,} more labelled requests at this pace, and it is promoted."
    elif verdict.events_to_go is None:
        yield "At this pace it is not promoted: its advantage would have to grow."
    if rules.season is not None:
        yield f"Whole seasons of {rules.season}: a look between two of them promotes nobody (gate.season)."
    left = rules.max_matured - verdict.n
    yield (
        f"Undecided after {max(0, left):,} more requests, or {rules.max_age} after its first one, it is inconclusive "
        f"(gate.max_matured, gate.max_age)."
    )


def _release(verdict: Verdict, rules: Gate) -> Iterator[str]:
    yield "Its evidence is enough; once nothing keeps it back any more, the next look promotes it."


def _undo(verdict: Verdict, rules: Gate) -> Iterator[str]:
    yield (
        f"The former champion goes on in shadow for {PROBATION_MATURED:,} labelled requests or "
        f"{PROBATION_S / _DAY_S:g} days: if it is shown better, the promotion is rolled back."
    )


def _worse(verdict: Verdict, rules: Gate) -> Iterator[str]:
    yield "Nothing within this comparison: more requests cannot make it better. A new version is compared anew."


def _too_little(verdict: Verdict, rules: Gate) -> Iterator[str]:
    yield (
        f"gate.min_gain below {100 * max(verdict.upper, 0):.2g} points would have kept it, at {100 * rules.min_gain:g} "
        "points it cannot be good enough. A new version is compared anew."
    )


def _spent(verdict: Verdict, rules: Gate) -> Iterator[str]:
    yield (
        f"More requests than {rules.max_matured:,} or more time than {rules.max_age} (gate.max_matured, gate.max_age): "
        f"the advantage may be from {100 * verdict.lower:+.2g} to {100 * verdict.upper:+.2g} points."
    )
    if verdict.events_to_go is not None:
        yield f"At this pace about {verdict.events_to_go:,} more would have been enough."


def _held(comparison: ComparisonFacts, rules: Gate) -> Iterator[str]:
    share = coverage(comparison)
    if share is not None and share < rules.min_coverage:
        yield (
            f"Labels for {rules.min_coverage:.0%} of the questions on which they may differ, instead of {share:.0%}: "
            "`tiltyard ask-labels` lists those that decide most."
        )
    others = held_back(comparison, Evidence.from_json(comparison.evidence), rules)
    yield from (f"A promotion is kept back as long as {why}." for why in others if not why.startswith("only "))
