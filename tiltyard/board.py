"""What runs, on the terminal: a table that changes in place, or plain lines where the output is no terminal."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tiltyard.supervisor import Running, Supervisor

_STYLES = {
    "ready": "green",
    "done": "green",
    "crashed": "red",
    "starting": "yellow",
    "stopping": "yellow",
    "stopped": "dim",
}
_NAMES = {
    "valkey": "Valkey (streams)",
    "bootstrap": "first release",
    "serving": "serving, and the page",
    "shadow": "shadow scorer",
    "mlflow": "MLflow (registry)",
    "prefect": "Prefect (flows' UI)",
    "flows": "flows",
}


def table(supervisor: Supervisor) -> Table:
    """One line per process."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("", "state", "address", ""):
        shown.add_column(header, no_wrap=header != "", overflow="fold")
    for name, running in supervisor.running.items():
        style = _STYLES.get(running.status, "dim")
        state = Text(running.status, style=style)
        shown.add_row(_NAMES.get(name, name), state, running.service.address, Text(_remark(running), style="dim"))
    return shown


@contextmanager
def shown(console: Console, render: Callable[[], RenderableType], lines: Callable[[], list[str]]) -> Iterator[None]:
    """Keeps `render` on a terminal; elsewhere prints what `lines` has that is new, twice a second."""
    ended = threading.Event()
    if console.is_terminal:
        with Live(get_renderable=render, console=console, refresh_per_second=4):
            yield
        return

    def print_lines() -> None:
        while not ended.wait(0.5):
            _print(console, lines())
        _print(console, lines())

    printing = threading.Thread(target=print_lines, name="lines")
    printing.start()
    try:
        yield
    finally:
        ended.set()
        printing.join()


class Changes:
    """Plain lines for what has changed since they were last asked for."""

    def __init__(self, supervisor: Supervisor):
        self._supervisor, self._told = supervisor, dict[str, tuple[str, int]]()
        self._began = time.monotonic()

    def lines(self) -> list[str]:
        found = []
        for name, running in self._supervisor.running.items():
            now = (running.status, running.restarts)
            if now != self._told.get(name, ("waiting", 0)):
                self._told[name] = now
                parts = (f"{time.monotonic() - self._began:6.1f} s", f"{name:10}", f"{running.status:9}")
                found.append("  ".join([*parts, running.service.address, _remark(running)]).rstrip())
        return found


def _remark(running: Running) -> str:
    restarts = f"restarted {running.restarts} time{'s' * (running.restarts != 1)}" if running.restarts else ""
    return "; ".join(part for part in (restarts, running.note) if part)


def _print(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
