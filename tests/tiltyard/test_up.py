"""`tiltyard up` with a real Valkey, serving and shadow; MLflow and Prefect are elsewhere, and not there."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest

from data import infer, streams
from tests.conftest import free_port, free_port_base
from tiltyard import instance, lock, probes
from tiltyard.services import PORTS

pytestmark = pytest.mark.xdist_group("up")  # one at a time: each starts several processes


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


class Home:
    """A folder with a configuration, and the ports of an instance in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = free_port_base()
        self.state = folder / "tiltyard-state"
        self.url = f"http://127.0.0.1:{self.port}"
        stream = streams.stream("phishing")
        (folder / "tiltyard.toml").write_text(infer.model_table("phishing", stream.schema))
        nowhere = f"http://127.0.0.1:{free_port()}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TILTYARD_")},
            "TILTYARD_MLFLOW_URL": nowhere,
            "TILTYARD_PREFECT_URL": f"{nowhere}/api",
        }

    def tiltyard(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tiltyard", *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    @contextmanager
    def up(self) -> Iterator[subprocess.Popen[bytes]]:
        """An instance that answers; ended at the end if nobody has."""
        command = [sys.executable, "-m", "tiltyard", "up", "--port-base", str(self.port)]
        with (self.folder / "up.txt").open("ab") as told:
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=told)
        try:
            # Until then it is an instance before this one that answers.
            until(lambda: (found := instance.read(self.state)) is not None and found.pid == process.pid)
            until(lambda: probes.http_ok(f"{self.url}/readyz"))
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def ask(self) -> dict[str, Any]:
        features, _ = next(islice(streams.stream("phishing"), 1))
        body = json.dumps({"features": features}).encode()
        request = urllib.request.Request(
            f"{self.url}/models/phishing/predict", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            found: dict[str, Any] = json.load(response)
            return found

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.tiltyard("status", "--json").stdout)["models"]["phishing"]
        return found

    def processes(self) -> list[psutil.Process]:
        """Whatever runs with this folder or these ports in its command or settings."""
        found = []
        for process in psutil.process_iter():
            try:
                told = " ".join([*process.cmdline(), process.environ().get("TILTYARD_STATE", "")])
                marks = (str(self.folder), f" {self.port}", f":{self.port + PORTS['valkey']}")
                if process.status() != psutil.STATUS_ZOMBIE and any(mark in told for mark in marks):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_up_answers_survives_crashes_stops_cleanly_and_resumes(home: Home) -> None:
    """Answers come before MLflow and Prefect are there; a killed serving, shadow or Valkey is started again with
    nothing lost; a second `up` is refused; Ctrl-C leaves no process; the next `up` goes on where it was."""
    with home.up() as process:
        first = home.ask()
        assert first["prediction_id"]
        assert first["version"] == 0
        found = json.loads((home.state / "instance.json").read_text())
        assert found["pid"] == process.pid
        assert found["serving_url"] == home.url
        assert (home.state / "instance.json").stat().st_mode & 0o077 == 0

        second = home.tiltyard("up", "--port-base", str(home.port))
        assert second.returncode == 2
        assert f"is in use by `tiltyard up` with process id {process.pid}" in second.stderr

        for name in ("serving", "shadow", "valkey"):
            kill(home, name)
        until(lambda: _answers_with_an_id(home))
        until(lambda: home.status()["streams"]["predictions"]["lag"] == 0)
        before = home.status()["streams"]["predictions"]["added"]
        assert before >= 2

        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert home.processes() == []
    assert not (home.state / "instance.json").exists()
    assert all(probes.is_free(home.port + offset) for offset in PORTS.values())
    told = (home.folder / "up.txt").read_text()
    assert "restarted 1 time; was ended by signal 9" in told
    assert f"Stopped. Everything is kept in {home.state}." in told

    with home.up():
        assert home.status()["streams"]["predictions"]["added"] == before
        assert home.ask()["prediction_id"] > first["prediction_id"]


def test_a_killed_up_leaves_nothing_and_can_be_started_again(home: Home) -> None:
    """After kill -9 of `up` itself its guard ends everything, and the next `up` waits for that."""
    with home.up() as process:
        home.ask()
        process.kill()
        process.wait()
        with home.up():
            assert home.status()["streams"]["predictions"]["added"] == 1
            told = home.tiltyard("doctor", "--port-base", str(home.port)).stdout
            assert "an instance runs in" in told
    until(lambda: not home.processes(), 30)


def kill(home: Home, name: str) -> None:
    """kill -9 of a child, found by its command, and wait until another has taken its place."""
    module = {
        "serving": "-m serving --host",
        "shadow": "-m serving.shadow",
        "valkey": f":{home.port + PORTS['valkey']}",
    }[name]

    def alive() -> list[int]:
        return [process.pid for process in home.processes() if module in " ".join(process.cmdline())]

    (victim,) = alive()
    os.kill(victim, signal.SIGKILL)
    until(lambda: bool(alive()) and alive() != [victim])


def _answers_with_an_id(home: Home) -> bool:
    try:
        return home.ask()["prediction_id"] is not None
    except OSError:
        return False


def test_a_port_that_is_taken_is_told_with_its_owner_before_anything_starts(home: Home) -> None:
    """Nothing is started, and the message says who has it and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", home.port + PORTS["valkey"]))
        taken.listen()
        refused = home.tiltyard("up", "--port-base", str(home.port))
    assert refused.returncode == 2
    assert f"port {home.port + 3}, wanted for valkey, is taken by" in refused.stderr
    assert "--port-base" in refused.stderr
    assert home.processes() == []
    lock.release(lock.acquire(home.state))


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_default_demo_does_all_that_it_should(tmp_path: Path) -> None:
    """The whole loop on a real stream: exit status 0, a promotion by evidence, and a summary that says so."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TILTYARD_")}
    process = subprocess.run(
        [sys.executable, "-m", "tiltyard", "demo", "--exit", "--port-base", str(free_port_base())],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=850, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-2000:]
    told = json.loads((tmp_path / "tiltyard-state" / "summary.json").read_text())
    assert told["complete"]
    assert told["promotions"]
    assert told["predictions"] == told["feedback"] == 2_300
    assert sum(version["n"] for version in told["versions"].values()) == 2_300
    assert told["served"]["stretches"][-1] > told["served"]["stretches"][0]
    assert set(told["baselines"]) == {"never_updated", "nightly_retrain"}
