"""What a demo shows while it runs: the processes, the replay, and each decision as it falls."""

import time
from types import TracebackType
from typing import Any

import redis
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from contracts import streams
from contracts.events import Decision
from contracts.settings import Settings
from contracts.streams import Streams
from data.record import Result
from data.streams import Stream
from tiltyard import board, demo_config
from tiltyard.replaying import every, progress_told
from tiltyard.supervisor import Supervisor

_NOTES = 12


class View:
    """A live display on a terminal, plain lines elsewhere. A context manager."""

    def __init__(
        self, console: Console, supervisor: Supervisor, stream: Stream, chosen: Settings, total: int, began: float
    ):
        self._console, self._supervisor, self._stream, self._chosen = console, supervisor, stream, chosen
        self._total, self._began = total, began
        self._changes = board.Changes(supervisor)
        self._notes: list[str] = []
        self._told = 0
        self._result = Result()
        self._model = demo_config.model_name(stream)
        self._client = streams.connect(chosen.redis_url, retry=None)
        self._seen = -1
        self._last_look = 0.0
        self._progress = every(5.0, lambda result: self.note(f"asked {result.asked}, {progress_told(result)}"))
        self._shown = board.shown(console, self._render, self._lines)

    def introduce(self) -> None:
        for text in (
            f"Asking {self._stream.description}.",
            self._stream.provenance,
            f"{self._total:,} rows; each label comes back {demo_config.DELAY_ROWS} rows late. "
            f"Configuration: {self._chosen.config}",
        ):
            self._console.print(text, highlight=False, soft_wrap=not self._console.is_terminal)

    def note(self, text: str) -> None:
        """A line with the time since the start."""
        self._notes.append(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def look(self, result: Result) -> None:
        self._result = result
        if not self._console.is_terminal:
            self._progress(result)

    def __enter__(self) -> "View":
        self._shown.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        try:
            return self._shown.__exit__(kind, error, trace)
        finally:
            self._client.close()

    def _lines(self) -> list[str]:
        self._note_decisions()
        new = self._notes[self._told :]
        self._told += len(new)
        return [*self._changes.lines(), *new]

    def _render(self) -> RenderableType:
        self._note_decisions()
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            f"asked {self._result.asked:,} of {self._total:,}",
            ProgressBar(total=self._total, completed=self._result.asked, width=30),
        )
        told = Text(progress_told(self._result) if self._result.asked else "starting ...")
        notes = Text("\n".join(self._notes[-_NOTES:]), style="dim")
        return Group("", board.table(self._supervisor), "", bar, told, "", notes)

    def _note_decisions(self) -> None:
        """New lines of the ledger, as its mirror in Redis has them; at most once a second."""
        if time.monotonic() - self._last_look < 1.0:
            return
        self._last_look = time.monotonic()
        try:
            decisions = Streams(self._client, self._model).decisions(20)
        except redis.RedisError:
            return
        for line in reversed(decisions):
            if line.seq > self._seen:
                self._seen = line.seq
                self.note(decision_told(line))


def decision_told(line: Decision) -> str:
    version = "" if line.version is None else f" version {line.version}"
    return f"{line.kind}{version}: {line.reason}"
