"""`tiltyard.toml`: the models, how each learns, what promotes, when, and who hears of it.

Unknown keys are refused with the nearest right one, before any value is looked at.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from contracts import drift_rules, mail_rules, retrain_rules
from contracts.drift_rules import Drift
from contracts.gate_rules import DECIDING, Gate, refuse_contradictions
from contracts.known_keys import convert, nearest, refuse_unknown
from contracts.mail_rules import Mail
from contracts.quantities import ConfigError, Count, Duration, Schedule, seconds
from contracts.retrain_rules import Retrain
from contracts.schema import Feature, FeatureType, Label, Schema

_FEATURE = r"^(float|int|bool|category)\??$"
_BUILD = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"

FeatureSpec = Annotated[
    str, Meta(pattern=_FEATURE, description='float, int, bool or category; with "?" it may be missing.')
]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}$", description="Lower case, digits, - and _.")]


class Learner(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thing that learns this model: `online` from every label, `batch` refitted on a window of the log."""

    algorithm: str = ""
    """A name from `learners.catalogue`, such as linear, hoeffding_tree or hist_gradient_boosting."""
    learner: Annotated[str, Meta(extra_json_schema={"pattern": _BUILD})] | None = None
    """Instead of `algorithm`: "package.module:build" of your own, called as build(schema, params, seed), found beside
    tiltyard.toml or on Python's path. It gives a River estimator, or with kind = "batch" a scikit-learn one."""
    kind: Literal["online", "batch"] = "online"
    params: dict[str, Any] = {}
    seed: int = 0
    memory_mb: Count = 2048
    """An online learner whose process grows beyond this is benched; its last revision goes on serving."""
    mini_batch: Annotated[int, Meta(ge=2, le=10_000)] | None = None
    """Learn so many labels in one step, where the estimator has learn_many. Faster from a few hundred on, but a
    gradient is then the mean over the batch, and labels wait until there are enough for a step."""

    def __post_init__(self) -> None:
        if bool(self.algorithm) == (self.learner is not None):
            had = "both" if self.algorithm else "neither"
            raise ValueError(f'has {had} of algorithm = "..." and learner = "package.module:build"; give one of them')
        if self.learner is not None and not re.fullmatch(_BUILD, self.learner):
            raise ValueError(f'learner: "{self.learner}" names no function; write "package.module:build"')
        if self.mini_batch is not None and self.kind == "batch":
            raise ValueError('mini_batch: is for kind = "online"; a batch learner is fitted on a whole window')

    @property
    def named(self) -> str:
        """The algorithm, or the builder of one's own: for logs, lineage and messages."""
        return self.algorithm or str(self.learner)


class Schedules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the flows run. `learn` is long-lived: its schedule only restarts it."""

    learn: Schedule = "1m"
    retrain: Schedule = "24h"
    watch: Schedule = "1h"
    promote: Schedule = "5m"


class Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What counts as a prediction's label, and until when."""

    combine: Literal["latest", "first", "majority", "mean"] = "latest"
    """Which label counts when several were given for one prediction: the newest, the first, the one given most often
    (the newest of equals), or, for values, their mean."""
    on_timeout: Literal["drop", "negative"] = "drop"
    """A prediction without a label after `gate.maturity`: no example, or, in a binary task, one of the first class."""
    correct_every: Duration = "1m"
    """Corrections that come within this time are learned in one replay."""
    snapshots_mb: Count = 4096
    """Disk for the states that replays start from, for each learner."""


class Safeguards(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a revision must pass before it may answer. A refused one is shown, and the last good one goes on serving."""

    anchor_rows: Count = 256
    """Size of the sample, frozen at its first rows, on which a revision is compared with the one before it."""
    max_change: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Largest mean change of the scores on those rows: share of the probability that moved (total variation), or the
    change of the value in standard deviations of the labels seen."""
    hold: Duration = "1h"
    """After this time a larger change is published all the same, since the world may really have changed; and before
    it, once as many labels again were learned as the published revision had."""


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model: what it is asked, what it answers, and how it stays good."""

    features: Annotated[dict[str, FeatureSpec], Meta(min_length=1)]
    label: Label
    learners: Annotated[dict[Name, Learner], Meta(min_length=1)]
    title: str = ""
    gate: Gate = Gate()
    schedules: Schedules = Schedules()
    labels: Labels = Labels()
    safeguards: Safeguards = Safeguards()
    retrain: Retrain = Retrain()
    drift: Drift = Drift()
    mail: Mail = Mail()
    label_horizon: Duration = "30d"
    """How long a prediction waits for feedback before it expires from the streams."""

    @property
    def schema(self) -> Schema:
        features = tuple(_feature(name, spec) for name, spec in self.features.items())
        return Schema(features, self.label)

    @property
    def loss(self) -> str:
        return self.gate.loss or ("absolute" if self.label.is_regression else "zero_one")

    def learners_of(self, kind: Literal["online", "batch"]) -> dict[str, Learner]:
        return {name: learner for name, learner in self.learners.items() if learner.kind == kind}


def _feature(name: str, spec: str) -> Feature:
    kind: FeatureType = spec.rstrip("?")  # type: ignore[assignment]  # the pattern admits only these
    return Feature(name, kind, optional=spec.endswith("?"))


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    models: Annotated[dict[Name, Model], Meta(min_length=1)]

    def model(self, name: str) -> Model:
        """Raises ConfigError naming the nearest model."""
        if name not in self.models:
            raise ConfigError(f'there is no model "{name}"{nearest(name, self.models)}')
        return self.models[name]


def load(path: Path) -> Config:
    """The configuration in a TOML file. Raises ConfigError with the path and the key.

    Where a model has a learner of its own, the file's folder joins Python's path: its module is needed again to read
    a checkpoint.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; write one with `tiltyard init`") from None
    try:
        config = parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    folder = str(path.absolute().parent)
    # Last on the path, so that a file beside tiltyard.toml cannot take the place of an installed module.
    if folder not in sys.path and any(one.learner for m in config.models.values() for one in m.learners.values()):
        sys.path.append(folder)
    return config


def parse(text: str) -> Config:
    """The configuration in TOML text. Raises ConfigError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}") from None
    return read(raw)


def read(raw: dict[str, Any]) -> Config:
    """The configuration in the tables of a TOML file. Raises ConfigError."""
    refuse_unknown(raw, Config, "")
    tables = raw.get("models")
    if not isinstance(tables, dict) or not tables:
        raise ConfigError("there is no model: add a table [models.NAME], or write a file with `tiltyard init`")
    models = {name: _model(name, table) for name, table in tables.items()}
    return Config(models=models)


def _model(name: str, table: object) -> Model:
    convert(name, Name, f"models.{name}")
    learners = table.get("learners") if isinstance(table, dict) else None
    for key, one in learners.items() if isinstance(learners, dict) else ():
        convert(one, Learner, f"models.{name}.learners.{key}")  # by itself: msgspec tells no dictionary's key
    model: Model = convert(table, Model, f"models.{name}")
    _refuse_contradictions(f"models.{name}", model)
    if model.gate.dry_run:
        _refuse_contradictions(f"models.{name}", msgspec.structs.replace(model, gate=_tried(name, model.gate)))
    return model


def _tried(name: str, gate: Gate) -> Gate:
    """The rules of a dry run. Raises ConfigError."""
    at = f"models.{name}.gate.dry_run"
    refuse_unknown(gate.dry_run, Gate, at)
    if other := sorted(gate.dry_run.keys() - DECIDING):
        raise ConfigError(f"{at}.{other[0]}: makes other evidence, which only `tiltyard what-if` weighs anew")
    more = gate.dry_run.get("guardrails", {})
    convert(gate.dry_run, Gate, at)
    if isinstance(more, dict) and more.keys() - gate.guardrails.keys():
        raise ConfigError(f"{at}.guardrails: only their tolerances can be tried; add the loss to gate.guardrails too")
    rules = gate.tried
    assert rules is not None
    return rules


def _refuse_contradictions(at: str, model: Model) -> None:
    refuse_contradictions(f"{at}.gate", model.gate, model.schema, model.loss)
    drift_rules.refuse_contradictions(f"{at}.drift", model.drift, model.gate.season)
    mail_rules.refuse_contradictions(f"{at}.mail", model.mail)
    retrain_rules.refuse_contradictions(f"{at}.retrain", model.retrain, model.loss)
    if seconds(model.label_horizon) <= seconds(model.gate.maturity):
        raise ConfigError(f"{at}.label_horizon: must exceed gate.maturity, or predictions expire before they count")
    labels = model.labels
    if labels.combine == "mean" and not model.label.is_regression:
        raise ConfigError(f'{at}.labels.combine: "mean" is for values; classes have "latest", "first" or "majority"')
    if labels.combine == "majority" and model.label.is_regression:
        raise ConfigError(f'{at}.labels.combine: "majority" is for classes; values have "latest", "first" or "mean"')
    if labels.on_timeout == "negative" and model.label.task != "binary":
        raise ConfigError(f'{at}.labels.on_timeout: "negative" needs a binary label; this one is {model.label.task}')


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Config)}
