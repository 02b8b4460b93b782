"""Ledger lines as Prefect events, so that its page shows them and automations act on them.

Each is called ``tiltyard.KIND`` after its line, for the resource ``tiltyard.model.NAME``. Lines of everybody (people,
the guard, the learn run) are announced by whichever flow run comes next, at least once and under one id.
"""

import uuid
from datetime import UTC, datetime

from prefect.context import FlowRunContext
from prefect.events import emit_event

from contracts.events import Decision
from flows.place import Place

_NAMESPACE = uuid.UUID("8a1c6f0e-5a52-4c0e-9f0b-6d0f3f8f4b1d")


def resource(model: str) -> str:
    """What events of a model are about."""
    return f"tiltyard.model.{model}"


def kind(of: str) -> str:
    """How the event of a ledger line of this kind is called."""
    return f"tiltyard.{of}"


def announce(place: Place) -> int:
    """Announces the ledger's lines that have not been; returns how many. Outside of a flow run, none."""
    if FlowRunContext.get() is None:
        return 0
    key = place.streams.key("announced")
    through = int(place.client.get(key) or -1)
    fresh = [line for line in place.roles.ledger.read() if line.seq > through]
    for line in fresh:
        _emit(line)
    if fresh:
        place.client.set(key, fresh[-1].seq)
    return len(fresh)


def _emit(line: Decision) -> None:
    emit_event(
        kind(line.kind),
        resource={"prefect.resource.id": resource(line.model), "prefect.resource.name": line.model},
        occurred=datetime.fromtimestamp(line.at, UTC),
        payload={"seq": line.seq, "version": line.version, "reason": line.reason, "cause": line.cause},
        id=uuid.uuid5(_NAMESPACE, line.hash),
    )
