"""How often a classifier is wrong where no label is known yet, from how sure it is.

Confidence-based performance estimation: scores are calibrated on labelled predictions, and the expected error of the
others is read off their calibrated confidence. Source: NannyML, "Confidence-based Performance Estimation (CBPE)";
calibrated by isotonic regression, Zadrozny and Elkan (2002), "Transforming classifier scores into accurate multiclass
probability estimates".

It holds where the scores are calibrated on the reference, what a label is given the features has stayed (it is blind
to a change of concept), and what is asked now was asked there too (`covered`). Errors of values are not estimated.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

VALIDITY = (
    "holds while only what is asked changes, within what was asked before; a change of what the right answer is stays "
    "unseen until labels come"
)


@dataclass(frozen=True)
class Estimator:
    """Chance of an error by confidence: a falling step function, the steps joined by lines."""

    confidence: Floats
    """Mean confidence of each step, ascending."""
    error: Floats
    """Share of wrong answers of each step, not rising."""
    lowest: float
    highest: float
    """What confidences the reference had."""

    def errors(self, confidences: npt.ArrayLike) -> Floats:
        """The expected error of each answer, float64[n]."""
        return np.interp(np.asarray(confidences, np.float64), self.confidence, self.error)

    def covered(self, confidences: npt.ArrayLike) -> float:
        """Share of answers as sure as some of the reference were."""
        values = np.asarray(confidences, np.float64)
        return float(np.mean((values >= self.lowest) & (values <= self.highest))) if len(values) else 1.0


def fit(confidences: npt.ArrayLike, wrong: npt.ArrayLike) -> Estimator:
    """From labelled answers: probability of the answered class, and whether that was wrong, float64[n] each.

    Raises ValueError without any.
    """
    sure, missed = np.asarray(confidences, np.float64), np.asarray(wrong, np.float64)
    if not len(sure):
        raise ValueError("there is no labelled answer to calibrate on")
    order = np.argsort(sure, kind="stable")
    values, first, counts = np.unique(sure[order], return_index=True, return_counts=True)
    steps: list[tuple[float, float, float]] = []  # confidence, answers, error
    for value, weight, error in zip(values, counts, np.add.reduceat(missed[order], first) / counts, strict=True):
        sure_at, answers, missed_at = float(value), float(weight), float(error)
        # Pool adjacent violators: surer answers are not wrong more often.
        while steps and steps[-1][2] <= missed_at:
            sure_before, before, missed_before = steps.pop()
            both = before + answers
            sure_at = (sure_before * before + sure_at * answers) / both
            missed_at = (missed_before * before + missed_at * answers) / both
            answers = both
        steps.append((sure_at, answers, missed_at))
    return Estimator(
        np.array([step[0] for step in steps]),
        np.array([step[2] for step in steps]),
        float(values[0]),
        float(values[-1]),
    )
