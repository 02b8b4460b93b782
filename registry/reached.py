"""A verdict and where in the log it was reached, so that it can be reached again from the log alone."""

from collections.abc import Sequence

import msgspec

from contracts import events
from contracts.facts import ComparisonFacts, LearnFacts
from registry.gate import Rules, Verdict
from registry.guards import judge


class Reached(Verdict, frozen=True, kw_only=True):
    """Positions are offsets (`contracts.events.offset`)."""

    through: int
    """Predictions below this one had matured."""
    labels: int
    """Feedback up to this one had been read."""
    at: float
    """Epoch seconds of the look."""
    since: float
    """Epoch seconds at which the first compared question was asked."""
    corrected: float
    """Share of labels that had been corrected."""
    also: tuple[str, ...]
    """What forbade a promotion beside the comparison itself; the log does not hold it."""


def reach(
    comparison: ComparisonFacts, facts: LearnFacts, rules: Rules, now: float, also: Sequence[str] = ()
) -> Reached:
    """The verdict at `now` (epoch seconds) on one of the comparisons of `facts`; `also` is what else forbids it."""
    return Reached(
        **msgspec.structs.asdict(judge(comparison, rules, now, also)),
        through=facts.matured_through,
        labels=events.offset(facts.last_feedback_id),
        at=now,
        since=comparison.started_at,
        corrected=comparison.corrected,
        also=tuple(also),
    )


def position(facts: LearnFacts) -> dict[str, int | float]:
    """Where in the log the facts stand, for a line that holds another finding than a verdict."""
    return {"through": facts.matured_through, "labels": events.offset(facts.last_feedback_id), "at": facts.at}
