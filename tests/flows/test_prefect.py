"""Against a Prefect server: runs that nobody could start, ledger lines as events, and automations that act on them."""

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Scheduled

from contracts.config import parse
from flows import announcing, deployments
from tests.conftest import free_port
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


@flow(name="idle")
def idle(model: str) -> str:
    return model


def test_runs_that_were_due_while_nobody_served_are_forgotten_but_for_the_newest(prefect_url: str) -> None:
    """A weekend without the flows leaves one run of each to do, and those of others alone."""
    config = parse(CONFIG.format(name="a") + CONFIG.format(name="b"))
    ids = [made.apply() for made in deployments.of(config, [idle])]
    now = datetime.now(UTC)

    async def fill() -> list[Any]:
        async with get_client() as client:
            for id_ in ids:
                for minutes in (50, 10, 40, 20, 30, -60):
                    at = now - timedelta(minutes=minutes)
                    await client.create_flow_run_from_deployment(id_, state=Scheduled(scheduled_time=at))
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
    assert sorted(asyncio.run(left()), key=str) == sorted([(id_, m) for id_ in ids for m in (10, -60)], key=str)


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
