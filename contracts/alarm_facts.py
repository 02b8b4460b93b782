"""What the watch makes known of a champion's loss: fact ``alarm``."""

from typing import Literal

import msgspec

Severity = Literal["none", "info", "warning", "alarm"]


class LossFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One loss, measured or estimated, at the newest look; losses are means, in units of the model's loss."""

    statistic: float
    threshold: float
    """What the statistic must reach. Where it is not `calibrated`, a bound that holds without knowing the past."""
    calibrated: bool
    basis: str
    """What the threshold was made of, in words."""
    expected: float | None = None
    """False alarms in 30 days that simulations gave at the threshold."""
    reference: tuple[float, float] | None = None
    """Epoch seconds: the past that the threshold was made of."""
    window_s: float = 0.0
    """The newest stretch over which the loss is farthest from its usual one."""
    loss: float | None = None
    usual: float | None = None
    since: float | None = None
    """Epoch second at which the standing alarm began; None while none stands."""


class AlarmFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at the newest look. An alarm needs a loss that moved; inputs that drift alone inform."""

    at: float
    version: int | None
    severity: Severity
    sentence: str
    budget: float
    """False alarms allowed in 30 days, `drift.false_alarms_per_30d`."""
    since: float | None = None
    """Epoch second at which the standing alarm began."""
    measured: LossFacts | None = None
    """Of matured labels."""
    estimated: LossFacts | None = None
    """Without labels, by calibrated confidence."""
    validity: str = ""
    """When the estimate may be believed, or why there is none."""
    detectors: dict[str, float] = {}
    """Of `drift.detectors`: how many labelled questions ago each last fired."""
    drifted: tuple[str, ...] = ()
    """Columns that moved, by the newest drift report."""
