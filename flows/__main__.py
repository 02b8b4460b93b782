"""``python -m flows``: registers every flow of every model with the Prefect server and runs them when they are due."""

import asyncio
import logging
import os

from contracts import settings

# Prefect reads these when it is first imported.
os.environ.setdefault("PREFECT_API_URL", settings.from_environment().prefect_url)
os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "flows,registry,learners,drift")
os.environ.setdefault("PREFECT_RUNNER_POLL_FREQUENCY", "2")
os.environ.setdefault("DO_NOT_TRACK", "1")

from prefect import serve

from flows import deployments
from flows.approve import approve
from flows.learn import learn
from flows.place import read_configuration
from flows.promote import promote
from flows.retrain import retrain
from flows.watch import watch
from learners import catalogue

log = logging.getLogger(__name__)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    config, _ = read_configuration()
    for model in config.models.values():
        catalogue.check(model)
    dead, late = asyncio.run(deployments.bury_the_dead()), asyncio.run(deployments.forget_the_late())
    log.info("serving flows models=%s left_behind=%d late=%d", ",".join(config.models), dead, late)
    places = 5 * len(config.models) + 4  # one for every flow of every model; runs being cancelled hold one for a moment
    serve(
        *deployments.of(config, [learn, retrain, watch, promote, approve]),
        pause_on_shutdown=False,  # the newest that is due while nobody serves runs late, instead of never
        print_starting_message=False,
        limit=places,
    )


if __name__ == "__main__":
    main()
