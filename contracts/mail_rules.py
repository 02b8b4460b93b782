"""The table [models.NAME.mail]: who hears of what."""

from typing import Literal

import msgspec


class Mail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who gets reports and decisions; without TILTYARD_SMTP_URL they go to the outbox folder."""

    recipients: tuple[str, ...] = ()
    when: Literal["always", "drift"] = "drift"
    """Which drift reports: all of them, or alarms."""
    decisions: bool = True
    """Also why a version was promoted, rolled back, retired, given up, or kept back though it has won."""
