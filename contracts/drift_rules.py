"""The table [models.NAME.drift]: windows and thresholds."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.quantities import ConfigError, Count, Duration, Fraction, seconds

Moment = Annotated[
    datetime, Meta(tz=True, description="A date and time with its zone, without quotes: 2026-01-01T00:00:00Z.")
]


class Period(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"start": "from", "end": "to"}
):
    """A stretch of time: the questions asked from one moment up to another."""

    start: Moment
    end: Moment


class Drift(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Windows and threshold of the drift report."""

    reference: Literal["training", "season"] | Period = "training"
    """What the newest rows are compared with: what the champion was made from; the same hours of past seasons, so that
    a daily cycle is no drift (slow drift then is none either); or `{from = ..., to = ...}`."""
    season: Duration | None = None
    """Length of the cycle, such as "1d" or "7d", for reference = "season". Default: gate.season."""
    seasons: Count = 4
    """How many past ones make the reference."""
    reference_rows: Count = 5_000
    """A larger reference is compared by so many of its rows, drawn at random once for each champion."""
    current_rows: Count = 1_000
    current_span: Duration | None = None
    """Compare what was asked in the newest stretch of this length, in a sample of `current_rows` where that is more.
    Default: the newest `current_rows`."""
    min_rows: Count = 200
    """Rows that either window needs; below, distances are mostly chance, and there is no report."""
    threshold: Fraction = 0.1
    """Distance above which a column has drifted: normalised Wasserstein for numbers, Jensen-Shannon for categories."""
    share: Fraction = 0.5
    """Share of drifted columns that makes the report an alarm."""
    false_alarms_per_30d: Annotated[float, Meta(ge=0.25, le=100)] = 1.0
    """How many alarms in 30 days may be false, on average. Thresholds for the champion's loss are simulated on its own
    past; the rarer false alarms may be, the longer that must be: 28 days for one, 112 for a quarter of one."""
    detectors: tuple[Literal["adwin", "page_hinkley", "kswin"], ...] = ("adwin", "page_hinkley")
    """River's detectors on the champion's loss, with their defaults. They know no budget: what they find is a warning.
    "kswin" costs as much as joining a label does."""


def refuse_contradictions(at: str, rules: Drift, gate_season: str | None) -> None:
    """Windows that can never be filled. `at` is the table's name. Raises ConfigError."""
    for key in ("reference_rows", "current_rows"):
        if getattr(rules, key) < rules.min_rows:
            raise ConfigError(f"{at}.{key}: is below min_rows ({rules.min_rows}); no report would ever be made")
    if isinstance(rules.reference, Period) and rules.reference.start >= rules.reference.end:
        raise ConfigError(f"{at}.reference: ends before it begins; `from` must come before `to`")
    if rules.current_span is not None and not seconds(rules.current_span):
        raise ConfigError(f"{at}.current_span: is no time at all")
    if rules.reference != "season":
        return
    season = rules.season or gate_season
    if season is None or not seconds(season):
        raise ConfigError(f'{at}.season: reference = "season" needs its length, such as "1d", here or as gate.season')
