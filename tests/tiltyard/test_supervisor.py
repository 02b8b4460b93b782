"""Real processes: started in order, started again when they crash, and gone when it ends, however it ends."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import free_port
from tiltyard import child, lock, probes
from tiltyard.supervisor import Service, Supervisor

SERVER = """
import http.server, sys, subprocess, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # a grandchild
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def server(name: str, port: int, **more: object) -> Service:
    """A web server with a child of its own."""
    return Service(
        name=name,
        command=[sys.executable, "-c", SERVER, str(port)],
        is_ready=lambda: probes.http_status(f"http://127.0.0.1:{port}/") is not None,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    """Starts supervisors that are stopped at the end."""
    found: list[Supervisor] = []

    def start(*services: Service) -> Supervisor:
        supervisor = Supervisor(services, tmp_path / "logs")
        found.append(supervisor)
        supervisor.start()
        return supervisor

    yield start
    for supervisor in found:
        supervisor.stop()


def pid_of(supervisor: Supervisor, name: str) -> int:
    running = supervisor.running[name].child
    assert running is not None
    return running.pid


def test_what_needs_another_starts_when_that_is_ready(started: Callable[..., Supervisor]) -> None:
    """A service waits for its needs, and for what gets a head start; one without a command is waited for only."""
    there = False
    port = free_port()
    supervisor = started(
        Service(name="elsewhere", is_ready=lambda: there),
        server("first", port, needs=("elsewhere",)),
        Service(name="once", command=[sys.executable, "-c", ""], needs=("first",), once=True),
    )
    time.sleep(0.5)
    assert [running.status for running in supervisor.running.values()] == ["starting", "waiting", "waiting"]
    there = True
    wait_for(supervisor.is_ready)
    assert [running.status for running in supervisor.running.values()] == ["ready", "ready", "done"]


def test_a_head_start_is_limited(started: Callable[..., Supervisor]) -> None:
    """What never gets ready holds up only those that need it."""
    supervisor = started(
        Service(name="never", is_ready=lambda: False),
        Service(name="patient", after=("never",), after_s=0.3),
        Service(name="needy", needs=("never",)),
    )
    wait_for(lambda: supervisor.is_ready("patient"))
    assert supervisor.running["needy"].status == "waiting"


def test_a_killed_child_is_started_again_on_the_same_port(started: Callable[..., Supervisor]) -> None:
    """kill -9 is noticed, counted and repaired; what the dead child had started is ended with it."""
    port = free_port()
    supervisor = started(server("web", port))
    wait_for(supervisor.is_ready)
    killed = pid_of(supervisor, "web")
    grandchildren = psutil.Process(killed).children()
    assert grandchildren
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: supervisor.running["web"].restarts == 1)
    wait_for(supervisor.is_ready)
    assert pid_of(supervisor, "web") != killed
    assert not any(process.is_running() and process.status() != "zombie" for process in grandchildren)
    assert "was ended by signal 9" in supervisor.running["web"].note


def test_a_child_that_keeps_crashing_is_started_less_and_less_often(started: Callable[..., Supervisor]) -> None:
    """Its last line says why, and pauses double."""
    supervisor = started(Service(name="bad", command=[sys.executable, "-c", "raise SystemExit('no such thing')"]))
    running = supervisor.running["bad"]
    wait_for(lambda: running.restarts == 3)
    assert running.note == "ended with status 1: no such thing"
    assert running.start_at - time.monotonic() > 1.0
    assert running.status == "crashed"


def test_a_program_that_is_not_there_is_told(started: Callable[..., Supervisor]) -> None:
    """It counts as a crash, not as the end of everything."""
    supervisor = started(Service(name="ghost", command=["/no/such/program"]))
    wait_for(lambda: supervisor.running["ghost"].restarts > 0)
    assert "cannot be started" in supervisor.running["ghost"].note


def test_stopping_ends_stages_from_the_highest_and_leaves_nothing(started: Callable[..., Supervisor]) -> None:
    """Each stage is gone before the next is asked to end, grandchildren included; the ports are free again."""
    ports = free_port(), free_port()
    supervisor = started(server("base", ports[0], stage=0), server("top", ports[1], stage=1))
    wait_for(supervisor.is_ready)
    groups = [pid_of(supervisor, name) for name in ("base", "top")]
    supervisor.stop()
    assert not any(child.group(pgid) for pgid in groups)
    assert all(probes.is_free(port) for port in ports)


def test_what_does_not_heed_the_signal_is_killed(started: Callable[..., Supervisor]) -> None:
    """After its grace a child that ignores SIGTERM is killed."""
    ignores = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    supervisor = started(Service(name="deaf", command=[sys.executable, "-c", ignores], grace_s=0.3))
    wait_for(lambda: supervisor.is_ready() and b"up" in supervisor.running["deaf"].child.log.read_bytes())  # type: ignore[union-attr]
    pgid = pid_of(supervisor, "deaf")
    supervisor.stop()
    assert not child.group(pgid)


def test_a_killed_supervisor_leaves_no_orphans_and_frees_its_state_folder(tmp_path: Path) -> None:
    """After kill -9 of the supervisor its guard ends the children, and only then gives the lock free."""
    port = free_port()
    program = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from tests.tiltyard.test_supervisor import server
        from tiltyard import lock
        from tiltyard.supervisor import Supervisor
        state = Path(sys.argv[1])
        supervisor = Supervisor([server("web", {port}, stage=1)], state / "logs", lock.acquire(state))
        supervisor.start()
        while not supervisor.is_ready():
            time.sleep(0.02)
        print(supervisor.running["web"].child.pid, flush=True)
        time.sleep(600)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pgid = int(process.stdout.readline())
    with pytest.raises(lock.StateInUse, match=f"process id {process.pid}"):
        lock.acquire(tmp_path)
    process.kill()
    process.wait()
    process.stdout.close()
    descriptor = lock.acquire(tmp_path)  # waits for the guard
    try:
        assert not child.group(pgid)
        assert probes.is_free(port)
    finally:
        lock.release(descriptor)


def test_a_taken_port_is_told_with_its_owner() -> None:
    """The message that a person reads names the process."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not probes.is_free(port)
        assert f"process id {os.getpid()}" in probes.who_listens(port)
