"""Kinds of values in `tiltyard.toml`, and the error that names the key of a wrong one."""

import re
from typing import Annotated

from msgspec import Meta

_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = r"^(\d+(\.\d+)?)(ms|s|m|h|d)$"
_CRON = r"^(\S+\s+){4}\S+$"

Duration = Annotated[str, Meta(pattern=_DURATION, description='A number and a unit: "30s", "5m", "24h", "7d".')]
Schedule = Annotated[
    str,
    Meta(pattern=f"{_DURATION}|{_CRON}|^off$", description='An interval ("10m"), a cron line ("0 3 * * *"), or "off".'),
]
Fraction = Annotated[float, Meta(gt=0, lt=1)]
Share = Annotated[float, Meta(gt=0, le=1)]
Count = Annotated[int, Meta(ge=1)]


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the key and what to do."""


def seconds(duration: str) -> float:
    """Seconds in "30s", "5m", "24h" or "7d". Raises ConfigError."""
    match = re.fullmatch(_DURATION, duration)
    if match is None:
        raise ConfigError(f'"{duration}" is not a duration: write a number and a unit, as in "30s", "5m", "24h", "7d"')
    return float(match[1]) * _UNITS_S[match[3]]
