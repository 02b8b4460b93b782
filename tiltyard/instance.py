"""Where a running instance is: `instance.json` in its state folder, written by `tiltyard up` for other commands."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from contracts import settings
from contracts.quantities import ConfigError
from contracts.settings import Settings

FILE = "instance.json"
DEFAULT_STATE = Path("tiltyard-state")


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and folders of one running instance. `page` is what a person opens."""

    pid: int
    """Of its supervisor."""
    started_at: float
    state: str
    config: str
    page: str
    serving_url: str
    redis_url: str
    mlflow_url: str
    prefect_url: str

    @classmethod
    def of(cls, chosen: Settings) -> "Instance":
        return cls(
            pid=os.getpid(),
            started_at=time.time(),
            state=str(chosen.state),
            config=str(chosen.config),
            page=f"{chosen.serving_url}/",
            serving_url=chosen.serving_url,
            redis_url=chosen.redis_url,
            mlflow_url=chosen.mlflow_url,
            prefect_url=chosen.prefect_url,
        )


def write(instance: Instance) -> None:
    """Replaces the file at once; only its owner can read it, for a Redis URL may hold a password."""
    path = Path(instance.state) / FILE
    unfinished = path.with_suffix(".unfinished")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(instance), indent=2) + b"\n")
    unfinished.replace(path)


def remove(state: Path) -> None:
    (state / FILE).unlink(missing_ok=True)


def read(state: Path) -> Instance | None:
    """What `up` wrote, also when it is no longer running; None where it has written nothing. Raises ConfigError."""
    path = state / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Instance)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; remove it, `tiltyard up` writes it anew") from None


def find(state: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings of the instance in a state folder, else those of the environment.

    Variables that are set win over the file, as they do for `up`. Raises ConfigError.
    """
    given = settings.from_environment(environment)
    if state is not None:
        given = msgspec.structs.replace(given, state=state.expanduser().absolute())
    given = msgspec.structs.replace(given, state=given.state.absolute())
    found = read(given.state)
    if found is None:
        return given
    known: dict[str, Any] = {
        name: getattr(found, name)
        for name in ("serving_url", "redis_url", "mlflow_url", "prefect_url")
        if f"TILTYARD_{name.upper()}" not in environment
    }
    if "TILTYARD_CONFIG" not in environment:
        known["config"] = Path(found.config)
    return msgspec.structs.replace(given, **known)
