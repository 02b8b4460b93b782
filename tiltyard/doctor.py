"""`tiltyard doctor`: what keeps Tiltyard from running here, each with what to do about it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import redis
from rich.console import Console

from contracts import config, events, streams
from contracts.quantities import ConfigError
from contracts.settings import Settings
from contracts.streams import Source, Streams
from tiltyard import instance, lock, probes, services, up, valkey

_OLDEST_REDIS = (7, 0)  # entries-added and other counters of streams came with 7.0
_LEAST_DISK_GB = 1.0
_BEHIND_S = 1.0
_PATIENCE_S = 3.0

Grade = Literal["ok", "warn", "bad"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `advice` says what to do where it is not ok."""

    grade: Grade
    what: str
    advice: str = ""


def run(state: Path | None, config_file: Path | None, port_base: int) -> int:
    """Prints the findings; the exit status is 1 when one of them is bad."""
    console = Console()
    styles = {"ok": "green", "warn": "yellow", "bad": "red"}
    found = list(look(state, config_file, port_base))
    for finding in found:
        advice = f"\n      {finding.advice}" if finding.advice else ""
        console.print(f"[{styles[finding.grade]}]{finding.grade:4}[/]  ", end="")
        console.print(f"{finding.what}{advice}", markup=False, highlight=False, soft_wrap=True)
    bad = sum(finding.grade == "bad" for finding in found)
    console.print("\nNothing stands in the way." if not bad else f"\n{bad} to be put right.")
    return 1 if bad else 0


def look(
    state: Path | None, config_file: Path | None, port_base: int, environment: Mapping[str, str] = os.environ
) -> Iterator[Finding]:
    """Looks at everything that `tiltyard up` with the same options would need."""
    yield python(sys.version_info[:2])
    try:
        chosen = up.settings_for(state, config_file, port_base, environment)
        runs = _is_running(chosen.state)
        chosen = instance.find(chosen.state, environment) if runs else chosen
    except ConfigError as error:
        yield Finding("bad", str(error), "Correct it; nothing else was looked at.")
        return
    away = services.elsewhere(environment)
    yield configuration(chosen)
    yield folder(chosen.state)
    yield disk(chosen.state)
    if runs:
        yield Finding("ok", f"an instance runs in {chosen.state}")
        yield serving(chosen.serving_url)
    else:
        yield from ports(port_base, away)
    yield embedded() if "valkey" not in away else redis_at(chosen.redis_url)
    if runs or "valkey" in away:
        yield from clock_behind(chosen)
    for name, variable, url in (
        ("MLflow", "TILTYARD_MLFLOW_URL", chosen.mlflow_url),
        ("Prefect", "TILTYARD_PREFECT_URL", chosen.prefect_url),
    ):
        yield server(name, variable, url) if runs or name.lower() in away else installed(name.lower())


def python(version: tuple[int, ...]) -> Finding:
    shown = ".".join(str(part) for part in version)
    if (3, 11) <= version < (3, 14):
        return Finding("ok", f"Python {shown}")
    return Finding("bad", f"Python {shown} is not supported", "Use CPython 3.11, 3.12 or 3.13.")


def configuration(chosen: Settings) -> Finding:
    from learners import catalogue

    if not chosen.config.exists():
        advice = "Write it with `tiltyard init FILE.csv --label-column NAME`; `tiltyard demo` needs none."
        return Finding("warn", f"{chosen.config} is not there", advice)
    try:
        models = config.load(chosen.config)
        for model in models.models.values():
            catalogue.check(model)
    except ConfigError as error:
        return Finding("bad", str(error), "Correct that line; `tiltyard schema` lets an editor check the file.")
    return Finding("ok", f"{chosen.config}: {', '.join(models.models)}")


def folder(state: Path) -> Finding:
    """Whether files can be made in the state folder, or the folder itself where it is not there yet."""
    existing = next(path for path in (state, *state.parents) if path.exists())
    advice = "Give another folder with --state, or make this one writable for you."
    if not existing.is_dir():
        return Finding("bad", f"{existing} is a file, and a folder is wanted for {state}", advice)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding("bad", f"{existing} cannot be written: {error.strerror}", advice)
    return Finding("ok", f"state folder {state}")


def disk(state: Path) -> Finding:
    existing = next(path for path in (state, *state.parents) if path.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    if free_gb < _LEAST_DISK_GB:
        return Finding("bad", f"{free_gb:.1f} GB are free on the disk of {state}", "Free some: 1 GB is the least.")
    return Finding("ok", f"{free_gb:.0f} GB are free on the disk")


def ports(port_base: int, away: set[str]) -> Iterator[Finding]:
    wanted = {name: port_base + offset for name, offset in services.PORTS.items() if name not in away}
    taken = {name: port for name, port in wanted.items() if not probes.is_free(port)}
    for name, port in taken.items():
        yield Finding("bad", *_split(up.port_taken(name, port)))
    if not taken:
        yield Finding("ok", f"ports {', '.join(str(port) for port in wanted.values())} are free")


def embedded() -> Finding:
    """Whether the packaged Valkey starts on this machine at all."""
    try:
        program = valkey.binary()
        told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except FileNotFoundError as error:
        return Finding("bad", *_split(str(error)))
    except (OSError, subprocess.SubprocessError) as error:
        advice = "Set TILTYARD_REDIS_URL to a Redis 7 or a Valkey of yours."
        return Finding("bad", f"the packaged Valkey does not start here: {error}", advice)
    return Finding("ok", f"packaged {' '.join(told.split()[:3])}")


def redis_at(url: str) -> Finding:
    """Whether a Redis is there, is new enough, and keeps what it accepts."""
    shown = services.without_password(url)
    try:
        with streams.connect(url, retry=None) as client:
            info = client.info()
            policy = str(info.get("maxmemory_policy", "noeviction"))
    except (redis.RedisError, OSError, ValueError) as error:
        advice = "Start it, correct TILTYARD_REDIS_URL, or unset that to use the packaged Valkey."
        return Finding("bad", f"Redis at {shown} does not answer: {error}", advice)
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_REDIS:
        advice = "Use Redis 7.0 or newer, or Valkey; or unset TILTYARD_REDIS_URL to use the packaged one."
        return Finding("bad", f"Redis at {shown} is {version}, which is too old", advice)
    if policy != "noeviction":
        advice = "Set it to noeviction: else predictions and labels vanish when memory runs short."
        return Finding("bad", f"Redis at {shown} has maxmemory-policy {policy}", advice)
    if not info.get("aof_enabled"):
        advice = "Set appendonly to yes: else labels accepted in the last seconds are lost when it crashes."
        return Finding("warn", f"Redis {version} at {shown} does not keep what it accepts at once", advice)
    return Finding("ok", f"Redis {version} at {shown}")


def clock_behind(chosen: Settings) -> Iterator[Finding]:
    """Whether Redis's clock was set back, or was ahead: ids wait at the last one until it has passed that again."""
    sources: tuple[Source, ...] = ("predictions", "feedback")
    try:
        models = config.load(chosen.config).models
        with streams.connect(chosen.redis_url, retry=None) as client:
            seconds, micro = client.time()
            newest = [Streams(client, name).last_id(source) for name in models for source in sources]
    except (ConfigError, redis.RedisError, OSError, ValueError):
        return  # said elsewhere
    behind_s = max(map(events.seconds_of, newest)) - seconds - micro / 1e6
    if behind_s > _BEHIND_S:
        what = f"Redis's clock is {behind_s:,.0f} s behind its newest entries: it was set back, or had been ahead"
        advice = "Set it right. Questions are answered and labels learned, but none matures before it has caught up."
        yield Finding("warn", what, advice)


def server(name: str, variable: str, url: str) -> Finding:
    status = probes.http_status(f"{url}/health", _PATIENCE_S)
    shown = services.without_password(url)
    if status == 200:
        return Finding("ok", f"{name} at {shown}")
    how = "does not answer" if status is None else f"answers with status {status}"
    advice = f"Start it, correct {variable}, or unset that to have it started by `tiltyard up`."
    return Finding("bad", f"{name} at {shown} {how}", advice)


def installed(name: str) -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Finding("ok", f"{name} {version(name)}, started by `tiltyard up`")
    except PackageNotFoundError:
        return Finding("bad", f"{name} is not installed", "Install Tiltyard's locked requirements with `make install`.")


def serving(url: str) -> Finding:
    if probes.http_ok(f"{url}/readyz", _PATIENCE_S):
        return Finding("ok", f"serving at {url}")
    return Finding("bad", f"serving at {url} is not ready", "Look at logs/serving.log in the state folder.")


def _is_running(state: Path) -> bool:
    found = instance.read(state)
    return found is not None and lock.lives(str(found.pid))


def _split(message: str) -> tuple[str, str]:
    """What is wrong, and what to do, of a message that says both."""
    what, _, advice = message.partition(": ")
    return what, advice[:1].upper() + advice[1:] + "."
