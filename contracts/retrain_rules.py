"""The table [models.NAME.retrain]: what batch learners are fitted on."""

import msgspec

from contracts.quantities import Count, Fraction


class Retrain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What batch learners are fitted on."""

    window_rows: Count = 50_000
    min_rows: Count = 500
    holdout: Fraction = 0.2
    """Newest share of the window, never fitted on: metrics and parity come from it."""
