"""What is known of the fits of batch learners: the fact `retrain` of a model, from which the next look decides."""

import msgspec


class FitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One fit of a batch learner."""

    version: int
    through: float
    """Labelled predictions that there had been when it was made."""
    offset: int = -1
    """Of the newest of them: it is scored on later ones."""
    rows: int
    """It was fitted on so many."""
    seconds: float = 0.0
    """CPU time of the fit."""
    at: float = 0.0


class BlockFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Labelled predictions that came between two looks."""

    through: float
    """As of `FitFacts.through`."""
    offset: int = -1
    """Of the newest."""
    n: int
    losses: dict[int, float]
    """Mean loss of each fit that was not fitted on them, by version."""


class ForecastFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a fit was expected to save, mean loss per prediction, and what it saved."""

    gain: float
    lower: float
    upper: float
    loss: float
    """Of the fit before it, on the last labels before."""
    regret: float
    """What a fresh fit would have saved since the fit before it, in loss summed over predictions."""


class LearnerFits(msgspec.Struct, frozen=True, kw_only=True):
    """The fits of one batch learner."""

    fits: tuple[FitFacts, ...] = ()
    """Oldest first."""
    blocks: tuple[BlockFacts, ...] = ()
    """Oldest first."""
    errors: tuple[float, ...] = ()
    """Of past forecasts, oldest first: truth minus forecast, as a share of the loss then."""
    awaited: ForecastFacts | None = None
    """Of the newest fit, until its truth is known."""
    saved_s: float = 0.0
    """Seconds of training that `retrain.max_share` allows by now."""
    bar: float = 0.0
    """Loss that must have been lost since the last fit for the next to be worth such seconds (`drift.benefit`)."""
    sentence: str = ""
    """Whether a fit was due at the last look, and why."""


class RetrainFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The fits of all batch learners of a model, as of the last look at whether one is due."""

    at: float
    learners: dict[str, LearnerFits]
