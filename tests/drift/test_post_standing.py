"""What is news of drift that stands."""

from hypothesis import given
from hypothesis import strategies as st

from contracts.alarm_facts import Severity
from contracts.mail_rules import SEVERITIES
from drift.post_standing import News, Standing, follow

DAY = 86_400.0


def told(*severities: Severity, step_s: float = 600.0, remind_s: float | None = DAY) -> list[News | None]:
    standing, found = Standing(), []
    for n, severity in enumerate(severities):
        standing, news = follow(standing, severity, n * step_s, remind_s)
        found.append(news)
    return found


def test_an_alarm_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    """However many reports say so in between."""
    assert told("none", *["alarm"] * 50, *["none"] * 9) == [None, "begins", *[None] * 50, "ends", *[None] * 7]


def test_one_mild_report_is_no_end() -> None:
    """A distance at its threshold would begin and end all day."""
    assert told("alarm", "none", "alarm", "none", "alarm") == ["begins", None, None, None, None]


def test_it_grows_at_once_and_eases_after_two_reports() -> None:
    """Whoever hears of alarms only hears of it then."""
    assert told("info", "alarm", "info", "info", "none", "none") == ["begins", "grows", None, "eases", None, "ends"]


def test_it_is_recalled_at_most_so_often() -> None:
    """Counted from the last message, or never."""
    assert told(*["alarm"] * 7, step_s=DAY / 3) == ["begins", None, None, "stands", None, None, "stands"]
    assert told(*["alarm"] * 7, step_s=DAY, remind_s=None) == ["begins", *[None] * 6]


@given(st.lists(st.sampled_from(SEVERITIES), max_size=40))
def test_messages_alternate_as_a_reader_expects(severities: list[Severity]) -> None:
    """Nothing ends that did not begin; each message has a number of its own; what is told is where it stands."""
    standing, number, open_ = Standing(), 0, False
    for n, severity in enumerate(severities):
        standing, news = follow(standing, severity, float(n), DAY)
        number += news is not None
        assert standing.told == number
        if news == "begins":
            assert not open_
            assert standing.since == n
        if news in ("grows", "eases", "stands", "ends"):
            assert open_
        open_ = news == "begins" or (open_ and news != "ends")
        assert open_ == (standing.level != "none")
