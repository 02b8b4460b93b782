"""`tiltyard approve` and `refuse`: a person answers a winner that asks, where `gate.approval = "person"`."""

from pathlib import Path

from contracts.events import Decision
from flows import approval
from registry import history
from tiltyard import roles
from tiltyard.person import person, wanted_reason


def approve(state: Path | None, model: str | None, version: int, reason: str) -> str:
    """Lets it answer. Raises Stale where it does not ask or has not won any more, and as `tiltyard.roles.promote`."""
    return approval.approve(roles.place(state, model), version, person(), reason.strip())


def refuse(state: Path | None, model: str | None, version: int, reason: str) -> str:
    """Keeps it from answering as long as this champion does. Raises as `approve`."""
    return approval.refuse(roles.place(state, model), version, person(), wanted_reason(reason))


def open_requests(model: str, lines: list[Decision]) -> list[str]:
    """What waits for a person, each with the commands."""
    return [
        f"{line.reason} `tiltyard approve {line.version} --model {model}` lets it, "
        f"`tiltyard refuse {line.version} --model {model} --reason TEXT` does not; "
        f"`tiltyard why {line.version} --model {model}` prints its dossier."
        for line in history.requests(lines)
    ]
