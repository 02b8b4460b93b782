"""Where `gate.approval = "person"`: a winner asks, a person answers, and only while it still has won.

Nobody waits for the answer: the request is a line of the ledger, open until it is answered or the verdict changes.
A rollback never asks.
"""

import time
from collections.abc import Sequence

import msgspec

from contracts.events import Decision
from contracts.lease import held
from contracts.releases import Board
from flows.handover import hand_over
from flows.place import Place
from flows.verdicts import CAUSE, standing
from registry import history, policy
from registry.gate import Verdict
from registry.promotion import Stale

WAIT_S = 60.0  # for a look of the gate that hands over and waits for serving


def allowed_by(place: Place, board: Board, lines: Sequence[Decision], version: int, verdict: Verdict) -> str | None:
    """Who lets a winner take over; None while a person is to, who is then asked, once for each time that it wins."""
    if place.model.gate.approval == "automatic" or version == board.previous:
        return CAUSE
    answer = history.answer(lines, version)
    if answer is not None and answer.kind == "approved":
        return answer.cause  # whoever was to carry it out was killed before
    place.roles.ledger.append(
        "asked",
        version,
        f"Version {version} asks to answer instead of {board.champion}: {verdict.reason}",
        cause=CAUSE,
        numbers=msgspec.to_builtins(verdict) | {"over": board.champion},
        key=f"asked:{history.verdicts(lines)[version].seq}",
    )
    return None


def sentence(model: str, version: int, verdict: Verdict) -> str:
    """What a run of the gate says of a request."""
    return (
        f"Version {version} waits for a person: {verdict.reason} Let it answer with `tiltyard approve {version} "
        f"--model {model}`, or refuse it with `tiltyard refuse {version} --model {model} --reason TEXT`; a run of the "
        f"deployment approve/{model} does either, too."
    )


def approve(place: Place, version: int, person: str, reason: str) -> str:
    """Lets a winner that asks take over; says what was done.

    Repeated, it finishes what was begun. Raises Stale where it does not ask, or has not won any more, LeaseTaken, or
    what `hand_over` raises.
    """
    with held(place.client, place.name, "promote", wait_s=WAIT_S):
        policy.enter(place.roles.ledger, place.model.gate, cause=person)
        board = place.roles.reconcile(cause=person)
        if board.champion == version:
            return f"Version {version} answers already."
        lines = place.roles.ledger.read()
        verdict = standing(place, board, lines, time.time()).get(version)
        if verdict is None or verdict.decision != "promote":
            why = f"it is {verdict.decision}: {verdict.reason}" if verdict else "it is not compared with the champion"
            raise Stale(f"version {version} cannot be approved, {why} (`tiltyard promote` does not ask the gate)")
        asked = _request(lines, version)
        place.roles.ledger.append(
            "approved",
            version,
            f"Version {version} may answer instead of {board.champion}. {reason}".strip(),
            cause=person,
            numbers=msgspec.to_builtins(verdict) | {"over": board.champion, "asked": asked.seq},
            key=f"answered:{asked.seq}",
        )
        return hand_over(place, board, version, verdict, person)


def refuse(place: Place, version: int, person: str, reason: str) -> str:
    """Keeps a winner that asks from taking over as long as this champion answers.

    Raises Stale where it does not ask, or LeaseTaken.
    """
    with held(place.client, place.name, "promote", wait_s=WAIT_S):
        asked = _request(place.roles.ledger.read(), version)
        line = place.roles.ledger.append(
            "declined",
            version,
            f"Version {version} may not answer instead of {asked.numbers['over']}. {reason}",
            cause=person,
            numbers={"asked": asked.seq, "said": reason},
            key=f"answered:{asked.seq}",
        )
    if line.kind == "approved":
        raise Stale(f"{line.cause} has approved version {version} before (ledger line {line.seq})")
    return f"Version {version} is refused as long as {asked.numbers['over']} answers (ledger line {line.seq})."


def _request(lines: Sequence[Decision], version: int) -> Decision:
    """What a version asks in this tenure, whether or not it was answered. Raises Stale."""
    asked = history.asked(lines, version)
    if asked is None:
        raise Stale(f"version {version} does not ask for approval; `tiltyard status` shows what does")
    return asked
