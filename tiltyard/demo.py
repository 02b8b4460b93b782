"""`tiltyard demo`: everything started, a stream replayed with late labels, and a page on what it was worth."""

import asyncio
import threading
import time
from functools import partial
from pathlib import Path

import msgspec
import redis
from rich.console import Console

from contracts import config, events, streams
from contracts.config import Config
from contracts.facts import LearnFacts
from contracts.log import Log
from contracts.settings import Settings
from contracts.streams import Streams
from data import streams as sources
from data.record import Result
from data.replay import Plan, Replay
from data.streams import Stream
from tiltyard import demo_config, demo_end, demo_page, lock, up
from tiltyard.demo_view import View
from tiltyard.replaying import with_interrupts
from tiltyard.supervisor import Supervisor

_SLOW_PER_S = 1.0
"""Rows per second until everything is up, so that a short stream is not over before anything has learned."""
_UP_WITHIN_S = 240.0
_SETTLED_WITHIN_S = 120.0


def run(
    *, stream: str | None, state: Path | None, port_base: int, rate: float | None, limit: int | None, leave: bool
) -> int:
    """The exit status: 0 when the loop did all that it should.

    Raises ConfigError, BadFile, CannotStart or StateInUse.
    """
    began = time.monotonic()
    console = Console()
    chosen = up.settings_for(state, None, port_base)
    source = sources.stream(stream or demo_config.DEFAULT_STREAM)
    if kept := set_aside(chosen.state):
        console.print(f"The demo before this one is kept in {kept}.", highlight=False, soft_wrap=True)
    rate = rate or demo_config.rate_for(source)
    asked = min(limit or demo_config.limit_for(rate), source.length)
    chosen = prepare(chosen, source, rate)
    models = config.load(chosen.config)
    with up.running(chosen, models) as supervisor:
        view = View(console, supervisor, source, chosen, asked, began)
        view.introduce()
        with view:
            result = asyncio.run(_replay(source, chosen, supervisor, view, rate, asked))
            is_interrupted = result.asked < asked
            with up.stopping_on_signals(supervisor) as stop:
                _settle(chosen, models, view, _SETTLED_WITHIN_S / (6 if is_interrupted else 1), stop)
        with up.stopping_on_signals(supervisor) as stop:
            is_default = stream is None and limit is None
            say = partial(console.print, style="dim", highlight=False)
            say("Fitting what the answers are compared with ...")
            told = demo_end.summary(chosen, models, source, result, supervisor, asked, is_default, say)
            told["seconds"] = round(time.monotonic() - began, 1)
            demo_end.write(chosen.state, told)
            demo_page.show(console, told)
            if not (leave or is_interrupted or stop.is_set()):
                console.print(f"\nEverything goes on running; look at {chosen.serving_url}/. Ctrl-C stops it.")
                stop.wait()
            console.print("Stopping ...")
    return 0 if told["complete"] else 1


def set_aside(state: Path) -> Path | None:
    """Renames the folder of an earlier demo, so that no row is learned twice; returns where it is now.

    Raises CannotStart when the folder holds something else, and StateInUse.
    """
    if not state.exists() or not any(state.iterdir()):
        return None
    file = state / "tiltyard.toml"
    if not (file.is_file() and file.read_text().startswith(demo_config.FIRST_LINE)):
        raise up.CannotStart(f"{state} holds something else than a demo: give another folder with --state")
    descriptor = lock.acquire(state)
    try:
        numbered = (state.with_name(f"{state.name}.{number}") for number in range(1, 10_000))
        return state.rename(next(path for path in numbered if not path.exists()))
    finally:
        lock.release(descriptor)


def prepare(chosen: Settings, stream: Stream, rate: float) -> Settings:
    """Writes the demo's configuration into its state folder. Raises CannotStart."""
    file = chosen.state / "tiltyard.toml"
    try:
        chosen.state.mkdir(parents=True, exist_ok=True)
        file.write_text(demo_config.text(stream, rate))
    except OSError as error:
        raise up.CannotStart(f"{file}: cannot be written: {error.strerror}; give another folder with --state") from None
    return msgspec.structs.replace(chosen, config=file)


async def _replay(
    stream: Stream, chosen: Settings, supervisor: Supervisor, view: View, rate: float, limit: int
) -> Result:
    plan = Plan(
        url=chosen.serving_url,
        model=demo_config.model_name(stream),
        delay_rows=demo_config.DELAY_ROWS,
        rate=min(rate, _SLOW_PER_S),
        limit=limit,
        patience_s=180.0,
    )
    replay = Replay(plan, iter(stream), view.look)
    pacing = asyncio.create_task(_pace(replay, supervisor, view, rate))
    try:
        return await with_interrupts(replay, view.note, until=lambda: supervisor.is_ready("serving"))
    finally:
        pacing.cancel()


async def _pace(replay: Replay, supervisor: Supervisor, view: View, rate: float) -> None:
    """Tells the first answer, and asks at full rate once the flows run."""
    while not replay.result.answered:
        await asyncio.sleep(0.05)
    view.note("The first question was answered.")
    deadline = time.monotonic() + _UP_WITHIN_S
    while not supervisor.is_ready("flows") and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    ready = "Everything is up" if supervisor.is_ready("flows") else "The flows are still not up"
    view.note(f"{ready}: {rate:g} rows a second from now on.")
    replay.rate = rate


def _settle(chosen: Settings, models: Config, view: View, within_s: float, stop: threading.Event) -> None:
    """Waits, within limits, until what was accepted is learned, matured, logged and decided."""
    view.note("Waiting until the last labels are learned, counted and logged.")
    name, model = next(iter(models.models.items()))
    log = Log(chosen.log_folder, name, model.schema)
    deadline = time.monotonic() + within_s
    with streams.connect(chosen.redis_url) as client:
        while not stop.is_set() and time.monotonic() < deadline:
            try:
                if _is_settled(Streams(client, name), log):
                    return
            except redis.RedisError:
                pass  # it is being started again
            stop.wait(1.0)


def _is_settled(kept: Streams, log: Log) -> bool:
    learn = kept.fact("learn", LearnFacts)
    if learn is None or learn.pending or learn.feedback < kept.added("feedback"):
        return False
    if any(comparison.decision == "promote" for comparison in learn.comparisons):
        return False
    ends = {"predictions": kept.last_id("predictions"), "labels": kept.last_id("feedback")}
    return all(log.position(table) >= events.offset(end) for table, end in ends.items())  # type: ignore[arg-type]  # both are tables
