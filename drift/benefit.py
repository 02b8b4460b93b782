"""Whether a fresh fit is worth its seconds: when the regret since the last one has reached what it costs.

Where the loss saved by a fresh fit grows evenly with age, gain = b t, fitting at every T costs C / T + b T / 2 per
prediction, which is least where b T^2 / 2, the regret since the last fit, equals C. Where it jumps instead, waiting
for that costs at most twice what hindsight would have (ski rental: Karlin et al. 1994, "Competitive randomized
algorithms for nonuniform problems"). Weighing staleness against the cost of training is Mahadevan and Mathioudakis
(2024), "Cost-aware retraining for machine learning", and Zliobaite et al. (2015), "Towards cost-sensitive adaptation".
"""

import math

import msgspec

from contracts.fits import BlockFacts, FitFacts, ForecastFacts, LearnerFits
from contracts.retrain_rules import Retrain
from drift import forecast

_STEP = 0.5
"""How fast the bar follows: it rises by a half with each fit, and sinks by an eighth with each look at a share of a
quarter. So the seconds go where they save most, at about the share that is allowed."""
_FIRST, _MOST = 2.0, 6.0  # fits that may be saved up for: at the beginning, when there is most to learn, and later


class Verdict(msgspec.Struct, frozen=True):
    """Whether a fit is due for its benefit, why, and what the next look goes on with."""

    due: bool
    sentence: str
    saved_s: float
    """Seconds that may be spent, those of a fit that is due taken off."""
    bar: float
    """Regret that a fit must have reached, whatever it costs."""


def seconds_of(newest: FitFacts, rows: int) -> float:
    """What a fit on so many rows would take, by what the newest took."""
    return newest.seconds * rows / newest.rows


def went_on(known: LearnerFits, block: BlockFacts) -> LearnerFits:
    """With a block of labels that came since: the forecast of the newest fit learns what it really saved."""
    awaited, errors = known.awaited, known.errors
    if awaited is not None and len(known.fits) > 1:
        truth = forecast.saved(known.fits[-2].version, known.fits[-1].version, block)
        if truth is not None:
            errors = (*errors, forecast.share_missed(awaited, truth))[-forecast.KEPT :]
            awaited = None
    blocks = (*known.blocks, block)[-forecast.KEPT :]
    return msgspec.structs.replace(known, blocks=blocks, errors=errors, awaited=awaited)


def decide(known: LearnerFits, told: ForecastFacts, cost_s: float, rules: Retrain) -> Verdict:
    """Whether to fit now. `cost_s` are the seconds of training that it would take; `rules.price` must be set."""
    assert rules.price is not None
    share = rules.max_share
    allowed = known.saved_s + share * cost_s if known.blocks[1:] else _FIRST * cost_s
    allowed = min(allowed, _MOST * cost_s)
    price = rules.price * cost_s
    due = told.regret >= max(price, known.bar) and allowed >= cost_s
    bar = 0.0
    if share < 1:
        bar = (told.regret if due and known.bar == 0 else known.bar) * math.exp(_STEP * (due - share))
    return Verdict(due, _told(told, price, cost_s, known.bar, allowed, due), allowed - due * cost_s, bar)


def _told(told: ForecastFacts, price: float, cost_s: float, bar: float, allowed: float, due: bool) -> str:
    saving = (
        f"a fresh fit would by now have saved {told.regret:.4g} in loss since the last one, "
        f"and {told.gain:.3g} a prediction from now on (80 % interval {told.lower:.3g} to {told.upper:.3g})"
    )
    cost = f"it costs {price:.4g} ({cost_s:.2g} s of training)"
    if due:
        return f"Due: {saving}; {cost}."
    if told.regret < price:
        return f"Not due: {saving}; {cost}."
    if allowed < cost_s:
        return f"Not due: {saving}; {cost}, and the seconds that retrain.max_share allows are spent."
    return f"Not due: {saving}; {cost}, and at retrain.max_share only what saves more than {bar:.4g} is worth it."
