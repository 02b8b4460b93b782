"""What Prefect runs and when: one deployment per flow and model, at most one run of each at a time."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.exceptions import PrefectException
from prefect.schedules import Interval
from prefect.states import Cancelled, Crashed
from prefect.types.entrypoint import EntrypointType

from contracts.config import Config, Model
from contracts.quantities import seconds
from flows import announcing

log = logging.getLogger(__name__)

TAG = "tiltyard"
PATIENT: dict[str, Any] = {"retries": 3, "retry_delay_seconds": 300}  # one number: the server takes no list
"""For flows whose next run is far: MLflow or Redis may be away for a while."""
_PAGE = 200
# A second run is cancelled by the server before it costs a process; the leases guard what this cannot see.
_ONE = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


def of(config: Config, flows: Iterable[Flow[Any, Any]]) -> list[RunnerDeployment]:
    """A deployment of every flow for every model, named like the model."""
    return [_deployment(flow, name, model) for name, model in config.models.items() for flow in flows]


def _deployment(flow: Flow[Any, Any], name: str, model: Model) -> RunnerDeployment:
    return flow.to_deployment(
        name,
        parameters={"model": name},
        tags=[TAG, name],
        description=flow.description,
        concurrency_limit=None if flow.name == "approve" else _ONE,  # each answer is a person's own
        entrypoint_type=EntrypointType.MODULE_PATH,  # a file path would put flows/ first on sys.path
        triggers=[_on_drift(name)] if flow.name == "retrain" and "drift" in model.retrain.when else None,
        **schedule(getattr(model.schedules, flow.name, "off"), at_once=flow.name == "learn"),
    )  # type: ignore[return-value]  # called outside an event loop it returns the deployment itself


def _on_drift(model: str) -> DeploymentEventTrigger:
    """The automation that asks for a fit as soon as an alarm of drift is announced, ahead of the schedule."""
    return DeploymentEventTrigger(
        name=f"tiltyard {model}: retrain on an alarm of drift",
        expect={announcing.kind("alarm")},
        match={"prefect.resource.id": announcing.resource(model)},
        parameters={"model": model},
    )


def schedule(text: str, at_once: bool = False) -> dict[str, Any]:
    """Prefect's arguments for a schedule of the configuration: an interval, a cron line, or "off".

    Intervals count from a fixed moment, so that a restart neither repeats nor postpones a nightly run; with `at_once`
    they count from five seconds ahead, when the server has taken note of the schedule.
    """
    if text == "off":
        return {}
    if " " in text.strip():
        return {"cron": text}
    anchor = datetime.now(UTC) + timedelta(seconds=5) if at_once else datetime(2024, 1, 1, tzinfo=UTC)
    return {"schedule": Interval(timedelta(seconds=seconds(text)), anchor_date=anchor)}


def ask(flow: str, model: str) -> None:
    """Asks for a run now, without waiting for it. Its schedule brings one later where Prefect does not answer."""
    try:
        run_deployment(f"{flow}/{model}", timeout=0, as_subflow=False)
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        log.warning("run not asked for flow=%s model=%s reason=%s", flow, model, error)


async def bury_the_dead() -> int:
    """Marks as crashed what a killed runner left behind as running; returns how many runs that were.

    Call before serving: otherwise each of them holds its deployment's one place for another five minutes.
    """
    lasting = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    chosen = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=lasting)), tags=FlowRunFilterTags(all_=[TAG])
    )
    async with get_client() as client:
        runs = await client.read_flow_runs(flow_run_filter=chosen)
        for run in runs:
            await client.set_flow_run_state(run.id, Crashed(message="its process ended with its runner"))
    return len(runs)


async def forget_the_late() -> int:
    """Cancels runs that schedules asked for while nobody served, but for the newest of each deployment.

    One look at today does the work of all of them: after a weekend `learn` alone would have thousands. What a person
    or an automation asked for stays. Returns how many were cancelled.
    """
    due = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"before_": datetime.now(UTC)}),
        tags=FlowRunFilterTags(all_=[TAG, "auto-scheduled"]),
    )
    newest, forgotten = dict[Any, FlowRun](), 0
    async with get_client() as client:
        while runs := await client.read_flow_runs(
            flow_run_filter=due, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=_PAGE, offset=len(newest)
        ):
            for run in runs:
                if newest.setdefault(run.deployment_id, run) is not run:
                    await client.set_flow_run_state(run.id, Cancelled(message="was due while nobody served"))
                    forgotten += 1
    return forgotten
