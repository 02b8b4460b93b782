"""The long-lived flow run that learns: one per model by lease; its schedule restarts it after a crash."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Generator

import redis
from prefect import flow

from contracts.facts import ComparisonFacts
from contracts.lease import LeaseTaken, held
from flows import approval, deployments
from flows.aside import collect_garbage_seldom, die_with_parent
from flows.bootstrap import open_with_prior
from flows.learning import Loop
from flows.place import Place, place_named
from flows.trainers import started

log = logging.getLogger(__name__)

LEASE_S = 10.0  # after a kill, the next run waits at most this long
AWAY_S = 0.5
ACTIONABLE = ("promote", "retire", "give_up", "inconclusive")


@flow(name="learn", flow_run_name="learn {model}", retries=0)
def learn(model: str) -> str:
    """Learn from every label of one model as it comes back, until stopped.

    Args:
        model: name of a table [models.NAME] in tiltyard.toml.
    """
    die_with_parent(os.getppid(), signal.SIGTERM)  # its runner's: no orphan keeps the lease
    collect_garbage_seldom()
    place = place_named(model)
    try:
        run(place, lambda decided: deployments.ask("promote", model))
    except LeaseTaken as error:
        return str(error)
    return "stopped"


def run(
    place: Place, on_verdict: Callable[[list[ComparisonFacts]], None], going_on: Callable[[], bool] = lambda: True
) -> None:
    """Learns while `going_on`, or until stopped by an exception; saves what it has on the way out.

    `on_verdict` hears of comparisons that have come to a verdict, once each, and of none when a person has answered a
    request. Raises LeaseTaken, LeaseLost.
    """
    told: set[tuple[int, int, str]] = set()
    answers = approval.Waiting(place)
    with held(place.client, place.name, "learn", LEASE_S) as lease:
        open_with_prior(place)
        with started(place) as trainers, contextlib.closing(stepping(place, lease.renew, going_on)) as steps:
            for loop in steps:
                trainers.keep()
                decided = [c for c in loop.comparisons if c.decision in ACTIONABLE]
                fresh = [c for c in decided if (c.champion, c.challenger, c.decision) not in told]
                if fresh or answers.is_due(time.monotonic()):
                    told |= {(c.champion, c.challenger, c.decision) for c in fresh}
                    on_verdict(fresh)


def stepping(place: Place, renew: Callable[[], None], going_on: Callable[[], bool]) -> Generator[Loop, None, None]:
    """The loop after each of its steps. When Redis goes away within one, it waits and goes on from the checkpoint.

    As after a crash: nobody knows how much of an interrupted step was joined.
    """
    while going_on():
        try:
            with contextlib.closing(Loop(place, renew)) as loop:
                while going_on():
                    loop.step()
                    yield loop
        except (redis.ConnectionError, redis.TimeoutError) as error:
            log.warning("waits for redis model=%s error=%s", place.name, error)
            time.sleep(AWAY_S)
