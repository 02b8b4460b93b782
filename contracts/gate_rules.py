"""The table [models.NAME.gate]: what a challenger must show, and what contradicts itself."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from contracts.quantities import ConfigError, Count, Duration, Fraction, Share, seconds
from contracts.schema import Feature, Label, Schema


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


def refuse_contradictions(at: str, gate: Gate, schema: Schema, loss: str) -> None:
    """Rules that cannot be followed together, or for this label. `at` is the table's name. Raises ConfigError."""
    for key in ("max_age", "maturity", "shadow_timeout", "max_latency"):
        seconds(getattr(gate, key))
    if gate.max_matured <= gate.min_matured:
        raise ConfigError(f"{at}.max_matured: must exceed min_matured ({gate.min_matured})")
    if gate.min_gain <= gate.margin:
        raise ConfigError(f"{at}.min_gain: must exceed margin ({gate.margin}), or every challenger is given up")
    if schema.label.is_regression == (loss in ("zero_one", "cost", "brier", "log", "auc")):
        raise ConfigError(f'{at}.loss: "{loss}" does not fit a {schema.label.task} label')
    _refuse_strange_loss(at, gate, schema.label)
    _refuse_strange_units(at, gate, {feature.name: feature for feature in schema.features})


def _refuse_strange_loss(at: str, gate: Gate, label: Label) -> None:
    if (gate.loss == "cost") != bool(gate.costs):
        raise ConfigError(f'{at}.costs: go with loss = "cost", one row of numbers for each true class')
    width = label.width
    if gate.costs and [len(row) for row in gate.costs] != [width] * width:
        raise ConfigError(f"{at}.costs: needs {width} rows of {width} numbers, in the order of label.classes")
    if gate.costs and len({cost for row in gate.costs for cost in row}) == 1:
        raise ConfigError(f"{at}.costs: are all the same; no answer would be better than another")
    if gate.guardrails and label.is_regression:
        raise ConfigError(f"{at}.guardrails: are losses of classes; this label is a value")
    if gate.loss == "auc" and label.task != "binary":
        raise ConfigError(f'{at}.loss: "auc" needs a binary label; this one is {label.task}')
    if gate.loss == "auc" and (gate.segments or gate.unit):
        raise ConfigError(f'{at}.loss: "auc" is counted in blocks of its own, without segments or units')


def _refuse_strange_units(at: str, gate: Gate, features: dict[str, Feature]) -> None:
    """What the gate is to count must be there to be counted."""
    for name in gate.segments:
        if name not in features or features[name].type not in ("category", "bool"):
            raise ConfigError(f'{at}.segments: "{name}" is no feature of type category or bool')
    if gate.unit is not None and gate.unit != "entity" and gate.unit not in features:
        raise ConfigError(f'{at}.unit: "{gate.unit}" is no feature, nor "entity"')
    if gate.correction_lag is not None:
        seconds(gate.correction_lag)
    if gate.unit_window is not None:
        seconds(gate.unit_window)
        if gate.unit is None:
            raise ConfigError(f"{at}.unit_window: needs gate.unit")
