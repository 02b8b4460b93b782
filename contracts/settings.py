"""Addresses and secrets, from `TILTYARD_*` variables."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from contracts.quantities import ConfigError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything is. Each field NAME is the variable TILTYARD_NAME."""

    state: Path = Path("tiltyard-state")
    """Folder of everything that Tiltyard keeps."""
    config: Path = Path("tiltyard.toml")
    redis_url: str = "redis://127.0.0.1:6379/0"
    mlflow_url: str = "http://127.0.0.1:5000"
    prefect_url: str = "http://127.0.0.1:4200/api"
    serving_url: str = "http://127.0.0.1:8000"
    smtp_url: str = ""
    """smtp://user:password@host:587?tls=starttls; empty: mails go to the outbox folder."""
    mail_from: str = "tiltyard@localhost"
    entity_key: str = ""
    """Secret under which entities are hashed; empty: file `entity.key` of the state folder, made on first use."""

    @property
    def log_folder(self) -> Path:
        return self.state / "log"

    @property
    def checkpoint_folder(self) -> Path:
        return self.state / "checkpoints"

    @property
    def journal_folder(self) -> Path:
        """Labelled examples in learning order, which learners follow and replay."""
        return self.state / "journal"

    @property
    def release_folder(self) -> Path:
        """Serving's own verified copies, so that it starts while Redis and MLflow are away."""
        return self.state / "releases"

    @property
    def report_folder(self) -> Path:
        return self.state / "reports"

    @property
    def dossier_folder(self) -> Path:
        """Why each decision was made, a folder for each model."""
        return self.state / "dossiers"

    @property
    def outbox_folder(self) -> Path:
        return self.state / "outbox"

    def environment(self) -> dict[str, str]:
        """These settings as variables for a child process."""
        return {f"TILTYARD_{name.upper()}": str(getattr(self, name)) for name in self.__struct_fields__}


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from TILTYARD_* variables. Raises ConfigError on an unknown one, with the nearest right name."""
    known = {f"TILTYARD_{name.upper()}": name for name in Settings.__struct_fields__}
    given: dict[str, str | Path] = {}
    for variable, value in environment.items():
        if not variable.startswith("TILTYARD_"):
            continue
        if variable not in known:
            close = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(known))}"
            raise ConfigError(f"unknown variable {variable}{hint}")
        name = known[variable]
        given[name] = Path(value).expanduser().absolute() if name in ("state", "config") else value
    return Settings(**given)  # type: ignore[arg-type]  # each value has its field's type
