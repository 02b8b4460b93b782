"""Carries out what the evidence says: promotes, rolls back, confirms, retires; each with its reason in the ledger."""

import logging
import time
from collections.abc import Mapping, Sequence

import msgspec
from prefect import flow
from prefect.artifacts import create_markdown_artifact

from contracts.events import Decision
from contracts.lease import LeaseTaken, held
from contracts.releases import Board
from flows import announcing, approval, dossiers, probation
from flows.approval import allowed_by, sentence
from flows.handover import hand_over
from flows.place import Place, place_named
from flows.verdicts import CAUSE, enter_changes, standing
from registry import history, policy
from registry.gate import Verdict
from registry.promotion import Barred, Stale
from registry.versions import UnknownVersion

log = logging.getLogger(__name__)


@flow(name="promote", flow_run_name="promote {model}")
def promote(model: str) -> list[str]:
    """Decide who answers for one model, on the evidence so far and by what people said to requests.

    Args:
        model: name of a table [models.NAME] in tiltyard.toml.
    """
    place = place_named(model)
    try:
        done = approval.carry_out(place)
        with held(place.client, model, "promote"):
            facts, now = place.learn_facts(), time.time()
            done += decide_roles(place, now)
            approval.show(place)
            dossiers.keep(place, facts, now)
    except LeaseTaken as error:
        return [str(error)]
    announcing.announce(place)
    lines = done or ["Nothing to change."]
    create_markdown_artifact("\n".join(f"- {line}" for line in lines), key=f"promote-{model}".replace("_", "-"))
    return lines


def decide_roles(place: Place, now: float) -> list[str]:
    """Acts on every verdict of the present tenure; says what was done. Raises registry.versions.Unavailable."""
    policy.enter(place.roles.ledger, place.model, cause=CAUSE)
    board = place.roles.reconcile(cause=CAUSE)
    lines = place.roles.ledger.read()
    verdicts = standing(place, board, lines, now)
    enter_changes(place, lines, verdicts)
    if place.model.gate.tried is not None:
        enter_changes(place, lines, standing(place, board, lines, now, place.model.gate.tried), "dry_run")
    lines = place.roles.ledger.read()
    if (told := probation.rolled_back(place, board)) is not None:
        return [told]
    winners = [version for version, verdict in verdicts.items() if verdict.decision == "promote"]
    done: list[str] = []
    for version in sorted(winners, key=lambda version: verdicts[version].lower, reverse=True):
        cause = allowed_by(place, board, lines, version, verdicts[version])
        if cause is None:
            done.append(sentence(place, version, verdicts[version]))
            continue
        try:
            return [*done, hand_over(place, board, version, verdicts[version], cause)]
        except (Stale, Barred, UnknownVersion) as error:
            done.append(_refuse(place, lines, version, error))
    return [*done, *probation.ended(place, board, verdicts, now), *_retire(place, board, verdicts)]


def _refuse(place: Place, lines: Sequence[Decision], version: int, error: Exception) -> str:
    """A winner that cannot be promoted, because it was deleted in MLflow, say: told once in a tenure."""
    reason = f"Version {version} has won and cannot be promoted: {error}"
    key = f"refused:{history.tenure_began(lines)}:{version}"
    place.roles.ledger.append("refused", version, reason, cause=CAUSE, key=key)
    return reason


def _retire(place: Place, board: Board, verdicts: Mapping[int, Verdict]) -> list[str]:
    """Takes decided batch challengers out of the shadow.

    Online learners stay: they go on learning, and a new tenure may need them.
    """
    done: list[str] = []
    for version, verdict in verdicts.items():
        is_over = verdict.decision in ("retire", "give_up", "inconclusive")
        if is_over and version != board.previous and not place.is_online(version):
            place.roles.retire(version, verdict.reason, cause=CAUSE, numbers=msgspec.to_builtins(verdict))
            done.append(f"Version {version} left the shadow: {verdict.reason}")
    return done
