"""`tiltyard prefect-yaml`: the flows of every model as deployments of a work pool that is there already."""

from datetime import UTC, datetime
from typing import Any

import yaml  # type: ignore[import-untyped]

from contracts.config import Config, Model
from contracts.quantities import seconds

FLOWS = ("learn", "retrain", "watch", "promote", "approve")
_HEAD = """\
# Written by `tiltyard prefect-yaml`: the flows of {models} as deployments of the work pool "{pool}".
#
#   prefect work-pool create --type process {pool}    (where there is none)
#   prefect deploy --all
#   prefect worker start --pool {pool}
#
# Workers need Tiltyard installed, the state folder and tiltyard.toml, and TILTYARD_* in their environment. A worker
# that runs `learn` keeps it running for as long as it lives; `tiltyard up` without Prefect is not needed beside it.
"""
# Counted from a fixed moment, so that a restart neither repeats nor postpones a nightly run.
_ANCHOR = datetime(2024, 1, 1, tzinfo=UTC).isoformat()


def text(config: Config, pool: str) -> str:
    """The file for `prefect deploy --all`."""
    deployments = [_deployment(flow, name, model, pool) for name, model in config.models.items() for flow in FLOWS]
    body = {"name": "tiltyard", "pull": None, "deployments": deployments}
    return _HEAD.format(models=", ".join(config.models), pool=pool) + str(yaml.safe_dump(body, sort_keys=False))


def _deployment(flow: str, name: str, model: Model, pool: str) -> dict[str, Any]:
    return {
        "name": name,
        "entrypoint": f"flows.{flow}.{flow}",
        "parameters": {"model": name},
        "tags": ["tiltyard", name],
        "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},
        "schedules": _schedules(getattr(model.schedules, flow, "off")),
        "work_pool": {"name": pool},
    }


def _schedules(schedule: str) -> list[dict[str, Any]]:
    if schedule == "off":
        return []
    if " " in schedule.strip():
        return [{"cron": schedule}]
    return [{"interval": seconds(schedule), "anchor_date": _ANCHOR}]
