"""Who decides, and why: what a person's ledger lines carry."""

import getpass

from contracts.quantities import ConfigError


def person() -> str:
    """Who runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return "a person"


def wanted_reason(reason: str) -> str:
    """It without blanks around. Raises ConfigError where nothing is left."""
    if not reason.strip():
        raise ConfigError("--reason is empty: whoever reads the ledger later needs one")
    return reason.strip()
