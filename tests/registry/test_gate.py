"""The decision: its order, its sentences, and its agreement with the band."""

import math

import msgspec
import numpy as np
import pytest

from registry.evidence import Evidence
from registry.gate import Rules, counts_in_words, decide, events_to_go, needed, plan
from tests.registry.test_evidence import random_evidence

NOW = 1_763_800_000.0
DAY = 86_400.0


def counted(n: int, wins: int, losses: int, age_s: float = DAY, covers_s: float | None = None) -> Evidence:
    """0/1 evidence that began `age_s` ago and reaches over `covers_s` of traffic, by default until now."""
    evidence = Evidence.of_counts(n, wins, losses)
    evidence.started_at = NOW - age_s
    evidence.ended_at = NOW - age_s + (age_s if covers_s is None else covers_s)
    return evidence


@pytest.mark.parametrize(
    ("evidence", "decision", "told"),
    [
        (counted(0, 0, 0), "collecting", "0 of the 500 labelled requests"),
        (counted(499, 400, 0), "collecting", "499 of the 500 labelled requests"),
        (counted(500, 60, 5), "promote", "11.0 points fewer mistakes (at least "),
        (
            counted(5_000, 220, 120),
            "promote",
            "a useless challenger gets this far in at most 5 in 100 champion tenures",
        ),
        (counted(5_000, 100, 200), "retire", "2.0 points more mistakes (at least "),
        (counted(30_000, 450, 450), "give_up", "less than the 0.5 you asked for"),
        (counted(50_000, 3_300, 3_100), "inconclusive", "50,000 requests were not enough"),
        (counted(5_000, 120, 100, age_s=31 * DAY), "inconclusive", "30 days and 5,000 requests were not enough"),
        (counted(2_000, 70, 45), "continue", "So far 1.2 points fewer mistakes; could still be anywhere from "),
    ],
)
def test_each_state_has_its_decision_and_its_sentence(evidence, decision, told):
    """The whole table of decisions under the default rules."""
    verdict = decide(evidence, Rules(), NOW)
    assert (verdict.decision, told in verdict.reason) == (decision, True), verdict.reason
    assert (verdict.n, verdict.wins, verdict.losses) == (evidence.n, evidence.wins, evidence.losses)


def test_the_verdict_carries_the_numbers_it_was_made_from():
    """log E at the margin, what is needed, the bounds at the promised levels; and it can be stored and read."""
    evidence, rules = counted(2_000, 70, 45), Rules(margin=0.001)
    verdict = decide(evidence, rules, NOW)
    assert verdict.log_e == evidence.log_e(0.001)
    assert verdict.needed == needed(rules) == pytest.approx(math.log(80))
    assert (verdict.lower, verdict.upper) == (evidence.lower(1 / 80), evidence.upper(0.05))
    assert verdict.mean == pytest.approx(0.0125)
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=type(verdict)) == verdict


def test_promotion_and_the_band_are_one_statement():
    """On 1,000 random states: promoted exactly where the lower bound at alpha/slots exceeds the margin."""
    rng = np.random.default_rng(0)
    promoted = 0
    for _ in range(1_000):
        rules = Rules(min_matured=1, margin=float(rng.uniform(-0.05, 0.05)), slots=int(rng.integers(1, 9)))
        evidence = random_evidence(rng)
        verdict = decide(evidence, rules, NOW)
        assert (verdict.decision == "promote") == (verdict.lower > rules.margin)
        promoted += verdict.decision == "promote"
    assert 100 < promoted < 900


def test_promotion_comes_before_every_reason_to_stop():
    """A challenger that qualifies on the last event of the horizon is promoted, not called inconclusive."""
    assert decide(counted(50_000, 4_000, 3_000, age_s=40 * DAY), Rules(), NOW).decision == "promote"


def test_whatever_holds_a_promotion_back_is_named():
    """Good evidence behind a failed guardrail is ready, with the reasons; other verdicts do not change."""
    reasons = ["labels cover 61% of disagreements, 80% are needed", "segment north is worse"]
    ready = decide(counted(5_000, 220, 120), Rules(), NOW, held_back_by=reasons)
    assert ready.decision == "ready"
    assert all(reason in ready.reason for reason in reasons)
    assert decide(counted(5_000, 100, 200), Rules(), NOW, held_back_by=reasons).decision == "retire"


def test_within_the_first_season_nothing_is_decided():
    """Less than one cycle of traffic says nothing about the other part of the cycle."""
    rules = Rules(season="24h")
    verdict = decide(counted(5_000, 220, 120, age_s=0.4 * DAY), rules, NOW)
    assert verdict.decision == "collecting"
    assert "One whole season (24h) must pass first; 14 hours to go." in verdict.reason
    unknown = Evidence.of_counts(5_000, 220, 120)
    assert decide(unknown, rules, NOW).decision == "collecting"


@pytest.mark.parametrize(
    ("cycles", "decision"), [(1.0, "promote"), (0.995, "promote"), (1.5, "ready"), (2.005, "promote"), (6.9, "ready")]
)
def test_with_a_season_promotion_waits_for_whole_cycles(cycles, decision):
    """Stopping in mid-cycle would promote on the good half; a look on schedule may miss the end by one per cent."""
    verdict = decide(counted(5_000, 220, 120, age_s=cycles * DAY), Rules(season="24h"), NOW)
    assert verdict.decision == decision
    assert decision == "promote" or "through, and only whole ones count" in verdict.reason


def test_a_season_is_counted_in_traffic_seen_not_in_time_waited():
    """Labels mature late: what counts is when the last counted question was asked."""
    waited = counted(5_000, 220, 120, age_s=2 * DAY, covers_s=1.6 * DAY)
    assert decide(waited, Rules(season="24h"), NOW).decision == "ready"
    unspanned = Evidence.of_counts(5_000, 220, 120)
    unspanned.started_at = NOW - 2 * DAY
    assert decide(unspanned, Rules(season="24h"), NOW).decision == "promote"


def test_non_inferiority_promotes_an_equal_challenger_and_drops_a_worse_one():
    """A negative margin accepts slightly worse, so slightly worse is no reason to retire."""
    rules = Rules(margin=-0.01)
    assert decide(counted(2_000, 0, 0), rules, NOW).decision == "promote"
    slightly_worse = counted(20_000, 500, 610)
    assert decide(slightly_worse, Rules(), NOW).decision == "retire"
    assert decide(slightly_worse, rules, NOW).decision == "continue"
    assert decide(counted(20_000, 300, 800), rules, NOW).decision == "retire"


def test_a_margin_above_the_least_gain_is_what_must_still_be_possible():
    """Who asks for 2 points is not kept waiting by a challenger that can be 1 point better at best."""
    verdict = decide(counted(10_000, 200, 180), Rules(margin=0.02), NOW)
    assert verdict.decision == "give_up"
    assert "less than the 2.0 you asked for" in verdict.reason


def test_losses_other_than_mistakes_are_called_losses():
    """A Brier difference is not a count of mistakes."""
    evidence = Evidence()
    evidence.add_many(np.random.default_rng(1).normal(0.05, 0.1, 2_000).clip(-1, 1))
    verdict = decide(evidence, Rules(), NOW)
    assert verdict.decision == "promote"
    assert "points less loss" in verdict.reason
    assert "their losses differed on 2,000" in counts_in_words(evidence)


def test_counts_are_told_in_words():
    """What was counted, for a person."""
    assert counts_in_words(counted(5_000, 220, 120)) == (
        "On 5,000 labelled requests only one of the two was right on 340; "
        "the challenger was better 220 times, the champion 120."
    )


def test_the_pace_tells_how_many_labels_are_missing():
    """That many more events of the same sort bring it near the threshold; no pace, no number."""
    evidence, rules = counted(1_000, 40, 25), Rules()
    more = events_to_go(evidence, rules)
    assert more is not None
    factor = (1_000 + more) / 1_000
    later = Evidence.of_counts(round(1_000 * factor), round(40 * factor), round(25 * factor))
    assert later.log_e() == pytest.approx(needed(rules), abs=1.0)
    assert events_to_go(counted(1_000, 25, 40), rules) is None
    assert events_to_go(Evidence(), rules) is None
    assert events_to_go(counted(5_000, 220, 120), rules) == 0


def test_the_plan_is_near_what_simulation_measured():
    """+1 point with 3 % disagreement took 2,331 events at E >= 20 and 3,271 at E >= 80, in nine of ten 5,238, 6,550."""
    one, four = plan(0.02, 0.01, Rules(slots=1)), plan(0.02, 0.01, Rules())
    assert one is not None
    assert four is not None
    assert one.median == pytest.approx(2_331, rel=0.1)
    assert four.median == pytest.approx(3_271, rel=0.1)
    assert one.p90 == pytest.approx(5_238, rel=0.1)
    assert plan(0.02, 0.02, Rules()) is None
    assert plan(0.8, 0.3, Rules()) is None
    assert plan(0.05, 0.0, Rules()) is not None


def test_a_clock_that_jumps_back_ends_nothing():
    """`now` before the start is no age."""
    assert decide(counted(2_000, 70, 45, age_s=-DAY), Rules(), NOW).decision == "continue"
