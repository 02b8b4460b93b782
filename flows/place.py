"""What every flow of one model works with, opened once at its entry point."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from contracts import config, events, settings, streams
from contracts.config import Config, Model
from contracts.facts import LearnFacts
from contracts.log import Examples, Log
from contracts.quantities import seconds
from contracts.releases import Releases
from contracts.schema import Schema
from contracts.settings import Settings
from contracts.streams import Streams
from registry.ledger import Ledger
from registry.promotion import Roles
from registry.versions import Registry


@dataclass(frozen=True)
class Place:
    """One model's configuration, streams, releases, log and roles."""

    name: str
    model: Model
    schema: Schema
    settings: Settings
    client: redis.Redis
    streams: Streams
    releases: Releases
    log: Log
    registry: Registry
    roles: Roles

    @property
    def checkpoint_folder(self) -> Path:
        return self.settings.checkpoint_folder / self.name

    @property
    def journal_folder(self) -> Path:
        return self.settings.journal_folder / self.name

    @property
    def reference_folder(self) -> Path:
        """Samples of what champions were made from, kept between drift reports."""
        return self.settings.report_folder / self.name / "references"

    def examples(self, last: int, now: float) -> Examples:
        """The newest labelled predictions of the log, with the labels that count by the configuration."""
        return self.log.examples(last, rule=self.model.labels.combine, negative_before=self._timed_out(now))

    def labels_of(self, offsets: Sequence[int], now: float) -> dict[int, str | float]:
        """The label that counts of each of these predictions, by offset; absent without one."""
        return self.log.labels_of(offsets, self.model.labels.combine, self._timed_out(now))

    def _timed_out(self, now: float) -> int:
        """Offset below which a prediction without a label is a negative one; -1 where it is none."""
        maturity_s = seconds(self.model.gate.maturity)
        return events.span(now - maturity_s) if self.model.labels.on_timeout == "negative" else -1

    def is_online(self, version: int | None) -> bool:
        """Whether a version goes on learning."""
        manifest = None if version is None else self.releases.manifest(version)
        return manifest is not None and manifest.kind == "online"

    def learn_facts(self) -> LearnFacts | None:
        """What the learn loop made known last, or None before its first checkpoint."""
        return self.streams.fact("learn", LearnFacts)


def open_place(name: str, model: Model, chosen: Settings, client: redis.Redis | None = None) -> Place:
    client = client or streams.connect(chosen.redis_url)
    schema = model.schema
    log, flow = Log(chosen.log_folder, name, schema), Streams(client, name)
    registry = Registry(chosen.mlflow_url, name)
    roles = Roles(registry, Ledger(log, flow), model.gate.slots, model.gate.hand_moves)
    return Place(name, model, schema, chosen, client, flow, Releases(client, name), log, registry, roles)


def read_configuration() -> tuple[Config, Settings]:
    """The models and addresses of this process, from its environment. Raises config.ConfigError."""
    chosen = settings.from_environment()
    return config.load(chosen.config), chosen


def place_named(name: str) -> Place:
    """One model's place, from this process's environment, for a flow run. Raises config.ConfigError."""
    for ours in ("flows", "learners", "drift", "registry"):
        logging.getLogger(ours).setLevel(logging.INFO)  # one line per decision; Prefect shows them with the run
    models, chosen = read_configuration()
    return open_place(name, models.model(name), chosen)
