"""The page's part about drift: what moved, whether it matters, and why there is no newer report."""

import time

import msgspec
import pytest
import redis

from contracts.alarm_facts import AlarmFacts, LossFacts
from contracts.facts import AnswersFacts, ColumnFacts, DriftFacts, QualityFacts
from contracts.streams import Streams
from tests.serving import scene
from tests.serving.scene import get, words
from tests.serving.test_page import address

__all__ = ["address"]


def known(now: float) -> DriftFacts:
    """A report in which all is told."""
    return msgspec.structs.replace(
        scene.drift(now),
        importance={"url_length": 0.62, "anchors": 0.3, "https": 0.08, "registrar": 0.0},
        answers=AnswersFacts(distance=0.21, threshold=0.1, method="m", reference_rows=900, current_rows=800),
        quality=QualityFacts(
            loss="zero_one",
            reference=0.15,
            current=0.182,
            margin=0.02,
            reference_rows=900,
            current_rows=800,
            measures={"accuracy": (0.85, 0.818)},
        ),
        data={"registrar": ColumnFacts(missing=(0.01, 0.25), unseen=0.12)},
        notes=("registrar is missing in 25.0% of rows, in the reference in 1.0%.",),
        waiting="the current window has 12 rows and needs 200 (drift.min_rows)",
    )


def show(client: redis.Redis, address: str, facts: DriftFacts) -> str:
    scene.play(client)
    Streams(client, "phishing").set_fact("watch", facts)
    return str(get(address)[1])


def test_importance_quality_and_data_are_told(address: str, client: redis.Redis) -> None:
    """Beside the distances, for those who open them; what is wrong with the data at once."""
    page = show(client, address, known(time.time()))
    told = words(page)
    assert "registrar is missing in 25.0% of rows" in told
    assert "No newer report: the current window has 12 rows and needs 200" in told
    assert "answers moved 0.21 against 0.10" in told
    assert "mistakes 15.0 % 18.2 %" in told
    assert "accuracy 0.85 0.818" in told
    assert "url_length moved 62%" in told
    assert "1.0% → 25.0% 12.0%" in told


def test_the_loss_is_told_with_its_threshold_and_budget(address: str, client: redis.Redis) -> None:
    """What is usual, what it is now, how far that is from an alarm, and what the threshold was made for."""
    scene.play(client)
    now = time.time()
    measured = LossFacts(
        statistic=5.31, threshold=4.2, calibrated=True, basis="block bootstrap of 28 days of past",
        window_s=14_400, loss=0.19, usual=0.1, since=now - 60,
    )  # fmt: skip
    estimated = LossFacts(statistic=1.0, threshold=4.4, calibrated=True, basis="the same", loss=0.11, usual=0.1)
    facts = AlarmFacts(
        at=now, version=1, severity="alarm", sentence="It is 0.19 <b>over</b>", budget=0.5, since=now - 60,
        measured=measured, estimated=estimated, validity="calibrated on 900 answers", detectors={"adwin": 340.0},
    )  # fmt: skip
    Streams(client, "phishing").set_fact("alarm", facts)
    page = str(get(address)[1])
    assert "<b>over</b>" not in page
    told = words(page)
    assert "measured moved 10.0 % 19.0 % over 4 h 5.31 4.20" in told
    assert "estimated 10.0 % 11.0 % 1.00 4.40" in told
    assert "made for 0.5 false ones in 30 days" in told
    assert "adwin 340 labels ago" in told


def test_before_the_first_report_it_says_what_that_waits_for(address: str, client: redis.Redis) -> None:
    """No date of 1970, no link to nothing."""
    blank = DriftFacts(
        at=0.0, report="", alarm=False, share=0.0, columns={}, drifted=(), sentence="", reference_rows=0,
        current_rows=0, waiting="the reference window has 3 rows and needs 200 (drift.min_rows)",
    )  # fmt: skip
    page = show(client, address, blank)
    assert "No newer report: the reference window has 3 rows" in words(page)
    assert 'href="/reports/' not in page
    assert "1970" not in page


@pytest.mark.parametrize("report", ["", "r.html"])
def test_a_report_that_could_not_be_kept_has_no_link(address: str, client: redis.Redis, report: str) -> None:
    """Its sentence stands all the same."""
    page = show(client, address, msgspec.structs.replace(scene.drift(time.time()), report=report))
    assert ("Full report" in words(page)) == bool(report)
    assert "2 of 4 columns have drifted" in words(page)


def test_names_and_notes_are_text(address: str, client: redis.Redis) -> None:
    """Columns are called whatever a configuration calls them."""
    evil = "<script>alert(1)</script>"
    facts = msgspec.structs.replace(
        known(time.time()), columns={evil: 1.0}, importance={evil: 1.0}, notes=(evil,), waiting=evil
    )
    page = show(client, address, facts)
    assert "alert(1)</script>" not in page
    assert words(page).count(evil) >= 3
