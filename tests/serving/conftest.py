"""One real serving process for a test run, and one browser per module.

Every test finds Redis empty but for the champions.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser, sync_playwright

from contracts import streams
from tests.serving import harness
from tests.serving.harness import Server, until

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def standing_server(valkey_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    url = f"redis://127.0.0.1:{valkey_port}/0"
    with ExitStack() as stack:
        client = stack.enter_context(streams.connect(url))
        client.flushall()
        harness.crown_all(client)
        yield stack.enter_context(harness.serving(harness.settings(tmp_path_factory.mktemp("serving"), url)))


@pytest.fixture
def server(standing_server: Server, client: redis.Redis) -> Server:
    """A server whose champions are those of `harness.crown_all`; their board and releases are in Redis."""
    harness.crown_all(client)
    until(lambda: standing_server.predict()[1].get("version") == 1)
    until(lambda: standing_server.predict("price", rooms=1, new=True)[1].get("version") == 1)
    client.flushall()
    harness.crown_all(client)
    return standing_server


@pytest.fixture
def where(tmp_path: Path, redis_url: str) -> "harness.Settings":
    """Settings of a serving process with a state folder of its own."""
    return harness.settings(tmp_path, redis_url)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; where CI is set it must be there."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=list(FLAGS)) as launched,
    ):
        yield launched
