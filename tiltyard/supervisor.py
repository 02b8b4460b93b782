"""Starts processes in the order of their needs, starts crashed ones again, and leaves nothing running."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tiltyard import guard
from tiltyard.child import Child, end

Status = Literal["waiting", "starting", "ready", "crashed", "done", "stopping", "stopped"]

_TICK_S = 0.1
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_HEALTHY_S = 60.0
"""A child that ran this long starts again without a pause when it crashes."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """Something that must run. Without a command it runs elsewhere, and is only waited for."""

    name: str
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    is_ready: Callable[[], bool] = lambda: True
    needs: tuple[str, ...] = ()
    """Services that must be ready first."""
    after: tuple[str, ...] = ()
    """Services that get a head start of at most `after_s`, for they are wanted sooner."""
    after_s: float = 20.0
    once: bool = False
    """Ends by itself, and is ready when it has ended well."""
    stage: int = 0
    """Stages stop one after another, the highest first."""
    grace_s: float = 10.0


@dataclass
class Running:
    """A service with what became of it."""

    service: Service
    status: Status = "waiting"
    child: Child | None = None
    restarts: int = 0
    note: str = ""
    began_at: float = 0.0
    failures: int = 0
    start_at: float = 0.0
    ready_at: float | None = None


class Supervisor:
    """Runs services from `start` to `stop` in a thread of its own; `tick` is one look at all of them."""

    def __init__(self, services: Sequence[Service], log_folder: Path, lock: int | None = None):
        self.running = {service.name: Running(service) for service in services}
        self._log_folder, self._lock = log_folder, lock
        self._guard: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor")
        self._started_at = time.monotonic()

    def start(self) -> None:
        self._started_at = time.monotonic()
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__],
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=() if self._lock is None else (self._lock,),
        )
        self._thread.start()

    def stop(self) -> None:
        """Ends every stage in turn and returns when nothing is left."""
        if self._stopping.is_set():
            self._thread.join()
            return
        self._stopping.set()
        self._thread.join()
        for stage in sorted({running.service.stage for running in self.running.values()}, reverse=True):
            ending = [r for r in self.running.values() if r.service.stage == stage and r.child is not None]
            children = [r.child for r in ending if r.child is not None]
            for running in ending:
                running.status = "stopping"
            end(children, max((r.service.grace_s for r in ending), default=0))
            for running in ending:
                self._forget(running)
                running.status = "stopped"
        self._dismiss_guard()

    def kill(self) -> None:
        """Ends everything now, without grace; `stop` is still to be called."""
        self._stopping.set()
        for running in self.running.values():
            if running.child is not None:
                end([running.child], 0)

    def is_ready(self, *names: str) -> bool:
        """Whether these services, or all, are ready."""
        chosen = [self.running[name] for name in names] or list(self.running.values())
        return all(running.ready_at is not None for running in chosen)

    def tick(self, now: float) -> None:
        """Collects what has ended, starts what can start, and asks the others whether they are ready."""
        for running in self.running.values():
            if running.status in ("starting", "ready") and running.child is not None:
                self._collect(running, now)
            if running.status in ("waiting", "crashed") and now >= running.start_at and self._may_start(running, now):
                self._begin(running, now)
            if running.status == "starting" and not running.service.once and running.service.is_ready():
                self._set_ready(running, now)

    def _supervise(self) -> None:
        while not self._stopping.wait(_TICK_S):
            self.tick(time.monotonic())

    def _may_start(self, running: Running, now: float) -> bool:
        service = running.service
        has_waited = now - self._started_at > service.after_s or self.is_ready(*service.after)
        return (not service.needs or self.is_ready(*service.needs)) and (not service.after or has_waited)

    def _begin(self, running: Running, now: float) -> None:
        service = running.service
        running.status, running.began_at, running.ready_at = "starting", now, None
        if not service.command:
            return
        try:
            running.child = Child(service.command, service.environment, self._log_folder / f"{service.name}.log")
        except OSError as error:
            self._crash(running, now, f"cannot be started: {error}")
            return
        self._tell_guard(f"{'start' if service.stage else 'last'} {running.child.pid}")

    def _collect(self, running: Running, now: float) -> None:
        """Notices an ended child. What it had started in turn is ended too, for it holds the ports."""
        child = running.child
        if child is None or (status := child.exit_status) is None:
            return
        lines = child.last_lines()
        end([child], 0)
        self._forget(running)
        if running.service.once and status == 0:
            running.status, running.ready_at, running.note = "done", now, ""
            return
        how = f"ended with status {status}" if status >= 0 else f"was ended by signal {-status}"
        self._crash(running, now, f"{how}{f': {lines[-1].strip()}' if lines else ''}")

    def _crash(self, running: Running, now: float, note: str) -> None:
        running.failures = 1 if now - running.began_at > _HEALTHY_S else running.failures + 1
        pause_s = min(_FIRST_PAUSE_S * 2 ** (running.failures - 1), _LONGEST_PAUSE_S)
        running.status, running.note, running.ready_at = "crashed", note[:300], None
        running.restarts += 1
        running.start_at = now + pause_s

    def _set_ready(self, running: Running, now: float) -> None:
        running.status, running.ready_at = "ready", now

    def _forget(self, running: Running) -> None:
        if running.child is not None:
            self._tell_guard(f"end {running.child.pid}")
            running.child = None

    def _tell_guard(self, line: str) -> None:
        if self._guard is None or self._guard.stdin is None:
            return
        try:
            self._guard.stdin.write(f"{line}\n".encode())
            self._guard.stdin.flush()
        except BrokenPipeError:
            pass  # somebody killed the guard; children are still ended by `stop`

    def _dismiss_guard(self) -> None:
        self._tell_guard("done")
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait(5)
            self._guard = None
