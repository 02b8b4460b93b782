"""Servers shared by a whole test run: one Valkey per worker process, a flushed database per test."""

import contextlib
import os
import random
import socket
import subprocess
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import redis

from contracts import streams
from tiltyard.valkey import binary


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI is set, a browser test that was skipped has failed: its browser is missing."""
    report = yield
    if report.skipped and os.environ.get("CI") and item.get_closest_marker("browser"):
        report.outcome = "failed"
        report.longrepr = f"must run in CI: {report.longrepr}"
    return report


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_port_base(count: int = 4) -> int:
    """The first of some TCP ports in a row that nobody listens on, below those that outgoing connections take."""
    while True:
        base = random.randrange(10_000, 32_000)
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for port in range(base, base + count):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return base


@pytest.fixture(scope="session")
def valkey_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real Valkey server for this worker."""
    folder, port = tmp_path_factory.mktemp("valkey"), free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""],
            stdout=log,
            stderr=log,
        )
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            redis.Redis(port=port).ping()
            return
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture
def redis_url(valkey_port: int) -> str:
    """The address of an empty database."""
    url = f"redis://127.0.0.1:{valkey_port}/0"
    with streams.connect(url) as client:
        client.flushall()
    return url


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty database."""
    with streams.connect(redis_url) as connected:
        yield connected


@pytest.fixture
def datasets() -> Path:
    """The folder of real streams that stands beside some checkouts; the test skips where it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "datasets"
    if not folder.is_dir():
        pytest.skip("the shared data sets are not here")
    return folder
