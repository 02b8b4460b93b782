"""Is the world still the one that the champion learned: a drift report, and whether the champion's loss moved."""

import logging
import time

from prefect import flow
from prefect.artifacts import create_link_artifact

from contracts.facts import DriftFacts
from contracts.lease import LeaseTaken, held
from drift import windows
from flows import alarming, announcing, deployments, telling
from flows.checkpoint import CheckpointRefused
from flows.place import Place, place_named
from flows.reporting import look, report_address

log = logging.getLogger(__name__)


@flow(name="watch", flow_run_name="watch {model}", **deployments.PATIENT)
def watch(model: str) -> str:
    """Compare what is asked now with what the champion was made from, and its loss with its own past.

    Args:
        model: name of a table [models.NAME] in tiltyard.toml.
    """
    place, now = place_named(model), time.time()
    try:
        with held(place.client, model, "watch"):
            report, said = _reported(place, now)
            alarm = _judged(place, report, now)
            telling.tell(place, now)
    except LeaseTaken as error:
        log.info("no report model=%s reason=%s", model, error)
        return str(error)
    announcing.announce(place)
    if report is not None:
        link = report_address(place, report)
        create_link_artifact(link, link_text=said, key=f"drift-{model}".replace("_", "-"))
    return f"{said}. {alarm}"


def _reported(place: Place, now: float) -> tuple[DriftFacts | None, str]:
    """A drift report, or None, and what it says or why there is none."""
    try:
        facts = look(place, now)
    except windows.TooFewRows as error:
        log.info("no report model=%s reason=%s", place.name, error)
        return None, str(error)
    return facts, facts.sentence


def _judged(place: Place, report: DriftFacts | None, now: float) -> str:
    try:
        return alarming.judge(place, report, now).sentence
    except CheckpointRefused as error:
        log.warning("no alarm judged model=%s reason=%s", place.name, error)
        return str(error)
