"""Carries out what the evidence says: promotes, rolls back, confirms, retires; each with its reason in the ledger."""

import logging
import time
from collections.abc import Mapping, Sequence

import msgspec
from prefect import flow
from prefect.artifacts import create_markdown_artifact

from contracts import events
from contracts.events import Decision
from contracts.facts import ServingFacts
from contracts.lease import LeaseTaken, held
from contracts.releases import Board
from flows.place import Place, place_named
from flows.verdicts import CAUSE, enter_changes, standing
from registry import history, policy
from registry.gate import Verdict
from registry.promotion import Barred, Stale
from registry.versions import UnknownVersion

log = logging.getLogger(__name__)

PROBATION_MATURED = 20_000
PROBATION_S = 7 * 86_400.0
SERVED_WITHIN_S = 15.0


@flow(name="promote", flow_run_name="promote {model}")
def promote(model: str) -> list[str]:
    """Decide who answers for one model, on the evidence so far.

    Args:
        model: name of a table [models.NAME] in tiltyard.toml.
    """
    place = place_named(model)
    try:
        with held(place.client, model, "promote"):
            done = decide_roles(place, time.time())
    except LeaseTaken as error:
        return [str(error)]
    lines = done or ["Nothing to change."]
    create_markdown_artifact("\n".join(f"- {line}" for line in lines), key=f"promote-{model}".replace("_", "-"))
    return lines


def decide_roles(place: Place, now: float) -> list[str]:
    """Acts on every verdict of the present tenure; says what was done. Raises registry.versions.Unavailable."""
    policy.enter(place.roles.ledger, place.model.gate, cause=CAUSE)
    board = place.roles.reconcile(cause=CAUSE)
    lines = place.roles.ledger.read()
    verdicts = standing(place, board, lines, now)
    enter_changes(place, lines, verdicts)
    winners = [version for version, verdict in verdicts.items() if verdict.decision == "promote"]
    done: list[str] = []
    for version in sorted(winners, key=lambda version: verdicts[version].lower, reverse=True):
        try:
            return [*done, _hand_over(place, board, version, verdicts[version])]
        except (Stale, Barred, UnknownVersion) as error:
            done.append(_refuse(place, lines, version, error))
    return [*done, *_end_probation(place, board, verdicts, now), *_retire(place, board, verdicts)]


def _hand_over(place: Place, board: Board, version: int, verdict: Verdict) -> str:
    """Promotes, or rolls back where the winner is the champion's own predecessor under probation.

    Raises Stale, Barred, UnknownVersion or Unavailable.
    """
    assert board.champion is not None
    numbers = msgspec.to_builtins(verdict) | {"over": board.champion}
    if version == board.previous:
        place.roles.roll_back(board.champion, verdict.reason, to=version, cause=CAUSE, numbers=numbers)
    else:
        place.roles.promote(version, verdict.reason, over=board.champion, cause=CAUSE, numbers=numbers)
    log.info("champion model=%s version=%d over=%d reason=%s", place.name, version, board.champion, verdict.reason)
    return f"Version {version} answers instead of {board.champion}: {verdict.reason} {_served(place, version)}"


def _refuse(place: Place, lines: Sequence[Decision], version: int, error: Exception) -> str:
    """A winner that cannot be promoted, because it was deleted in MLflow, say: told once in a tenure."""
    reason = f"Version {version} has won and cannot be promoted: {error}"
    key = f"refused:{history.tenure_began(lines)}:{version}"
    place.roles.ledger.append("refused", version, reason, cause=CAUSE, key=key)
    return reason


def _served(place: Place, version: int) -> str:
    """Waits until a serving process says that it answers with a version."""
    began = time.monotonic()
    while time.monotonic() - began < SERVED_WITHIN_S:
        facts = [
            msgspec.json.decode(fact, type=ServingFacts)
            for name, fact in place.streams.facts().items()
            if name.startswith("serving:")
        ]
        if any(fact.version == version for fact in facts):
            return f"Serving confirmed it after {time.monotonic() - began:.1f} s."
        time.sleep(0.1)
    return f"No serving process has confirmed it within {SERVED_WITHIN_S:g} s."


def _end_probation(place: Place, board: Board, verdicts: Mapping[int, Verdict], now: float) -> list[str]:
    """The old champion has had its chance to prove the promotion wrong."""
    previous = verdicts.get(board.previous) if board.previous is not None else None
    if previous is None:
        return []
    age_s = now - events.seconds_of(board.since)
    if previous.n < PROBATION_MATURED and age_s < PROBATION_S:
        return []
    reason = f"Probation ended after {previous.n:,} labelled requests: {previous.reason}"
    place.roles.confirm(reason, keep=_is_online(place, board.previous), cause=CAUSE)
    return [reason]


def _retire(place: Place, board: Board, verdicts: Mapping[int, Verdict]) -> list[str]:
    """Takes decided batch challengers out of the shadow.

    Online learners stay: they go on learning, and a new tenure may need them.
    """
    done: list[str] = []
    for version, verdict in verdicts.items():
        is_over = verdict.decision in ("retire", "give_up", "inconclusive")
        if is_over and version != board.previous and not _is_online(place, version):
            place.roles.retire(version, verdict.reason, cause=CAUSE, numbers=msgspec.to_builtins(verdict))
            done.append(f"Version {version} left the shadow: {verdict.reason}")
    return done


def _is_online(place: Place, version: int | None) -> bool:
    manifest = None if version is None else place.releases.manifest(version)
    return manifest is not None and manifest.kind == "online"
