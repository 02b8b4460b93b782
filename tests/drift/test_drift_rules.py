"""The table [models.NAME.drift] as people write it."""

from datetime import UTC, datetime

import pytest

from contracts.config import parse
from contracts.drift_rules import Drift, Period
from contracts.quantities import ConfigError

MODEL = """
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float"}
learners.linear = {algorithm = "linear"}
"""


def rules(text: str) -> Drift:
    return parse(f"{MODEL}\n[models.m.drift]\n{text}").models["m"].drift


def test_a_reference_is_the_training_set_a_season_or_a_period() -> None:
    """A period is written as TOML writes times, which need no quotes."""
    assert rules("").reference == "training"
    assert rules('reference = "season"\nseason = "7d"').season == "7d"
    period = rules("reference = {from = 2026-01-01T00:00:00Z, to = 2026-02-01T00:00:00+01:00}").reference
    assert isinstance(period, Period)
    assert period.end == datetime(2026, 1, 31, 23, tzinfo=UTC)
    assert parse(f'{MODEL}gate.season = "1d"\ndrift.reference = "season"').models["m"].drift.reference == "season"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("current_rows = 100", "drift.current_rows: is below min_rows"),
        ("reference_rows = 100", "drift.reference_rows: is below min_rows"),
        ('reference = "season"', "drift.season: .* needs its length"),
        ('reference = "season"\nseason = "0d"', "drift.season: .* needs its length"),
        ('current_span = "0s"', "drift.current_span: is no time"),
        ('reference = "seasons"', "drift.reference: Invalid"),
        ("reference = {from = 2026-01-01T00:00:00Z}", "drift.reference: .*`to`"),
        ("reference = {from = 2026-01-01T00:00:00, to = 2026-02-01T00:00:00Z}", "drift.reference.from: .*timezone"),
        ("reference = {from = 2026-03-01T00:00:00Z, to = 2026-02-01T00:00:00Z}", "drift.reference: ends before"),
    ],
)
def test_windows_that_can_never_be_filled_are_refused_by_name(text: str, told: str) -> None:
    """When the file is read, not when the first report is due."""
    with pytest.raises(ConfigError, match=told):
        rules(text)
