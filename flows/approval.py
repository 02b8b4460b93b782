"""Where `gate.approval = "person"`: a winner asks, a person answers, and only while it still has won.

Nobody waits for the answer: the request is a line of the ledger, open until it is answered or the verdict changes.
A rollback never asks.
"""

import logging
import time
from collections.abc import Sequence

import msgspec
import redis

from contracts import approvals, events
from contracts.approvals import Approval, Requests
from contracts.events import Decision
from contracts.lease import held
from contracts.releases import Board
from flows.handover import hand_over
from flows.place import Place
from flows.verdicts import CAUSE, standing
from registry import history, policy
from registry.gate import Verdict
from registry.promotion import Barred, Stale
from registry.versions import UnknownVersion

log = logging.getLogger(__name__)

WAIT_S = 60.0  # for a look of the gate that hands over and waits for serving
LOOK_S = 1.0
AGAIN_S = 20.0  # longer than a run takes that is under way, beside which the server starts no other


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


def sentence(place: Place, version: int, verdict: Verdict) -> str:
    """What a run of the gate says of a request."""
    model = place.name
    return (
        f"Version {version} waits for a person: {verdict.reason} Answer on {place.settings.serving_url}/models/{model}"
        f"/page, where its dossier is, with `tiltyard approve {version} --model {model}` or `tiltyard refuse {version} "
        f"--model {model} --reason TEXT`, or by a run of the deployment approve/{model}."
    )


def approve(place: Place, version: int, person: str, reason: str, asked_by: int | None = None) -> str:
    """Lets a winner that asks take over; says what was done.

    Repeated, it finishes what was begun. `asked_by` is the ledger line of the request that was read, where that is
    known. Raises Stale where it does not ask, has asked anew since, or has not won any more, LeaseTaken, or what
    `hand_over` raises.
    """
    with held(place.client, place.name, "promote", wait_s=WAIT_S):
        policy.enter(place.roles.ledger, place.model, cause=person)
        board = place.roles.reconcile(cause=person)
        if board.champion == version:
            return f"Version {version} answers already."
        lines = place.roles.ledger.read()
        verdict = standing(place, board, lines, time.time()).get(version)
        if verdict is None or verdict.decision != "promote":
            why = "it is not compared with the champion"
            if verdict is not None:
                why = f'its verdict is "{verdict.decision}" by now: {verdict.reason}'
            raise Stale(f"version {version} cannot be approved, {why} (`tiltyard promote` does not ask the gate)")
        asked = _request(lines, version, asked_by)
        place.roles.ledger.append(
            "approved",
            version,
            f"Version {version} may answer instead of {board.champion}. {reason}".strip(),
            cause=person,
            numbers=msgspec.to_builtins(verdict) | {"over": board.champion, "asked": asked.seq},
            key=f"answered:{asked.seq}",
        )
        return hand_over(place, board, version, verdict, person)


def refuse(place: Place, version: int, person: str, reason: str, asked_by: int | None = None) -> str:
    """Keeps a winner that asks from taking over as long as this champion answers.

    Raises Stale where it does not ask, or has asked anew since `asked_by`, or LeaseTaken.
    """
    with held(place.client, place.name, "promote", wait_s=WAIT_S):
        asked = _request(place.roles.ledger.read(), version, asked_by)
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


class Waiting:
    """What was said on the page and not done yet, as the learn run sees it, which asks for a run that does it."""

    def __init__(self, place: Place):
        self.streams, self._looked_at, self._told_at, self._told = place.streams, -LOOK_S, -AGAIN_S, ""

    def is_due(self, now: float) -> bool:
        """Whether to ask for a run: at once for each thing said, and again while it waits. `now` is monotonic."""
        if now - self._looked_at < LOOK_S:
            return False
        self._looked_at = now
        try:
            newest = max(approvals.given(self.streams), key=events.offset, default="")
        except (redis.ConnectionError, redis.TimeoutError):
            return False  # the loop's next step says so, and waits
        if not newest or (newest == self._told and now - self._told_at < AGAIN_S):
            return False
        self._told, self._told_at = newest, now
        return True


def show(place: Place) -> None:
    """Makes known what waits for a person, however long ago it asked."""
    place.streams.set_fact("requests", Requests(tuple(history.requests(place.roles.ledger.read()))))


def carry_out(place: Place) -> list[str]:
    """Does what people have said on the page, oldest first; says what was done, or why it cannot be any more.

    Killed anywhere, it is done again and comes to the same end. Raises LeaseTaken, or
    registry.versions.Unavailable; what is not done then waits for the next run.
    """
    return [_carry_out(place, id_, said) for id_, said in approvals.given(place.streams).items()]


def _carry_out(place: Place, id_: str, said: Approval) -> str:
    person = f"{said.person} (page)"
    if _is_done(place.roles.ledger.read(), said):
        told = f"What {person} said of version {said.version} had been done before."
    else:
        try:
            act = refuse if said.refuse else approve
            told = act(place, said.version, person, said.reason, said.asked)
        except (Stale, Barred, UnknownVersion) as error:
            told = f"{'No' if said.refuse else 'Yes'} to version {said.version} was not carried out: {error}"
            numbers = {"asked": said.asked, "said": said.reason}
            place.roles.ledger.append("refused", said.version, told, cause=person, numbers=numbers, key=f"undone:{id_}")
    approvals.done(place.streams, id_)
    log.info("answered model=%s version=%d refuse=%s", place.name, said.version, said.refuse)
    return told


def _is_done(lines: Sequence[Decision], said: Approval) -> bool:
    """Whether a run that was killed before it could say so, or somebody else, has done it: it may look otherwise now,
    since another may answer by then."""
    since = [line for line in lines if line.seq > said.asked and line.version == said.version]
    if said.refuse:
        return any(line.kind == "declined" and line.numbers["asked"] == said.asked for line in since)
    return any(line.kind == "promoted" for line in since)


def _request(lines: Sequence[Decision], version: int, asked_by: int | None) -> Decision:
    """What a version asks in this tenure, whether or not it was answered. Raises Stale."""
    asked = history.asked(lines, version)
    if asked is None:
        raise Stale(f"version {version} does not ask for approval; `tiltyard status` shows what does")
    if asked_by not in (None, asked.seq):
        raise Stale(f"version {version} has asked anew since, on other evidence (ledger line {asked.seq})")
    return asked
