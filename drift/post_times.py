"""When a message may go out: quiet hours and digests, by the clock of the people who get it."""

from datetime import UTC, datetime, time, timedelta

from contracts.alarm_facts import Severity
from contracts.mail_rules import Mail


def due(rules: Mail, severity: Severity, now: float) -> float:
    """Epoch seconds from which on a message may be mailed: `now`, or later.

    Alarms are never gathered. What a digest or quiet hours keep back goes at the end of both; days that have an hour
    twice or not at all count by the clock on the wall.
    """
    urgent = severity == "alarm"
    moment = said = datetime.fromtimestamp(now, UTC).astimezone(rules.zone)
    if not urgent and rules.digest == "hourly":
        left_s = 3600 - moment.minute * 60 - moment.second - moment.microsecond / 1e6
        # Elapsed time: aware datetimes of one zone count on the wall.
        moment = datetime.fromtimestamp(now + left_s, UTC).astimezone(rules.zone)
    if not urgent and rules.digest == "daily":
        moment = _next(moment, time.fromisoformat(rules.digest_at))
    if rules.quiet_hours is not None and not (urgent and rules.quiet_alarms == "send"):
        begin, end = (time.fromisoformat(text) for text in rules.quiet_hours.split("-"))
        moment = _next(moment, end) if is_within(moment.time(), begin, end) else moment
    # An hour that comes twice may be meant the first time.
    return now if moment is said else max(moment.timestamp(), now)


def is_within(clock: time, begin: time, end: time) -> bool:
    """Whether a time of day is in hours that may go past midnight; their end is outside."""
    return begin <= clock < end if begin < end else clock >= begin or clock < end


def _next(moment: datetime, clock: time) -> datetime:
    """The next time that the clock on the wall shows this, after `moment`."""
    found = datetime.combine(moment.date(), clock, moment.tzinfo)
    return found if found > moment else datetime.combine(moment.date() + timedelta(days=1), clock, moment.tzinfo)
