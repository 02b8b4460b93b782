"""`tiltyard up`: everything on one machine, from one state folder, until somebody stops it."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec
from rich.console import Console

from contracts import config, settings
from contracts.config import Config
from contracts.quantities import ConfigError
from contracts.settings import Settings
from tiltyard import board, instance, lock, probes, services
from tiltyard.services import PORTS
from tiltyard.supervisor import Supervisor


class CannotStart(Exception):
    """Nothing was started; the message says why and what to do."""


def settings_for(
    state: Path | None, config_file: Path | None, port_base: int, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Where an instance will be. Options win over variables, variables over what the state folder holds."""
    chosen = settings.from_environment(environment)
    folder = (state or (chosen.state if "TILTYARD_STATE" in environment else instance.DEFAULT_STATE)).expanduser()
    chosen = msgspec.structs.replace(chosen, state=folder.absolute())
    if config_file is not None:
        chosen = msgspec.structs.replace(chosen, config=config_file.expanduser().absolute())
    elif "TILTYARD_CONFIG" not in environment:
        here, there = Path("tiltyard.toml").absolute(), chosen.state / "tiltyard.toml"
        chosen = msgspec.structs.replace(chosen, config=there if there.exists() and not here.exists() else here)
    return services.with_local_addresses(chosen, port_base, services.elsewhere(environment))


@contextmanager
def running(chosen: Settings, models: Config, environment: Mapping[str, str] = os.environ) -> Iterator[Supervisor]:
    """Everything, started; when the block ends, everything stopped. Raises CannotStart or StateInUse."""
    descriptor = _lock(chosen.state)
    try:
        away = services.elsewhere(environment)
        _need_free_ports(chosen, away)
        for folder in services.folders(chosen.state):
            folder.mkdir(parents=True, exist_ok=True)
        instance.write(instance.Instance.of(chosen))
        try:
            planned = services.services(chosen, models, away)
        except FileNotFoundError as error:
            raise CannotStart(str(error)) from None
        supervisor = Supervisor(planned, chosen.state / "logs", descriptor)
        supervisor.start()
        try:
            yield supervisor
        finally:
            supervisor.stop()
            instance.remove(chosen.state)
    finally:
        lock.release(descriptor)


@contextmanager
def stopping_on_signals(supervisor: Supervisor | None = None) -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and SIGHUP set. A second one kills what has not ended yet."""
    stop = threading.Event()

    def stop_now(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and supervisor is not None:
            supervisor.kill()
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop_now) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def load_models(chosen: Settings) -> Config:
    """Raises ConfigError saying how to get a configuration where there is none."""
    if not chosen.config.exists():
        raise ConfigError(
            f"{chosen.config} is not there: write it with `tiltyard init FILE.csv --label-column NAME`, "
            "or watch a ready-made one with `tiltyard demo`"
        )
    return config.load(chosen.config)


def _lock(state: Path) -> int:
    try:
        return lock.acquire(state)
    except OSError as error:
        raise CannotStart(f"{state}: cannot be written: {error.strerror}; give another folder with --state") from None


def _need_free_ports(chosen: Settings, away: set[str]) -> None:
    port_base = int(chosen.serving_url.rpartition(":")[2])
    for name, offset in PORTS.items():
        port = port_base + offset
        if name not in away and not probes.is_free(port):
            raise CannotStart(port_taken(name, port))


def port_taken(name: str, port: int) -> str:
    """What a person reads when a port is taken."""
    by = probes.who_listens(port) or "another process"
    return (
        f"port {port}, wanted for {name}, is taken by {by}: stop that, or take other ports with --port-base, "
        f"such as --port-base {port + 100 - port % 100}"
    )


def run(chosen: Settings) -> None:
    """`tiltyard up`: starts, shows, and returns when it was stopped."""
    console = Console()
    models = load_models(chosen)
    with running(chosen, models) as supervisor, stopping_on_signals(supervisor) as stop:
        console.print(
            f"state {chosen.state}\nconfiguration {chosen.config}\nCtrl-C stops it", highlight=False, soft_wrap=True
        )
        changes = board.Changes(supervisor)
        with board.shown(console, lambda: board.table(supervisor), changes.lines):
            stop.wait()
            supervisor.stop()
    console.print(f"Stopped. Everything is kept in {chosen.state}.", highlight=False, soft_wrap=True)
