"""What a fresh fit of a learner would save, by what its past fits did on the same later labels.

Fits of different age are scored on the same labelled predictions, block by block. What the newer of two saves is
explained by three things: how many more labels it had seen arrive (ageing), how much larger its training set was
(learning curve), and how far the older one's loss had risen since its youth when the newer one was made (drift). The
same three are known of a fit that could be made now, so that nothing need be fitted to find out.

The loss is forecast rather than a drift statistic, as in Regol et al. (2025), "When to retrain a machine learning
model" (ICML). The interval is weighted conformal, with errors that count less the older they are: Barber, Candes,
Ramdas and Tibshirani (2023), "Conformal prediction beyond exchangeability".
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from operator import mul

import numpy as np
import numpy.typing as npt

from contracts.fits import BlockFacts, FitFacts, ForecastFacts

COVERAGE = 0.8
COMPARED = 3
"""So many of the newest fits are compared, each with the next."""
KEPT = 60
"""Blocks looked back on: the weight of older ones is below 1 %."""
_MEMORY = 0.93  # weight of a block against that of the next
_YOUTH, _PRESENT = 3, 5  # blocks over which a fit's first and present losses are averaged
_SCALE = np.array([0.1, 5.0, 1.0])
_PRIOR = np.array([0.05, 0.1, 0.3])
"""Saved before anything is known, as shares of the loss: 5 % after ten blocks, 10 % by a fifth more rows, and 30 % of a
rise. They weigh as much as one block that shows just that. Without them a first pair that shows nothing ends it all."""
_TOLD = 10.0  # weight of a past forecast's error against that of a pair of past fits: it is what the interval is about
_ERROR_MEMORY = 0.97

Floats = npt.NDArray[np.float64]


def forecast(
    fits: Sequence[FitFacts], blocks: Sequence[BlockFacts], missed: Sequence[float], fresh: FitFacts
) -> ForecastFacts:
    """What `fresh`, the fit that could be made now, would save against the newest of `fits`.

    All are in order of time; `missed` are the errors of past forecasts (`share_missed`). Raises ValueError where the
    newest fit was scored on no block yet.
    """
    newest = fits[-1]
    since = [block for block in blocks if newest.version in block.losses]
    if not since:
        raise ValueError(f"version {newest.version} has not been scored on any label that came after it")
    weights, errors = _learned(fits, blocks[-KEPT:])
    level = _level(newest, since)
    gain = float(weights @ _features(newest, fresh.through, fresh.rows, since)) * level
    regret = 0.0
    for i, block in enumerate(since):  # against a fit made in the middle of each block
        midway = block.through - block.n / 2
        regret += block.n * level * float(weights @ _features(newest, midway, fresh.rows, since[: i + 1]))
    reach = level * _reach(errors, missed)
    return ForecastFacts(gain=gain, lower=gain - reach, upper=gain + reach, loss=level, regret=regret)


def saved(older: int, newer: int, block: BlockFacts) -> float | None:
    """What version `newer` saved against `older` on a block, mean loss per prediction; None where one has no score."""
    if older not in block.losses or newer not in block.losses:
        return None
    return block.losses[older] - block.losses[newer]


def share_missed(told: ForecastFacts, truth: float) -> float:
    """By how much a forecast was too low, as a share of the loss then."""
    return (truth - told.gain) / told.loss if told.loss > 0 else 0.0


def _learned(fits: Sequence[FitFacts], blocks: Sequence[BlockFacts]) -> tuple[Floats, list[float]]:
    """Weights of the three features, and the error of each pair's saving as forecast before its block was seen."""
    moments, products = np.eye(3), _PRIOR.copy()
    weights, errors = _PRIOR, list[float]()
    for i, block in enumerate(blocks):
        moments = _MEMORY * moments + (1 - _MEMORY) * np.eye(3)  # the prior never fades
        products = _MEMORY * products + (1 - _MEMORY) * _PRIOR
        scored = [fit for fit in fits if fit.version in block.losses][-COMPARED:]
        for older, newer in pairwise(scored):
            past = [one for one in blocks[:i] if older.version in one.losses]
            before = [one for one in past if one.through <= newer.through]
            level = _level(older, past)
            if not before or level <= 0:
                continue
            features = _features(older, newer.through, newer.rows, before)
            share = (block.losses[older.version] - block.losses[newer.version]) / level
            errors.append(share - float(weights @ features))
            moments += np.outer(features, features)
            products += features * share
        weights = _solved(moments, products, weights)
    return weights, errors


def _features(older: FitFacts, through: float, rows: int, seen: Sequence[BlockFacts]) -> Floats:
    """Ageing, learning curve and drift of a fit, for one made at `through` on so many rows. `seen` are the blocks that
    the older one was scored on until then."""
    size = sum(block.n for block in seen) / len(seen)
    level = _level(older, seen)
    young = [block.losses[older.version] for block in seen[:_YOUTH]]
    now = [block.losses[older.version] for block in seen[-_YOUTH:]]
    risen = max(0.0, (sum(now) - sum(young)) / len(now))
    age = max(0.0, through - older.through) / size
    grown = max(0.0, math.log(rows / older.rows))
    scaled: Floats = np.array([age, grown, risen / level if level > 0 else 0.0]) * _SCALE
    return scaled


def _level(fit: FitFacts, seen: Sequence[BlockFacts]) -> float:
    losses = [block.losses[fit.version] for block in seen[-_PRESENT:]]
    return sum(losses) / len(losses) if losses else 0.0


def _solved(moments: Floats, products: Floats, begin: Floats) -> Floats:
    """Non-negative least squares by coordinate descent: a newer fit is never forecast to be worse."""
    rows, wanted = moments.tolist(), products.tolist()
    weights = begin.tolist()
    for _ in range(100):
        moved = 0.0
        for i, row in enumerate(rows):
            rest = wanted[i] - sum(map(mul, row, weights)) + row[i] * weights[i]
            found = max(0.0, rest / row[i])
            moved, weights[i] = max(moved, abs(found - weights[i])), found
        if moved < 1e-6:
            break
    return np.array(weights)


def _reach(pairs: Sequence[float], told: Sequence[float]) -> float:
    """Half the interval, as a share of the loss: the weighted quantile of past errors."""
    sizes = np.abs(np.array([*pairs, *told, 2 * float(_PRIOR.sum())]))  # the last stands for the error to come
    weights = [_ERROR_MEMORY**i for i in reversed(range(len(pairs)))]
    weights += [_TOLD * _ERROR_MEMORY**i for i in reversed(range(len(told)))]
    order = np.argsort(sizes)
    shares = np.cumsum(np.array([*weights, 1.0])[order])
    return float(sizes[order][np.searchsorted(shares / shares[-1], COVERAGE)])
