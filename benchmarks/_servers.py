"""Servers for the length of a block: the measured one has a core of its own, the load and Valkey share another."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tiltyard import valkey

SERVER_CORE, LOAD_CORE = 0, 1


@contextlib.contextmanager
def running_valkey(folder: Path, fsync: str) -> Iterator[str]:
    """The address of a Valkey as Tiltyard starts it, but with the given `appendfsync`."""
    port = free_port()
    with tempfile.TemporaryDirectory(dir=folder) as state:
        command = [*valkey.command(Path(state), port), "--appendfsync", fsync]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=pin(LOAD_CORE))
        try:
            _wait(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def running(
    command: list[str], port: int, environment: dict[str, str] | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that listens on the port by now."""
    process = subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, preexec_fn=pin(SERVER_CORE),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait(port)
        time.sleep(0.5)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def pin(core: int) -> Callable[[], None] | None:
    """Keeps a process on one core, where there is another one and the system can."""
    move = getattr(os, "sched_setaffinity", None)
    return None if move is None or (os.cpu_count() or 1) < 2 else lambda: move(0, {core})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
