"""`tiltyard.toml`: the models, how each learns, what promotes, when, and who hears of it.

Unknown keys are refused with the nearest right one, before any value is looked at.
"""

import difflib
import re
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from contracts.schema import Feature, FeatureType, Label, Schema

_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = r"^(\d+(\.\d+)?)(ms|s|m|h|d)$"
_FEATURE = r"^(float|int|bool|category)\??$"
_CRON = r"^(\S+\s+){4}\S+$"
_BUILD = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"

Duration = Annotated[str, Meta(pattern=_DURATION, description='A number and a unit: "30s", "5m", "24h", "7d".')]
Schedule = Annotated[
    str,
    Meta(pattern=f"{_DURATION}|{_CRON}|^off$", description='An interval ("10m"), a cron line ("0 3 * * *"), or "off".'),
]
FeatureSpec = Annotated[
    str, Meta(pattern=_FEATURE, description='float, int, bool or category; with "?" it may be missing.')
]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}$", description="Lower case, digits, - and _.")]
Fraction = Annotated[float, Meta(gt=0, lt=1)]
Share = Annotated[float, Meta(gt=0, le=1)]
Count = Annotated[int, Meta(ge=1)]


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the key and what to do."""


def seconds(duration: str) -> float:
    """Seconds in "30s", "5m", "24h" or "7d". Raises ConfigError."""
    match = re.fullmatch(_DURATION, duration)
    if match is None:
        raise ConfigError(f'"{duration}" is not a duration: write a number and a unit, as in "30s", "5m", "24h", "7d"')
    return float(match[1]) * _UNITS_S[match[3]]


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


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a challenger has earned the championship. Defaults and reasons: DESIGN.md, "The gate"."""

    alpha: Fraction = 0.05
    """Chance of one false promotion per champion tenure, however often one looks."""
    slots: Count = 4
    """Challengers that share alpha within a tenure."""
    margin: Annotated[float, Meta(gt=-1, lt=1)] = 0.0
    """Win by more than this share of the loss range; negative is non-inferiority."""
    min_gain: Annotated[float, Meta(gt=0, lt=1)] = 0.005
    """A challenger that cannot be this much better is given up."""
    min_matured: Count = 500
    max_matured: Count = 50_000
    max_age: Duration = "30d"
    season: Duration | None = None
    """Length of the traffic's cycle; decisions then fall on whole cycles only."""
    loss: Literal["zero_one", "cost", "brier", "log", "auc", "absolute", "squared"] | None = None
    """Default: zero_one for classes, absolute for values. "auc" compares rankings, in blocks of one positive and some
    negatives."""
    costs: tuple[tuple[float, ...], ...] = ()
    """For cost loss, in class order: costs[i][j] is that of answering class j where class i is true."""
    clip: Annotated[float, Meta(gt=0)] | None = None
    """Largest error that counts, for absolute and squared loss, in label units. Default: the champion's 99th
    percentile of absolute error over its first labels, fixed for its tenure."""
    maturity: Duration = "10m"
    """How long a prediction waits for its label before it becomes evidence; must exceed the slowest class's delay."""
    shadow_timeout: Duration = "10s"
    """How long a label waits for the shadow scores of its prediction, before the pair counts as uncovered."""
    guardrails: dict[Literal["zero_one", "brier", "log"], Share] = {}
    """Other losses that must not suffer: by how much at most, as a share of their range."""
    segments: tuple[str, ...] = ()
    """Categorical or bool features: a challenger that is shown worse where one has some value is not promoted."""
    min_coverage: Annotated[float, Meta(ge=0, le=1)] = 0.8
    """Share of the questions on which versions may differ that must have labels. Set 0 only where labels are given to a
    random sample."""
    unit: str | None = None
    """What counts once as evidence, however often it asks: a feature's name, or "entity". Default: each question."""
    unit_window: Duration | None = None
    """Within this long; default: the whole tenure."""
    correction_lag: Duration | None = None
    """How long labels go on being corrected. Before a promotion the share of labels that is, taken of the wins that are
    younger than this, counts as lost. Default: corrections move evidence when they come."""
    approval: Literal["automatic", "person"] = "automatic"
    """Whether a challenger that has won takes over at once, or asks a person first. A rollback never asks."""
    cool_down: Duration = "0s"
    """No promotion by the gate for so long after any change of champion; a rollback never waits. The evidence of a new
    tenure starts from nothing anyway, so that this is for whoever else needs time to see what a change does."""
    hand_moves: Literal["follow", "reverse"] = "follow"
    """When somebody moves the champion alias in MLflow: let that version answer, if it can, or move the alias back."""
    bootstrap_labels: Count = 200
    """Labels a learner must have seen to replace the prior, when there is no champion yet."""
    max_failures: Share = 0.01
    """A champion that leaves more than this share of its questions without an answer, or takes longer than
    `max_latency` for more than this share, is rolled back at once. 1: never."""
    max_latency: Duration = "100ms"
    """Longest that a version may compute on what is asked together."""
    max_class_shift: Share = 0.35
    """A champion whose share of answers of one class jumps by more than this, against what the version before it
    answers to the same questions, is rolled back at once. 1: never."""

    dry_run: dict[str, Any] = {}
    """Rules to try beside these, on the same evidence: what they would decide is told, and never carried out."""

    @property
    def tried(self) -> "Gate | None":
        """These rules with those of the dry run in their place; None without any."""
        if not self.dry_run:
            return None
        rules: Gate = msgspec.convert(msgspec.to_builtins(self) | {"dry_run": {}} | self.dry_run, Gate)
        return rules


DECIDING = frozenset({"alpha", "slots", "margin", "min_gain", "min_matured", "max_matured", "max_age", "season",
                      "min_coverage", "guardrails", "approval", "cool_down"})  # fmt: skip
"""Rules that a dry run may change: the others make other evidence, which only `tiltyard what-if` can weigh anew."""


class Schedules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the flows run. `learn` is long-lived: its schedule only restarts it."""

    learn: Schedule = "1m"
    retrain: Schedule = "24h"
    watch: Schedule = "1h"
    promote: Schedule = "5m"


class Retrain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What batch learners are fitted on."""

    window_rows: Count = 50_000
    min_rows: Count = 500
    holdout: Fraction = 0.2
    """Newest share of the window, never fitted on: metrics and parity come from it."""


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


class Drift(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Windows and threshold of the drift report."""

    reference_rows: Count = 5_000
    current_rows: Count = 1_000
    min_rows: Count = 200
    threshold: Fraction = 0.1
    """Distance above which a column has drifted: normalised Wasserstein for numbers, Jensen-Shannon for categories."""
    share: Fraction = 0.5
    """Share of drifted columns that makes the report an alarm."""


class Mail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who gets reports and decisions; without TILTYARD_SMTP_URL they go to the outbox folder."""

    recipients: tuple[str, ...] = ()
    when: Literal["always", "drift"] = "drift"
    """Which drift reports: all of them, or alarms."""
    decisions: bool = True
    """Also why a version was promoted, rolled back, retired, given up, or kept back though it has won."""


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
            raise ConfigError(f'there is no model "{name}"{_nearest(name, self.models)}')
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
    _refuse_unknown(raw, Config, "")
    tables = raw.get("models")
    if not isinstance(tables, dict) or not tables:
        raise ConfigError("there is no model: add a table [models.NAME], or write a file with `tiltyard init`")
    models = {name: _model(name, table) for name, table in tables.items()}
    return Config(models=models)


def _model(name: str, table: object) -> Model:
    _convert(name, Name, f"models.{name}")
    learners = table.get("learners") if isinstance(table, dict) else None
    for key, one in learners.items() if isinstance(learners, dict) else ():
        _convert(one, Learner, f"models.{name}.learners.{key}")  # by itself: msgspec tells no dictionary's key
    model: Model = _convert(table, Model, f"models.{name}")
    _refuse_contradictions(f"models.{name}", model)
    if model.gate.dry_run:
        _refuse_contradictions(f"models.{name}", msgspec.structs.replace(model, gate=_tried(name, model.gate)))
    return model


def _tried(name: str, gate: Gate) -> Gate:
    """The rules of a dry run. Raises ConfigError."""
    at = f"models.{name}.gate.dry_run"
    _refuse_unknown(gate.dry_run, Gate, at)
    if other := sorted(gate.dry_run.keys() - DECIDING):
        raise ConfigError(f"{at}.{other[0]}: makes other evidence, which only `tiltyard what-if` weighs anew")
    more = gate.dry_run.get("guardrails", {})
    _convert(gate.dry_run, Gate, at)
    if isinstance(more, dict) and more.keys() - gate.guardrails.keys():
        raise ConfigError(f"{at}.guardrails: only their tolerances can be tried; add the loss to gate.guardrails too")
    rules = gate.tried
    assert rules is not None
    return rules


def _convert(raw: object, kind: Any, at: str) -> Any:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise ConfigError(f"{at}{path.rstrip('`')}: {reason}") from None


def _refuse_unknown(raw: object, kind: Any, at: str) -> None:
    """Walks the raw tables beside the types, so that the first wrong key is named with its nearest right one."""
    info = msgspec.inspect.type_info(kind)
    if isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if not isinstance(raw, dict):
        return
    if isinstance(info, msgspec.inspect.StructType):
        fields = {field.encode_name: field.type for field in info.fields}
        for key, value in raw.items():
            where = f"{at}.{key}" if at else key
            if key not in fields:
                raise ConfigError(f'unknown key "{where}"{_nearest(key, fields)}')
            _walk(value, fields[key], where)
    elif isinstance(info, msgspec.inspect.DictType):
        for key, value in raw.items():
            _walk(value, info.value_type, f"{at}.{key}" if at else key)


def _walk(raw: object, info: msgspec.inspect.Type, at: str) -> None:
    if isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if isinstance(info, msgspec.inspect.StructType):
        _refuse_unknown(raw, info.cls, at)
    elif isinstance(info, msgspec.inspect.DictType) and isinstance(raw, dict):
        for key, value in raw.items():
            _walk(value, info.value_type, f"{at}.{key}")


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f'; did you mean "{close[0]}"?' if close else f"; known are {', '.join(sorted(known))}"


def _refuse_contradictions(at: str, model: Model) -> None:
    gate = model.gate
    for key in ("max_age", "maturity", "shadow_timeout", "max_latency"):
        seconds(getattr(gate, key))
    if seconds(model.label_horizon) <= seconds(gate.maturity):
        raise ConfigError(f"{at}.label_horizon: must exceed gate.maturity, or predictions expire before they count")
    if gate.max_matured <= gate.min_matured:
        raise ConfigError(f"{at}.gate.max_matured: must exceed min_matured ({gate.min_matured})")
    if gate.min_gain <= gate.margin:
        raise ConfigError(f"{at}.gate.min_gain: must exceed margin ({gate.margin}), or every challenger is given up")
    labels = model.labels
    if labels.combine == "mean" and not model.label.is_regression:
        raise ConfigError(f'{at}.labels.combine: "mean" is for values; classes have "latest", "first" or "majority"')
    if labels.combine == "majority" and model.label.is_regression:
        raise ConfigError(f'{at}.labels.combine: "majority" is for classes; values have "latest", "first" or "mean"')
    if labels.on_timeout == "negative" and model.label.task != "binary":
        raise ConfigError(f'{at}.labels.on_timeout: "negative" needs a binary label; this one is {model.label.task}')
    classes = not model.label.is_regression
    if classes != (model.loss in ("zero_one", "cost", "brier", "log", "auc")):
        raise ConfigError(f'{at}.gate.loss: "{model.loss}" does not fit a {model.label.task} label')
    _refuse_strange_evidence(at, model)


def _refuse_strange_evidence(at: str, model: Model) -> None:
    """What the gate is to count must be there to be counted."""
    gate, features = model.gate, {feature.name: feature for feature in model.schema.features}
    if (gate.loss == "cost") != bool(gate.costs):
        raise ConfigError(f'{at}.gate.costs: go with loss = "cost", one row of numbers for each true class')
    width = model.label.width
    if gate.costs and [len(row) for row in gate.costs] != [width] * width:
        raise ConfigError(f"{at}.gate.costs: needs {width} rows of {width} numbers, in the order of label.classes")
    if gate.costs and len({cost for row in gate.costs for cost in row}) == 1:
        raise ConfigError(f"{at}.gate.costs: are all the same; no answer would be better than another")
    if gate.guardrails and model.label.is_regression:
        raise ConfigError(f"{at}.gate.guardrails: are losses of classes; this label is a value")
    if gate.loss == "auc" and model.label.task != "binary":
        raise ConfigError(f'{at}.gate.loss: "auc" needs a binary label; this one is {model.label.task}')
    if gate.loss == "auc" and (gate.segments or gate.unit):
        raise ConfigError(f'{at}.gate.loss: "auc" is counted in blocks of its own, without segments or units')
    for name in gate.segments:
        if name not in features or features[name].type not in ("category", "bool"):
            raise ConfigError(f'{at}.gate.segments: "{name}" is no feature of type category or bool')
    if gate.unit is not None and gate.unit != "entity" and gate.unit not in features:
        raise ConfigError(f'{at}.gate.unit: "{gate.unit}" is no feature, nor "entity"')
    if gate.correction_lag is not None:
        seconds(gate.correction_lag)
    if gate.unit_window is not None:
        seconds(gate.unit_window)
        if gate.unit is None:
            raise ConfigError(f"{at}.gate.unit_window: needs gate.unit")


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Config)}
