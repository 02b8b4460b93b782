"""Against a Prefect server: runs that nobody could start, ledger lines as events, and automations that act on them."""

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Scheduled

from contracts import approvals
from contracts.approvals import Requests
from contracts.config import parse
from contracts.facts import ServingFacts
from contracts.settings import Settings
from flows import announcing, deployments
from flows.place import open_place
from flows.promote import promote
from tests.conftest import free_port
from tests.flows.conftest import PERSON
from tests.flows.gate_scene import CONFIG, Scene
from tests.serving import harness

pytestmark = pytest.mark.xdist_group("prefect")  # one server for all of them


@pytest.fixture(scope="module")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/api"
    try:
        harness.until(lambda: answers(f"{url}/health"), 120)
        with temporary_settings({PREFECT_API_URL: url, PREFECT_LOGGING_TO_API_ENABLED: False}):
            yield url
    finally:
        server.terminate()
        server.wait(30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@flow(name="idle", **deployments.PATIENT)
def idle(model: str) -> str:
    return model


def test_a_flow_that_would_be_tried_again_runs(prefect_url: str) -> None:
    """The server takes what it says of that: one that it does not take ends every run before it begins."""
    assert idle("m") == "m"


def test_runs_that_were_due_while_nobody_served_are_forgotten_but_for_the_newest(prefect_url: str) -> None:
    """A weekend without the flows leaves one run of each to do, and what a person asked for."""
    config = parse(CONFIG.format(name="a") + CONFIG.format(name="b"))
    ids = [made.apply() for made in deployments.of(config, [idle])]
    now = datetime.now(UTC)

    async def fill() -> list[Any]:
        async with get_client() as client:
            for id_ in ids:
                for minutes in (50, 10, 40, 20, 30, -60):
                    at = now - timedelta(minutes=minutes)
                    due = Scheduled(scheduled_time=at)
                    await client.create_flow_run_from_deployment(id_, state=due, tags=["auto-scheduled"])
                asked = Scheduled(scheduled_time=now - timedelta(minutes=70))
                await client.create_flow_run_from_deployment(id_, state=asked)
            return [await deployments.forget_the_late(), await deployments.forget_the_late()]

    async def left() -> list[tuple[Any, float]]:
        async with get_client() as client:
            runs = await client.read_flow_runs(
                deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=ids)), limit=100
            )
            return [
                (run.deployment_id, round((now - run.expected_start_time).total_seconds() / 60))
                for run in runs
                if run.state is not None and run.state.is_scheduled() and run.expected_start_time is not None
            ]

    assert asyncio.run(fill()) == [8, 0]
    assert sorted(asyncio.run(left()), key=str) == sorted([(id_, m) for id_ in ids for m in (10, 70, -60)], key=str)


def test_a_ledger_line_becomes_one_event(prefect_url: str, scene: Scene) -> None:
    """Whoever wrote it; with its words, and not again when the next run looks."""
    place = scene.place

    @flow(name="announce")
    def run() -> int:
        return announcing.announce(place)

    lines = place.roles.ledger.read()
    assert run() == len(lines)
    assert run() == 0
    place.roles.promote(2, "Better by hand.", cause="ann")
    assert run() >= 1
    found = until_some(lambda: events_of(prefect_url, place.name, "tiltyard.promoted"))
    assert [(one["payload"]["version"], one["payload"]["cause"]) for one in found] == [(2, "ann")]
    assert "Better by hand." in found[0]["payload"]["reason"]
    assert len(events_of(prefect_url, place.name, "tiltyard.enrolled")) == sum(one.kind == "enrolled" for one in lines)


@pytest.fixture
def found_by_flows(asking: Scene, redis_url: str, prefect_url: str, tmp_path: Path, monkeypatch: Any) -> Scene:
    """Version 2 asks a person; whoever reads the environment finds the instance, whose flows run when asked alone."""
    name = asking.place.name
    never = "".join(f'{flow} = "off"\n' for flow in ("learn", "retrain", "watch", "promote"))
    text = f"{CONFIG.format(name=name)}{PERSON}[models.{name}.schedules]\n{never}"
    (tmp_path / "tiltyard.toml").write_text(text)
    for variable, value in (
        ("STATE", str(asking.place.settings.state)),
        ("CONFIG", str(tmp_path / "tiltyard.toml")),
        ("MLFLOW_URL", asking.place.settings.mlflow_url),
        ("REDIS_URL", redis_url),
        ("PREFECT_URL", prefect_url),
    ):
        monkeypatch.setenv(f"TILTYARD_{variable}", value)
    confirmed = ServingFacts(
        at=time.time(), address="a", pid=1, version=2, revision=0, provider="", answered=0, unlogged=0
    )
    asking.place.streams.set_fact("serving:a", confirmed)  # nobody is waited for
    return asking


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_run_of_approve_lets_the_winner_answer(found_by_flows: Scene, prefect_url: str) -> None:
    """Served by `python -m flows`, created as Prefect's own page does: it is completed, and the champion has moved."""
    place = found_by_flows.place
    serving = subprocess.Popen([sys.executable, "-m", "flows"], env={**os.environ, "PREFECT_API_URL": prefect_url})
    try:
        # Importing all flows, and starting one, take some ten seconds each on a machine that has nothing else to do.
        (deployment,) = until_some(lambda: deployed(prefect_url, f"approve/{place.name}"), 240)
        body = {"parameters": {"version": 2, "person": "ann", "reason": "Checked."}, "state": {"type": "SCHEDULED"}}
        made = httpx.post(f"{prefect_url}/deployments/{deployment}/create_flow_run", json=body).json()
        (ended,) = until_some(lambda: ended_states(prefect_url, made["id"]), 240)
    finally:
        serving.terminate()
        serving.wait(30)
    assert ended == "COMPLETED"
    assert place.releases.board().champion == 2
    approved, promoted = found_by_flows.lines("approved", "promoted")
    assert approved.cause == promoted.cause == "ann (Prefect)"
    assert approved.reason.endswith("Checked.")


def test_a_run_of_promote_carries_out_what_was_said_on_the_page(found_by_flows: Scene) -> None:
    """Before it looks at the evidence, and under the name that was given there."""
    place = found_by_flows.place
    (asked,) = found_by_flows.lines("asked")
    approvals.give(place.streams, approvals.Approval(2, asked.seq, "ann", "Checked."))
    done = promote(place.name)
    assert done[0].startswith("Version 2 answers instead of 1")
    assert place.releases.board().champion == 2
    assert found_by_flows.lines("promoted")[0].cause == "ann (page)"
    assert (approvals.given(place.streams), place.streams.fact("requests", Requests)) == ({}, Requests())


def deployed(url: str, name: str) -> list[str]:
    answer = httpx.get(f"{url}/deployments/name/{name}")
    return [answer.json()["id"]] if answer.status_code == 200 else []


def ended_states(url: str, run: str) -> list[str]:
    """The type of a flow run's last state; none while it goes on."""
    state = httpx.get(f"{url}/flow_runs/{run}").json()["state"]["type"]
    return [] if state in ("SCHEDULED", "PENDING", "RUNNING") else [state]


def test_an_alarm_of_drift_asks_for_a_fit(prefect_url: str, client: redis.Redis, tmp_path: Path) -> None:
    """By an automation that comes with the deployment, where `retrain.when` has "drift"; of this model alone."""
    text = "".join(
        CONFIG.format(name=name)
        + f'[models.{name}.schedules]\nretrain = "off"\n[models.{name}.retrain]\nwhen = ["drift"]\n'
        for name in ("shaken", "calm")
    )

    @flow(name="retrain")
    def retrain(model: str) -> str:
        return model

    shaken, calm = (made.apply() for made in deployments.of(parse(text), [retrain]))
    settings = Settings(state=tmp_path, mlflow_url=f"sqlite:///{tmp_path}/store.db")
    place = open_place("shaken", parse(text).model("shaken"), settings, client)

    @flow(name="announce")
    def run() -> int:
        place.roles.ledger.append("alarm", None, "The loss moved.", cause="watch", key="alarm:1")
        return announcing.announce(place)

    async def asked(of: Any) -> list[Any]:
        async with get_client() as api:
            only = DeploymentFilter(id=DeploymentFilterId(any_=[of]))
            return [dict(one.parameters) for one in await api.read_flow_runs(deployment_filter=only)]

    assert run() == 1
    assert until_some(lambda: asyncio.run(asked(shaken)), 60) == [{"model": "shaken"}]
    assert asyncio.run(asked(calm)) == []


def events_of(url: str, model: str, name: str) -> list[dict[str, Any]]:
    chosen = {"event": {"name": [name]}, "any_resource": {"id": [announcing.resource(model)]}}
    answer = httpx.post(f"{url}/events/filter", json={"filter": chosen, "limit": 50})
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def until_some(look: Callable[[], list[Any]], patience_s: float = 30) -> list[Any]:
    give_up_at = time.monotonic() + patience_s
    while not (found := look()) and time.monotonic() < give_up_at:
        time.sleep(0.2)
    return found
