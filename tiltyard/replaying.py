"""`tiltyard replay`: any stream against any running instance, with what comes of it on the terminal."""

import asyncio
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from contracts.quantities import ConfigError
from contracts.schema import Feature, Label, Schema
from data import drifts, streams
from data.csvfile import BadRows
from data.drifts import Drift, Injection
from data.record import Result
from data.replay import Plan, Replay
from data.streams import Stream
from tiltyard import instance

_STRETCH = 200
_PATIENCE_S = 5.0


class NotRunning(Exception):
    """Nobody answers there."""

    def __init__(self, url: str):
        super().__init__(f"nobody answers at {url}: start it with `tiltyard up`, or name another with --state or --url")


def run(
    source: str,
    *,
    model: str | None,
    label_column: str | None,
    timestamp_column: str,
    delay: int | None,
    delay_seconds: float | None,
    rate: float | None,
    limit: int | None,
    concurrency: int,
    drift: Sequence[str] = (),
    url: str | None,
    as_json: bool,
    state: Path | None,
) -> int:
    """Replays and prints the result; the exit status is 0 when every row was answered and every label accepted."""
    if delay is not None and delay_seconds is not None:
        raise ConfigError("give --delay (rows) or --delay-seconds, not both")
    changes = [drifts.parse(spec) for spec in drift]
    url = (url or instance.find(state).serving_url).rstrip("/")
    described = choose_model(url, model)
    stream = streams.stream(source, label_column, schema=schema_of(described), timestamp_column=timestamp_column)
    total = min(limit or stream.length, stream.length)
    injection = _inject(changes, stream, total)
    console = Console(stderr=as_json)
    _introduce(console, stream, url, described["model"])
    _announce(console, injection)
    plan = Plan(
        url=url,
        model=described["model"],
        delay_rows=200 if delay is None else delay,
        delay_s=delay_seconds,
        rate=rate,
        limit=limit,
        concurrency=concurrency,
    )
    progress = Progress(console, total)
    replay = Replay(plan, injection.rows(stream), progress.look)
    with progress:
        result = asyncio.run(with_interrupts(replay, console.print))
    if as_json:
        told = {"bad_rows": stream.bad_rows.count, "drifts": [tally.as_json() for tally in injection.tallies]}
        print(json.dumps({**result.summary(_STRETCH), **told}))
    else:
        _print(console, result, stream.bad_rows, injection)
    return 0 if is_whole(result) else 1


def is_whole(result: Result) -> bool:
    """Whether every row asked was answered and every label of a logged answer accepted."""
    taken = sum(count for status, count in result.feedback.items() if status not in ("unknown", "refused"))
    return result.answered == result.asked and taken == result.answered - result.unlogged and not result.outstanding


async def with_interrupts(
    replay: Replay, say: Callable[[str], None], until: Callable[[], bool] = lambda: True
) -> Result:
    """Runs a replay as soon as `until` holds; a first Ctrl-C stops asking, a second one leaves the labels too."""
    loop = asyncio.get_running_loop()
    interrupts = 0

    def interrupt() -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts > 1:
            replay.abandon()
            return
        say("Stopping: the labels held back are given now. Ctrl-C again leaves them.")
        replay.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    while not until() and not interrupts:
        await asyncio.sleep(0.1)
    return await replay.run()


def choose_model(url: str, model: str | None) -> dict[str, Any]:
    """What an instance says of a model, or of its only one. Raises NotRunning, and ConfigError for a wrong name."""
    known = {found["model"]: found for found in _get(f"{url}/models")["models"]}
    if model is None and len(known) == 1:
        return dict(next(iter(known.values())))
    if model not in known:
        wrong = "name one with --model" if model is None else f'there is no model "{model}"'
        raise ConfigError(f"{wrong}: {url} has {', '.join(sorted(known))}")
    return dict(known[model])


def schema_of(described: dict[str, Any]) -> Schema:
    """Types for reading a CSV file; what may be missing is left for the server to say."""
    features = tuple(Feature(name, kind, optional=True) for name, kind in described["features"].items())
    return Schema(features, Label(described["task"], tuple(described["classes"])))


def _get(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE_S) as response:
            found = json.load(response)
    except (OSError, ValueError):
        raise NotRunning(url.rpartition("/")[0]) from None
    if not isinstance(found, dict):
        raise NotRunning(url.rpartition("/")[0])
    return found


def _introduce(console: Console, stream: Stream, url: str, model: str) -> None:
    console.print(f"{stream.description}\n{stream.provenance}\n{url}/models/{model}", highlight=False, soft_wrap=True)
    if not stream.real:
        console.print("The rows of this stream were made up by a program.", style="yellow")


def _inject(changes: Sequence[Drift], stream: Stream, total: int) -> Injection:
    """Raises ConfigError where a change does not fit the stream, or would come after its end."""
    for change in changes:
        if change.at >= total:
            raise ConfigError(f"drift at={change.at}: the replay ends after {total:,} rows; choose an earlier row")
    return Injection(changes, stream.schema)


def _announce(console: Console, injection: Injection) -> None:
    for tally in injection.tallies:
        console.print(f"Injected {tally.told}.", style="yellow", markup=False, highlight=False, soft_wrap=True)


class Progress:
    """A bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console, total: int):
        self._console = console
        self._bar = Bar(
            TextColumn("asked"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"),
            console=console, refresh_per_second=4, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=total, told="")
        self.look = every(0.25, self._show) if console.is_terminal else every(5.0, self._print)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _show(self, result: Result) -> None:
        self._bar.update(self._task, completed=result.asked, told=progress_told(result))

    def _print(self, result: Result) -> None:
        self._console.print(f"asked {result.asked}, {progress_told(result)}", highlight=False, soft_wrap=True)


def every(seconds: float, act: Callable[[Result], None]) -> Callable[[Result], None]:
    """`act`, at most so often."""
    last = 0.0

    def maybe(result: Result) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            act(result)

    return maybe


def progress_told(result: Result) -> str:
    loss = _of_last(result)
    quality = "" if loss is None else f"{_quality(result, loss)} over the last {_STRETCH}, "
    return f"{quality}{sum(result.feedback.values())} labels given, version {_answering(result)} answers"


def _of_last(result: Result) -> float | None:
    losses = [row.loss for row in result.rows[-_STRETCH:] if row.loss is not None]
    return sum(losses) / len(losses) if losses else None


def _quality(result: Result, loss: float) -> str:
    return f"mean absolute error {loss:.4g}" if result.is_value else f"accuracy {1 - loss:.3f}"


def _answering(result: Result) -> int | str:
    return next((row.version for row in reversed(result.rows) if row.version is not None), "?")


def _print(console: Console, result: Result, bad: BadRows, injection: Injection) -> None:
    shown = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _figures(result, bad):
        shown.add_row(name, value)
    console.print(shown)
    for tally in injection.tallies:
        console.print(f"  injected {tally.sentence}", markup=False, highlight=False, soft_wrap=True)
    for row in bad.first:
        console.print(f"  skipped {row}", markup=False, highlight=False)


def _figures(result: Result, bad: BadRows) -> list[tuple[str, str]]:
    latency, delay = (result.latency_ms(0.5), result.latency_ms(0.99)), (result.delay_s(0.5), result.delay_s(0.99))
    figures = [
        ("asked", f"{result.asked} in {result.seconds:.1f} s"),
        ("answered", str(result.answered)),
        ("of these unlogged", str(result.unlogged)),
        ("refused, unanswered", f"{result.refused}, {result.unanswered}"),
        ("feedback", ", ".join(f"{count} {status}" for status, count in result.feedback.items()) or "none"),
        ("labels outstanding", str(result.outstanding)),
        ("bad rows skipped", str(bad.count)),
    ]
    if result.mean_loss is not None:
        figures.append(("answers", _quality(result, result.mean_loss)))
    figures += [
        (f"version {version}", f"{_quality(result, loss)} on {n} answers")
        for version, (n, loss) in result.versions().items()
    ]
    if latency[0] is not None and latency[1] is not None:
        figures.append(("latency p50, p99", f"{latency[0]:.2f} ms, {latency[1]:.2f} ms"))
    if delay[0] is not None and delay[1] is not None:
        figures.append(("label delay p50, p99", f"{delay[0]:.1f} s, {delay[1]:.1f} s"))
    return figures + [("failed attempts", f"{count} x {kind}") for kind, count in result.errors.most_common(5)]
