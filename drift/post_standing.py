"""What is news of drift that stands: that it began, grew, eased, ended, or still is; nothing in between."""

from typing import Literal

import msgspec

from contracts.alarm_facts import Severity
from contracts.mail_rules import SEVERITIES

News = Literal["begins", "grows", "stands", "eases", "ends"]

_CALM = 2
"""Reports in a row that are milder, until it has eased: a distance at its threshold would begin and end all day."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What of a model's drift has been told, and how it stands."""

    level: Severity = "none"
    """As it was told."""
    since: float = 0.0
    """When what stands began, in epoch seconds."""
    told_at: float = 0.0
    told: int = 0
    """Messages so far. Counted, so that a run that was killed says the same message again and not another."""
    milder: int = 0
    """Reports in a row below the level."""
    report_at: float = 0.0
    """Of the newest report that was looked at."""


def follow(before: Standing, severity: Severity, now: float, remind_s: float | None) -> tuple[Standing, News | None]:
    """How it stands after a report, and what of that is news."""
    was, reached = SEVERITIES.index(before.level), SEVERITIES.index(severity)
    told = msgspec.structs.replace(before, level=severity, told_at=now, told=before.told + 1, milder=0)
    if reached > was:
        return (told, "grows") if was else (msgspec.structs.replace(told, since=now), "begins")
    if reached < was:
        if before.milder + 1 < _CALM:
            return msgspec.structs.replace(before, milder=before.milder + 1), None
        return told, "eases" if reached else "ends"
    if reached and remind_s is not None and now - before.told_at >= remind_s:
        return told, "stands"
    return msgspec.structs.replace(before, milder=0), None
