"""Is the world still the one that the champion learned: a drift report, kept, shown, and mailed."""

import logging
import time

from prefect import flow
from prefect.artifacts import create_link_artifact

from contracts.lease import LeaseTaken, held
from drift import windows
from flows.place import place_named
from flows.reporting import look, report_address

log = logging.getLogger(__name__)


@flow(name="watch", flow_run_name="watch {model}")
def watch(model: str) -> str:
    """Compare what is asked now with what the champion was made from.

    Args:
        model: name of a table [models.NAME] in tiltyard.toml.
    """
    place = place_named(model)
    try:
        with held(place.client, model, "watch"):
            facts = look(place, time.time())
    except (LeaseTaken, windows.TooFewRows) as error:
        log.info("no report model=%s reason=%s", model, error)
        return str(error)
    link = report_address(place, facts)
    create_link_artifact(link, link_text=facts.sentence, key=f"drift-{model}".replace("_", "-"))
    return facts.sentence
