"""The table [models.NAME.mail]: who hears of what, and when."""

import re
from datetime import UTC, tzinfo
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from contracts.alarm_facts import Severity
from contracts.quantities import ConfigError, seconds

SEVERITIES: tuple[Severity, ...] = ("none", "info", "warning", "alarm")

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"

Clock = Annotated[str, Meta(pattern=f"^{_CLOCK}$", description='A time of day: "08:00".')]
Hours = Annotated[
    str, Meta(pattern=f"^{_CLOCK}-{_CLOCK}$", description='From a time of day to another: "22:00-07:00".')
]
OrOff = Annotated[str, Meta(pattern=r"^((\d+(\.\d+)?)(ms|s|m|h|d)|off)$", description='"24h", or "off" for never.')]


class To(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who hears of what, beside `recipients`: when it begins, grows, eases and ends, and reminders."""

    info: tuple[str, ...] = ()
    """Drift of inputs, and what is worse."""
    warning: tuple[str, ...] = ()
    """Warnings and alarms."""
    alarm: tuple[str, ...] = ()
    """Alarms alone."""
    decisions: tuple[str, ...] = ()


class Mail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who gets reports and decisions; without TILTYARD_SMTP_URL they go to the outbox folder."""

    recipients: tuple[str, ...] = ()
    """They hear of drift as `when` says, and of decisions."""
    when: Literal["always", "drift"] = "drift"
    """What `recipients` hear of drift: every report, or when it begins, changes and ends, and reminders."""
    decisions: bool = True
    """Also why a version was promoted, rolled back, retired, given up, or kept back though it has won."""
    to: To = To()
    remind_every: OrOff = "24h"
    """Drift that stands is mailed when it begins, changes or ends, and in between at most so often."""
    quiet_hours: Hours | None = None
    """What comes within them waits for their end; alarms do as `quiet_alarms` says."""
    quiet_alarms: Literal["send", "wait"] = "send"
    time_zone: str = "UTC"
    """Of `quiet_hours` and `digest_at`, such as Europe/Berlin."""
    digest: Literal["off", "hourly", "daily"] = "off"
    """Gather all but alarms, and send it as one mail: at each full hour, or each day at `digest_at`."""
    digest_at: Clock = "08:00"
    attach_mb: Annotated[float, Meta(ge=0)] = 0.0
    """A report of at most so many MB is attached; all are linked. They have about 4 MB."""
    webhook: str = ""
    """The same as JSON, by POST, at once: https://..., or env:NAME for the variable that holds such an address."""

    @property
    def zone(self) -> tzinfo:
        """Raises KeyError, OSError or ValueError where there is none of that name."""
        return UTC if self.time_zone == "UTC" else ZoneInfo(self.time_zone)  # UTC also where no zones are installed

    @property
    def remind_s(self) -> float | None:
        return None if self.remind_every == "off" else seconds(self.remind_every)


def refuse_contradictions(at: str, mail: Mail) -> None:
    """What could never reach anybody. `at` is the table's name. Raises ConfigError."""
    lists = {"recipients": mail.recipients} | {f"to.{name}": getattr(mail.to, name) for name in To.__struct_fields__}
    for key, addresses in lists.items():
        for address in addresses:
            if not is_address(address):
                raise ConfigError(f"{at}.{key}: {address!r} is no address; write name@host")
    try:
        _ = mail.zone
    except (KeyError, OSError, ValueError):  # unknown, a folder, a path
        wrong = f'there is no time zone "{mail.time_zone}"; write one such as Europe/Berlin'
        raise ConfigError(f"{at}.time_zone: {wrong}") from None
    if mail.quiet_hours is not None and mail.quiet_hours[:5] == mail.quiet_hours[6:]:
        raise ConfigError(f"{at}.quiet_hours: begin and end at the same time; leave them out for none")
    if mail.remind_every != "off" and not seconds(mail.remind_every):
        raise ConfigError(f'{at}.remind_every: is no time at all; write "24h", or "off" for no reminders')
    if mail.webhook and not mail.webhook.startswith("env:") and not is_web_address(mail.webhook):
        raise ConfigError(f"{at}.webhook: is no address of the web; write https://host/path or env:NAME")


def is_address(text: str) -> bool:
    """Whether it has the form name@host."""
    return _ADDRESS.fullmatch(text) is not None


def is_web_address(text: str) -> bool:
    """Whether it is http:// or https:// with a host; never a file or another scheme."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
