"""Erases what was asked to be: from streams, log, journal and the learn loop's own state.

Only the learn run does it, since it alone writes them, and between two steps, when nothing that was read waits to be
written. A request stays on its stream until all is done. Killed anywhere, it is done again, and comes to the same end.
"""

import logging
import time

from contracts import events, forgetting
from contracts.events import Decision
from contracts.forgetting import Outcome, Request
from contracts.journal import Amendment, Journal
from contracts.quantities import seconds
from drift import shelf
from flows.place import Place
from flows.state import JoinState

log = logging.getLogger(__name__)


def next_request(place: Place) -> tuple[str, Request] | None:
    """The oldest request whose time has come, with its id.

    A question that the shadow scorer has read and not yet passed would get its scores behind the erasure: it is given
    as long as a label waits for them.
    """
    waiting = forgetting.asked(place.streams)
    if not waiting:
        return None
    id_, request = next(iter(waiting.items()))
    is_passed = events.offset(place.streams.last_id("shadows")) >= max(request.predictions, default=0)
    patience_s = seconds(place.model.gate.shadow_timeout)
    whole, micro = place.client.time()
    if is_passed or float(whole) + float(micro) / 1e6 - events.seconds_of(id_) > patience_s:
        return id_, request
    return None


def erase(place: Place, journal: Journal, state: JoinState, id_: str, request: Request) -> Outcome:
    """All but telling: the caller stores `state`, and joins anew from the streams, before it calls `tell`.

    Counts of a repeated request may lack what was erased before it was killed; those of labels learned do not.
    """
    ids = [events.offset_id(at) for at in request.predictions]
    gone = forgetting.erase(place.streams, ids)
    logged = place.log.erase(request.predictions)
    shelf.clear(place.reference_folder)
    predictions = set(request.predictions)
    amendments = journal.erase(predictions, events.offset(id_))
    state.votes = {at: votes for at, votes in state.votes.items() if at not in predictions}
    state.uncovered = {at for at in state.uncovered if at not in predictions}
    return Outcome(
        at=time.time(),
        predictions=len(predictions),
        gone=gone,
        logged=logged.predictions,
        labels=logged.labels,
        examples=len(amendments),
        amendments=len(journal.amendments),
        versions=_versions_with(place, predictions, amendments),
    )


def tell(place: Place, id_: str, request: Request, outcome: Outcome) -> None:
    """Makes the outcome known, together with that of an earlier request that nobody has settled."""
    before = forgetting.outcome_of(place.streams, request.entity)
    if before is not None:
        outcome = Outcome(
            at=outcome.at,
            predictions=before.predictions + outcome.predictions,
            gone=before.gone + outcome.gone,
            logged=before.logged + outcome.logged,
            labels=before.labels + outcome.labels,
            examples=before.examples + outcome.examples,
            amendments=outcome.amendments,
            versions=tuple(sorted({*before.versions, *outcome.versions})),
        )
    forgetting.done(place.streams, id_, request.entity, outcome)
    log.info("erased model=%s predictions=%d examples=%d", place.name, outcome.predictions, outcome.examples)


def _versions_with(place: Place, predictions: set[int], amendments: list[Amendment]) -> tuple[int, ...]:
    """Registered versions that were made while it was there: of a training window, or of labels learned by then."""
    learned_s = min((events.seconds_at(one.at) for one in amendments), default=float("inf"))
    enrolled = [line for line in place.roles.ledger.read() if line.kind == "enrolled" and line.version]
    return tuple(sorted({line.version for line in enrolled if line.version and _saw(line, predictions, learned_s)}))


def _saw(line: Decision, predictions: set[int], learned_s: float) -> bool:
    window = line.numbers.get("training_set")
    if window is None:
        return line.at >= learned_s
    return any(window["first_offset"] <= at <= window["last_offset"] for at in predictions)
