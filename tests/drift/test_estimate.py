"""The estimated error is the true one while only what is asked changes."""

import numpy as np
import pytest

from drift import estimate
from drift.budget import Floats


def answers(seed: int, n: int, mean: float, spread: float = 2.0) -> tuple[Floats, Floats]:
    """Confidence of a model that is too sure of itself, and whether it was wrong: truly it errs as `error` says."""
    rng = np.random.default_rng(seed)
    logits = np.abs(rng.normal(mean, spread, n))
    return 1 / (1 + np.exp(-logits)), rng.random(n) < error(logits)


def error(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(0.5 * logits))


def test_harder_questions_raise_the_estimate_to_the_true_error() -> None:
    """Confidence alone would say 12 % and 30 %: the model is too sure, and the estimate is calibrated."""
    made = estimate.fit(*answers(0, 20_000, 3.0))
    for mean in (3.0, 0.5):
        sure, wrong = answers(1, 50_000, mean)
        assert made.errors(sure).mean() == pytest.approx(wrong.mean(), abs=0.01)
        assert abs((1 - sure).mean() - wrong.mean()) > 0.05


def test_a_change_of_concept_is_not_seen() -> None:
    """What it is stated to be blind to: the same questions with other answers give the same estimate."""
    sure, wrong = answers(2, 20_000, 2.0)
    made = estimate.fit(sure, wrong)
    assert made.errors(sure).mean() == pytest.approx(wrong.mean(), abs=0.002)
    assert abs(made.errors(sure).mean() - (~wrong).mean()) > 0.3


def test_surer_answers_are_never_estimated_worse() -> None:
    """Noise in the reference makes no step that rises."""
    made = estimate.fit(*answers(3, 300, 1.0))
    assert (np.diff(made.error) <= 0).all()
    assert (np.diff(made.confidence) > 0).all()


def test_answers_unlike_any_of_the_reference_are_told() -> None:
    """Outside of its support the estimate is a guess."""
    made = estimate.fit([0.6, 0.7, 0.8], [1, 0, 0])
    assert made.covered([0.55, 0.65, 0.75, 0.95]) == 0.5
    with pytest.raises(ValueError, match="no labelled answer"):
        estimate.fit([], [])
