"""The table [models.NAME.drift]: windows and thresholds."""

import msgspec

from contracts.quantities import Count, Fraction


class Drift(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Windows and threshold of the drift report."""

    reference_rows: Count = 5_000
    current_rows: Count = 1_000
    min_rows: Count = 200
    threshold: Fraction = 0.1
    """Distance above which a column has drifted: normalised Wasserstein for numbers, Jensen-Shannon for categories."""
    share: Fraction = 0.5
    """Share of drifted columns that makes the report an alarm."""
