"""`tiltyard promote` and `rollback`: a person decides who answers, and says why."""

import time
from pathlib import Path

import msgspec

from contracts import config
from contracts.config import Config
from contracts.facts import ServingFacts
from contracts.quantities import ConfigError
from contracts.streams import Streams
from flows.place import Place, open_place
from registry.promotion import Stale
from tiltyard import instance
from tiltyard.person import person, wanted_reason

_SERVED_WITHIN_S = 10.0


def promote(state: Path | None, model: str | None, version: int, reason: str) -> str:
    """Makes a version the champion. Raises ConfigError, registry's exceptions, or redis.RedisError."""
    roles = place(state, model).roles
    board = roles.releases.board()
    if board.champion == version:
        raise Stale(f"version {version} of {roles.model} answers already")
    line = roles.promote(version, wanted_reason(reason), cause=person())
    return f"Version {version} of {roles.model} answers (ledger line {line.seq}). {_served(roles.streams, version)}"


def roll_back(state: Path | None, model: str | None, to: int | None, reason: str) -> str:
    """Takes the championship from the champion and bars it. Raises as `promote` does."""
    roles = place(state, model).roles
    champion = roles.releases.board().champion
    if not champion:
        raise Stale(f"no registered version of {roles.model} answers yet, so there is nothing to roll back")
    line = roles.roll_back(champion, wanted_reason(reason), to=to, cause=person())
    heir = roles.releases.board().champion
    told = f"Version {champion} of {roles.model} is barred, version {heir} answers (ledger line {line.seq})."
    return f"{told} {_served(roles.streams, heir)}"


def choose(models: Config, name: str | None) -> str:
    """The named model, or the only one. Raises ConfigError."""
    if name is None and len(models.models) > 1:
        raise ConfigError(f"name one with --model: there are {', '.join(sorted(models.models))}")
    chosen = name or next(iter(models.models))
    models.model(chosen)
    return chosen


def place(state: Path | None, model: str | None) -> Place:
    """The model that is named, or the only one, of the instance in a state folder. Raises ConfigError."""
    chosen = instance.find(state)
    models = config.load(chosen.config)
    name = choose(models, model)
    return open_place(name, models.model(name), chosen)


def _served(kept: Streams, version: int | None) -> str:
    """Waits until a serving process says that it answers with a version."""
    began = time.monotonic()
    while time.monotonic() - began < _SERVED_WITHIN_S:
        if version in _serving_versions(kept):
            return f"Serving confirmed it after {time.monotonic() - began:.1f} s."
        time.sleep(0.1)
    return f"No serving process has confirmed it within {_SERVED_WITHIN_S:g} s: look at `tiltyard status`."


def _serving_versions(kept: Streams) -> set[int | None]:
    facts = kept.facts().items()
    found = [msgspec.json.decode(fact, type=ServingFacts) for name, fact in facts if name.startswith("serving:")]
    return {one.version for one in found}
