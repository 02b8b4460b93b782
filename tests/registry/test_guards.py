"""What forbids a promotion that the evidence would allow."""

import random

import msgspec
import pytest

from contracts.facts import ComparisonFacts
from contracts.gate_rules import Gate
from contracts.releases import Board
from registry.evidence import Evidence
from registry.guards import held_back, judge
from registry.matured import Matured
from registry.tenure import Record

NOW = 1_000.0
BETTER = Evidence.of_counts(2_000, 200, 60)


def comparison(**known: object) -> ComparisonFacts:
    """A challenger whose evidence is far beyond what is needed."""
    return ComparisonFacts(
        champion=1, challenger=2, learner="tree", started_at=0.0, n=BETTER.n, wins=BETTER.wins, losses=BETTER.losses,
        gain=BETTER.mean, needed=0.0, uncovered=0, evidence=BETTER.to_json(), **known,  # type: ignore[arg-type]
    )  # fmt: skip


def verdict(rules: Gate | None = None, **known: object) -> tuple[str, str]:
    found = judge(comparison(**known), rules or Gate(), NOW)
    return found.decision, found.reason


def test_nothing_forbids_what_is_covered_and_better() -> None:
    """The evidence alone promotes."""
    assert verdict()[0] == "promote"
    assert verdict(asked={0: (180, 200), 1: (60, 60)})[0] == "promote"


def test_too_few_labels_of_disagreements_forbid() -> None:
    """Who has not been asked about half of the disagreements does not know who is right."""
    decision, reason = verdict(asked={0: (100, 200), 1: (30, 60)})
    assert decision == "ready"
    assert "50% of the questions on which they may differ have labels, not 80%" in reason
    assert verdict(Gate(min_coverage=0.4), asked={0: (100, 200), 1: (30, 60)})[0] == "promote"


def test_labels_only_where_the_champion_said_yes_never_promote() -> None:
    """The sentence says what is missing; a random sample that is declared as such is no selection."""
    decision, reason = verdict(Gate(min_coverage=0.5), asked={1: (900, 900), 0: (0, 100)})
    assert decision == "ready"
    assert "100% come back where the champion answered class 1" in reason
    assert "0% where it answered class 0" in reason
    assert verdict(Gate(min_coverage=0.0), asked={1: (900, 900), 0: (0, 100)})[0] == "promote"
    assert verdict(asked={1: (900, 900), 0: (0, 20)})[0] == "promote", "twenty pairs show nothing"


def test_another_loss_that_may_suffer_forbids() -> None:
    """A guardrail must be shown, not assumed: no evidence yet, or too little, keeps back."""
    rules = Gate(guardrails={"brier": 0.02})
    assert "brier loss is not shown to suffer by less than 2 points" in verdict(rules)[1]
    suffers, fine = Evidence(), Evidence()
    suffers.add_many([-0.1] * 2_000)
    fine.add_many([0.0] * 2_000)
    assert verdict(rules, guardrails={"brier": suffers.to_json()})[0] == "ready"
    assert verdict(rules, guardrails={"brier": fine.to_json()})[0] == "promote"


def test_a_segment_in_which_it_is_worse_is_a_veto() -> None:
    """Better on the whole, and shown to be worse for some."""
    worse, same = Evidence.of_counts(300, 5, 60), Evidence.of_counts(300, 20, 22)
    decision, reason = verdict(segments={"country=fr": worse.to_json(), "country=de": same.to_json()})
    assert decision == "ready"
    assert "worse where country=fr: by 18 points on 300 requests" in reason
    assert verdict(segments={"country=de": same.to_json()})[0] == "promote"


@pytest.mark.parametrize(("fr", "tolerance"), [(0.3, 0.02), (0.9, 0.5)])
def test_the_bounds_that_are_shown_agree_with_what_is_kept_back(fr: float, tolerance: float) -> None:
    """A segment's upper bound is below zero, and a guardrail's lower one below its tolerance, exactly where it is."""
    rules, dice = Gate(guardrails={"brier": tolerance}, segments=("country",), min_matured=1), random.Random(3)
    record = Record(rules, "zero_one")
    record.begin(Board(1, (2,)), -1)
    for i in range(800):
        country = dice.choice(("fr", "de"))
        mine, other = (0.9 if dice.random() < right else 0.1 for right in (0.6, fr if country == "fr" else 0.95))
        scores = ((1 - mine, mine), {2: (0, (1 - other, other))})
        record.add([Matured(i, 1, *scores, 1.0, segments=(f"country={country}",))])
    told = record.comparison_facts((2,), {}, NOW)[0]
    reason = "; ".join(held_back(told, Evidence.from_json(told.evidence), rules))
    assert set(told.bounds) == {"brier", "country=fr", "country=de"}
    for name in ("country=fr", "country=de"):
        assert (told.bounds[name][1] < 0) == (f"worse where {name}" in reason)
    assert (told.bounds["brier"][0] < -tolerance) == ("brier loss is not shown" in reason)


@pytest.mark.parametrize(("corrected", "decision"), [(0.05, "promote"), (0.4, "ready")])
def test_young_wins_that_may_be_corrected_are_doubted(corrected: float, decision: str) -> None:
    """As many of them are counted as lost as labels are corrected."""
    rules = Gate(correction_lag="7d")
    assert verdict(rules, young=(200, 200.0), corrected=corrected)[0] == decision


def test_stressed_evidence_is_that_of_the_same_events_with_wins_turned_into_losses() -> None:
    """For whole numbers of wins it equals counting them anew."""
    stressed = BETTER.stressed(0.001, 40, 1.0)
    assert stressed == pytest.approx(Evidence.of_counts(2_000, 160, 100).log_e(0.001), abs=1e-9)
    real = Evidence()
    real.add_many([0.25] * 50 + [-0.5] * 10)
    turned = Evidence()
    turned.add_many([0.25] * 45 + [-0.25] * 5 + [-0.5] * 10)
    assert real.stressed(0.0, 5, 0.25) == pytest.approx(turned.log_e(), abs=1e-9)


def test_an_unknown_reason_from_outside_is_told_too() -> None:
    """What the flow knows beside the comparison (a cool-down, a latency) is one more reason."""
    found = judge(msgspec.structs.replace(comparison(), asked={0: (1, 100)}), Gate(), NOW, ["it is too slow"])
    assert found.decision == "ready"
    assert "it is too slow; only 1%" in found.reason
