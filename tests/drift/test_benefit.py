"""When a fresh fit is worth its seconds, on worlds in which that is known."""

import math
import random
from collections.abc import Callable

import msgspec
import pytest

from contracts.fits import BlockFacts, FitFacts, ForecastFacts, LearnerFits
from contracts.retrain_rules import Retrain
from drift import benefit, forecast

SIZE, SECONDS = 500, 1.0

Loss = Callable[[int, int, random.Random], float]
"""Mean loss, at a look, of the fit made at another look."""


def fit_at(look: int, rows: int = 10_000) -> FitFacts:
    return FitFacts(version=look, through=look * SIZE, rows=rows, seconds=SECONDS)


def played(loss: Loss, looks: int, rules: Retrain, seed: int = 0) -> tuple[list[int], list[bool]]:
    """The looks at which it fitted, and which forecasts held their truth."""
    rng = random.Random(seed)
    known, held = LearnerFits(fits=(fit_at(0),)), list[bool]()
    for look in range(1, looks):
        losses = {fit.version: loss(fit.version, look - 1, rng) for fit in known.fits[-forecast.COMPARED :]}
        block = BlockFacts(through=look * SIZE, n=SIZE, losses=losses)
        if known.awaited is not None:
            truth = forecast.saved(known.fits[-2].version, known.fits[-1].version, block)
            assert truth is not None
            held.append(known.awaited.lower <= truth <= known.awaited.upper)
        known = benefit.went_on(known, block)
        told = forecast.forecast(known.fits, known.blocks, known.errors, fit_at(look))
        verdict = benefit.decide(known, told, SECONDS, rules)
        known = msgspec.structs.replace(known, saved_s=verdict.saved_s, bar=verdict.bar)
        if verdict.due:
            known = msgspec.structs.replace(known, fits=(*known.fits, fit_at(look)), awaited=told)
    return [fit.version for fit in known.fits[1:]], held


def ageing(slope: float, noise: float = 0.002) -> Loss:
    return lambda fit, look, rng: 0.2 + slope * (look - fit) + rng.gauss(0, noise)


def priced(price: float, share: float = 1.0) -> Retrain:
    return Retrain(when=("benefit",), price=price, max_share=share)


def test_where_loss_grows_evenly_fits_come_about_as_often_as_is_cheapest() -> None:
    """The cost per look, price / T + slope T / 2 with T looks between fits, is within 5 % of its minimum."""
    slope, price = 0.004 * SIZE, 100.0
    fits, _ = played(ageing(slope / SIZE), 150, priced(price))
    late = [fit for fit in fits if fit > 50]
    period = (late[-1] - late[0]) / (len(late) - 1)
    assert price / period + slope * period / 2 <= 1.05 * math.sqrt(2 * price * slope)


def test_a_dearer_second_means_fewer_fits() -> None:
    """Twenty-five times the price, about a fifth of the fits."""
    cheap, _ = played(ageing(0.004), 120, priced(20.0))
    dear, _ = played(ageing(0.004), 120, priced(500.0))
    assert 3 < len(cheap) / len(dear) < 7


def test_where_nothing_ages_fits_die_out() -> None:
    """What a guess without evidence cost at the beginning is all that a still world costs."""
    fits, _ = played(ageing(0.0), 120, priced(20.0))
    assert len(fits) <= 12
    assert len([fit for fit in fits if fit >= 60]) <= 2


def test_a_jump_of_the_loss_that_fresh_fits_once_undid_is_answered_within_a_few_looks() -> None:
    """The rise itself is a reason, where a newer fit did better after an earlier rise."""

    def jumping(fit: int, look: int, rng: random.Random) -> float:
        missed = sum(1 for jump in (20, 60, 100, 140) if fit < jump <= look)
        return 0.2 + 0.15 * missed + rng.gauss(0, 0.002)

    fits, _ = played(jumping, 180, priced(100.0))
    for jump in (60, 100, 140):
        assert any(jump < fit <= jump + 6 for fit in fits), f"no fit soon after look {jump}: {fits}"


def test_no_more_seconds_than_the_allowed_share_and_two_fits_to_begin_with() -> None:
    """Whatever the benefit, the share of fitting at every look is kept."""
    for share in (0.1, 0.4):
        fits, _ = played(ageing(0.05), 80, priced(0.001, share))
        assert 0.6 * share * 80 <= len(fits) <= share * 80 + 2


@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_intervals_hold_the_truth_about_as_often_as_they_say(noise: float) -> None:
    """Over worlds that age at different speeds, 80 % intervals hold the truth of 70 to 92 % of the fits."""
    held = [
        one for seed in range(8) for one in played(ageing(0.002 * (1 + seed % 4), noise), 80, priced(10.0), seed)[1]
    ]
    assert len(held) > 100
    assert 0.7 <= sum(held) / len(held) <= 0.92


def test_a_forecast_learns_from_what_the_fit_really_saved() -> None:
    """The truth of a fit is its error's, and the forecast waits no more."""
    told = ForecastFacts(gain=0.02, lower=0.0, upper=0.04, loss=0.2, regret=10.0)
    known = LearnerFits(fits=(fit_at(0), fit_at(5)), awaited=told)
    only_newer = BlockFacts(through=3_000, n=SIZE, losses={5: 0.2})
    assert benefit.went_on(known, only_newer).awaited == told
    both = BlockFacts(through=3_000, n=SIZE, losses={0: 0.25, 5: 0.2})
    after = benefit.went_on(known, both)
    assert after.awaited is None
    assert after.errors == (pytest.approx((0.05 - 0.02) / 0.2),)


def test_a_fit_that_was_never_scored_tells_nothing() -> None:
    """There is no forecast without a label that came after the newest fit."""
    with pytest.raises(ValueError, match="version 1 has not been scored"):
        forecast.forecast([fit_at(1)], [], [], fit_at(2))


def test_a_loss_of_nothing_leaves_nothing_to_save() -> None:
    """A learner that makes no mistake is never fitted again for its benefit, and nothing is divided by its loss."""
    fits, _ = played(lambda fit, look, rng: 0.0, 30, priced(0.001))
    assert fits == []


def test_a_sentence_says_what_is_weighed() -> None:
    """The regret, the forecast with its interval, the cost, and what is in the way."""
    told = ForecastFacts(gain=0.02, lower=0.0, upper=0.04, loss=0.2, regret=10.0)
    known = LearnerFits(blocks=(BlockFacts(through=0, n=1, losses={}),) * 2, saved_s=0.0, bar=50.0)
    dear = benefit.decide(known, told, 2.0, priced(6.0))
    assert dear.sentence == (
        "Not due: a fresh fit would by now have saved 10 in loss since the last one, and 0.02 a prediction from now on "
        "(80 % interval 0 to 0.04); it costs 12 (2 s of training)."
    )
    assert "max_share allows are spent" in benefit.decide(known, told, 2.0, priced(1.0, 0.5)).sentence
    saved = msgspec.structs.replace(known, saved_s=9.0)
    assert "only what saves more than 50" in benefit.decide(saved, told, 2.0, priced(1.0, 0.5)).sentence
    assert benefit.decide(saved, told, 2.0, priced(1.0)).due is False
    assert benefit.decide(msgspec.structs.replace(saved, bar=0.0), told, 2.0, priced(1.0)).due
