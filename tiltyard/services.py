"""What runs on one machine, with which command, after what, and how one knows that it is ready."""

import os
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from contracts.config import Config
from contracts.settings import Settings
from tiltyard import probes, valkey
from tiltyard.supervisor import Service

PORTS = {"serving": 0, "mlflow": 1, "prefect": 2, "valkey": 3}
"""Offsets from --port-base."""
PORT_BASE = 8700
_FLOWS_GRACE_S = 25.0  # the learn loop finishes its batch and checkpoints


def with_local_addresses(chosen: Settings, port_base: int, elsewhere: Collection[str]) -> Settings:
    """Settings whose addresses are on this machine, except those of services that run `elsewhere`."""
    at = {name: f"127.0.0.1:{port_base + offset}" for name, offset in PORTS.items()}
    local = {"serving_url": f"http://{at['serving']}"}
    if "valkey" not in elsewhere:
        local["redis_url"] = f"redis://{at['valkey']}/0"
    if "mlflow" not in elsewhere:
        local["mlflow_url"] = f"http://{at['mlflow']}"
    if "prefect" not in elsewhere:
        local["prefect_url"] = f"http://{at['prefect']}/api"
    return msgspec.structs.replace(chosen, **local)


def elsewhere(environment: Mapping[str, str] = os.environ) -> set[str]:
    """Services whose address is given in the environment: they are not started here."""
    variables = {"valkey": "TILTYARD_REDIS_URL", "mlflow": "TILTYARD_MLFLOW_URL", "prefect": "TILTYARD_PREFECT_URL"}
    return {name for name, variable in variables.items() if environment.get(variable)}


def services(chosen: Settings, config: Config, elsewhere: Collection[str]) -> list[Service]:
    """Everything, in order of appearance. Serving comes up first; MLflow and Prefect are needed by the flows alone."""
    here = {**chosen.environment(), **_TOLD, "PREFECT_API_URL": chosen.prefect_url}
    here |= {"MLFLOW_TRACKING_URI": chosen.mlflow_url, "PREFECT_HOME": str(chosen.state / "prefect")}
    here |= {"PREFECT_SERVER_UI_API_URL": chosen.prefect_url}  # its page asks port 4200 otherwise
    serving = urlsplit(chosen.serving_url)
    models, started_at = list(config.models), time.time()
    return [
        _valkey(chosen, "valkey" in elsewhere),
        Service(
            name="bootstrap",
            command=_python("flows.bootstrap"),
            environment=here,
            needs=("valkey",),
            once=True,
            stage=2,
        ),
        Service(
            name="serving",
            command=_python("serving", "--host", str(serving.hostname), "--port", str(serving.port)),
            environment=here,
            address=f"{chosen.serving_url}/",
            is_ready=lambda: probes.http_ok(f"{chosen.serving_url}/readyz"),
            needs=("valkey",),
            stage=2,
            grace_s=15.0,
        ),
        Service(
            name="shadow",
            command=_python("serving.shadow"),
            environment=here,
            is_ready=lambda: probes.has_fresh_facts(chosen.redis_url, models, "shadow", started_at),
            needs=("valkey", "bootstrap"),
            after=("serving",),
            stage=2,
        ),
        Service(
            name="guard",
            command=_python("flows.guard"),
            environment=here,
            is_ready=lambda: probes.has_fresh_facts(chosen.redis_url, models, "guard", started_at),
            needs=("valkey", "bootstrap"),
            after=("serving",),
            stage=2,
        ),
        _mlflow(chosen, here, "mlflow" in elsewhere),
        _prefect(chosen, here, "prefect" in elsewhere),
        Service(
            name="flows",
            command=_python("flows"),
            environment=here,
            is_ready=lambda: probes.has_fresh_facts(chosen.redis_url, models, "learn", started_at),
            needs=("valkey", "bootstrap", "prefect"),  # what needs MLflow waits for it itself
            stage=3,
            grace_s=_FLOWS_GRACE_S,
        ),
    ]


_TOLD = {
    # No folder of the caller's may stand in for one of our packages.
    "PYTHONSAFEPATH": "1",
    "PYTHONUNBUFFERED": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # three processes instead of nine
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # on a busy machine SQLite's lock is held for longer than ten seconds
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}


def _valkey(chosen: Settings, is_elsewhere: bool) -> Service:
    folder, url = chosen.state / "valkey", chosen.redis_url
    command = [] if is_elsewhere else valkey.command(folder, int(urlsplit(url).port or 6379))
    return Service(
        name="valkey", command=command, address=without_password(url), is_ready=lambda: probes.redis_ok(url), stage=0
    )


def _mlflow(chosen: Settings, here: Mapping[str, str], is_elsewhere: bool) -> Service:
    folder, url = chosen.state / "mlflow", chosen.mlflow_url
    command = _python(
        "mlflow", "server", "--host", "127.0.0.1", "--port", str(urlsplit(url).port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination", str(folder / "artifacts"),
    )  # fmt: skip
    return Service(
        name="mlflow",
        command=[] if is_elsewhere else command,
        environment=here,
        address=without_password(url),
        is_ready=lambda: probes.http_ok(f"{url}/health"),
        after=("serving",),
        stage=1,
    )


def _prefect(chosen: Settings, here: Mapping[str, str], is_elsewhere: bool) -> Service:
    url = chosen.prefect_url
    command = _python("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(urlsplit(url).port))
    return Service(
        name="prefect",
        command=[] if is_elsewhere else command,
        # The server is no client of itself.
        environment={name: value for name, value in here.items() if name != "PREFECT_API_URL"},
        address=without_password(url.removesuffix("/api")),
        is_ready=lambda: probes.http_ok(f"{url}/health"),
        after=("serving",),
        stage=1,
    )


def folders(state: Path) -> list[Path]:
    """Folders that must be there before anything starts."""
    return [state / name for name in ("valkey", "mlflow", "prefect", "logs")]


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
