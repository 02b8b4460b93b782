"""How good scores were, and how good they would have been without looking at the features."""

import numpy as np

from contracts.schema import Label

# A probability of 0 for what then happened would cost infinitely much: it costs 34.5 nats.
_LEAST = 1e-15


def measure(label: Label, scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Mean losses of scores float64[n, k] against class indices int64[n] or values float64[n].

    accuracy, log_loss (nats) and brier ((p - y)^2 of the positive class; of several, summed over classes), or mae and
    rmse in label units.
    """
    if label.is_regression:
        errors = scores[:, 0] - targets
        return {"mae": float(np.abs(errors).mean()), "rmse": float(np.sqrt((errors**2).mean()))}
    truth = np.eye(label.width)[targets]
    squares = (scores - truth) ** 2
    true_scores = scores[np.arange(len(targets)), targets]
    return {
        "accuracy": float((scores.argmax(axis=1) == targets).mean()),
        "log_loss": float(-np.log(np.clip(true_scores, _LEAST, 1)).mean()),
        "brier": float((squares[:, 1] if label.task == "binary" else squares.sum(axis=1)).mean()),
    }


def baseline(label: Label, fitted: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    """`measure` of the fitted targets' class shares (hence of their majority) or mean, as baseline_*."""
    if label.is_regression:
        constant = np.array([fitted.mean()])
    else:
        constant = np.bincount(fitted, minlength=label.width) / len(fitted)
    found = measure(label, np.tile(constant, (len(held_out), 1)), held_out)
    return {f"baseline_{name}": value for name, value in found.items()}
