"""When a message may go out, by the clock of the people who get it."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.alarm_facts import Severity
from contracts.mail_rules import SEVERITIES, Mail
from drift.post_times import due, is_within

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Mail(quiet_hours="22:00-07:00", time_zone="Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def test_without_rules_everything_goes_at_once() -> None:
    """Also between two microseconds."""
    assert due(Mail(), "info", 1_763_800_000.123_456_7) == 1_763_800_000.123_456_7


@pytest.mark.parametrize(
    ("said", "goes"),
    [
        ("2026-03-10 21:59:59", "2026-03-10 21:59:59"),
        ("2026-03-10 22:00:00", "2026-03-11 07:00:00"),
        ("2026-03-11 06:59:59", "2026-03-11 07:00:00"),
        ("2026-03-11 07:00:00", "2026-03-11 07:00:00"),
        ("2026-03-29 01:30:00", "2026-03-29 07:00:00"),  # the night that has no 02:30
        ("2026-10-25 01:30:00", "2026-10-25 07:00:00"),  # the night that has it twice
    ],
)
def test_quiet_hours_are_those_of_their_zone(said: str, goes: str) -> None:
    """Past midnight, and through both changes of the clock."""
    assert due(NIGHT, "warning", at(said)) == at(goes)


def test_alarms_go_through_quiet_hours_unless_they_are_to_wait() -> None:
    """And no digest gathers them."""
    night = at("2026-03-10 23:00")
    assert due(NIGHT, "alarm", night) == night
    assert due(Mail(quiet_hours="22:00-07:00", quiet_alarms="wait"), "alarm", night) > night
    assert due(Mail(digest="daily"), "alarm", night) == night


@pytest.mark.parametrize(
    ("rules", "said", "goes"),
    [
        (Mail(digest="hourly", time_zone="Europe/Berlin"), "2026-03-10 12:10", "2026-03-10 13:00"),
        (Mail(digest="hourly", time_zone="Europe/Berlin"), "2026-03-29 01:10", "2026-03-29 03:00"),
        (Mail(digest="daily", time_zone="Europe/Berlin"), "2026-03-10 07:59", "2026-03-10 08:00"),
        (Mail(digest="daily", time_zone="Europe/Berlin"), "2026-03-10 08:00", "2026-03-11 08:00"),
        (Mail(digest="daily", digest_at="23:30", quiet_hours="22:00-07:00", time_zone="Europe/Berlin"),
         "2026-03-10 12:00", "2026-03-11 07:00"),
    ],
)  # fmt: skip
def test_a_digest_goes_at_its_hour(rules: Mail, said: str, goes: str) -> None:
    """Quiet hours keep it back like anything else."""
    assert due(rules, "info", at(said)) == at(goes)


@given(
    now=st.floats(1.7e9, 1.9e9),
    severity=st.sampled_from(SEVERITIES),
    digest=st.sampled_from(["off", "hourly", "daily"]),
    quiet=st.sampled_from([None, "22:00-07:00", "00:00-23:59", "12:00-13:00"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_nothing_goes_early_nor_waits_for_longer_than_two_days(
    now: float, severity: Severity, digest: str, quiet: str | None, zone: str
) -> None:
    """And what goes, goes outside quiet hours, but for alarms."""
    rules = Mail(digest=digest, quiet_hours=quiet, time_zone=zone)  # type: ignore[arg-type]  # sampled literals
    goes = due(rules, severity, now)
    assert now <= goes <= now + timedelta(days=2).total_seconds()
    if quiet and severity != "alarm":
        begin, end = (time.fromisoformat(text) for text in quiet.split("-"))
        assert not is_within(datetime.fromtimestamp(goes, ZoneInfo(zone)).time(), begin, end)
