"""One process that the supervisor started, with everything that it started in turn."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

_LARGEST_LOG = 10_000_000


class Child:
    """A program in a process group of its own, its output appended to a log file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path):
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LARGEST_LOG:
            log.replace(log.with_suffix(".1.log"))
        with log.open("ab") as file:
            file.write(f"--- started {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
            file.flush()
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                # Its own group: a terminal's Ctrl-C is for the supervisor, which ends things in their order.
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.log = log

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the whole group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    @property
    def is_gone(self) -> bool:
        """Whether nothing of its group runs any more."""
        return self._process.poll() is not None and not group(self.pid)

    def last_lines(self, count: int = 5) -> list[str]:
        """The end of its log, for an error message."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 8_192))
            return file.read().decode(errors="replace").splitlines()[-count:]


def group(pgid: int) -> list[int]:
    """Living processes of a group. The dead that nobody has collected do not count: they hold no port."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getpgid(process.pid) == pgid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def end(children: Sequence[Child], grace_s: float) -> None:
    """Asks all to end, waits, and kills what is left of them."""
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        left = [child for child in children if not child.is_gone]
        for child in left:
            child.signal(number)
        deadline = time.monotonic() + patience_s
        while any(not child.is_gone for child in left) and time.monotonic() < deadline:
            time.sleep(0.05)
