"""What a replay has seen: every question with its answer and its label's fate, and the numbers over them."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_MOST_KINDS = 50


@dataclass(slots=True)
class Asked:
    """One row's way: the question, the answer, and what became of its label."""

    row: int
    label: Any
    asked_at: float = 0.0
    prediction_id: str | None = None
    version: int | None = None
    revision: int | None = None
    answer: Any = None
    latency_s: float = 0.0
    loss: float | None = None
    """0 or 1 for a class, the absolute error for a value; None without an answer."""
    feedback: str | None = None
    """accepted, duplicate, correction, unknown or refused; None while it is outstanding."""
    labeled_at: float = 0.0


@dataclass
class Result:
    """What happened, in plain numbers. It is filled as the replay goes and can be read at any time."""

    started_at: float = 0.0
    seconds: float = 0.0
    rows: list[Asked] = field(default_factory=list)
    asked: int = 0
    answered: int = 0
    unlogged: int = 0
    """Answers without a prediction id: the log was away, so there is nothing to give a label to."""
    refused: int = 0
    """Questions that were answered with an error that asking again cannot change."""
    unanswered: int = 0
    """Questions given up when nobody had answered for `patience_s`."""
    feedback: Counter[str] = field(default_factory=Counter)
    """Receipts by status."""
    errors: Counter[str] = field(default_factory=Counter)
    """Failed attempts by kind, those that succeeded later included."""
    is_value: bool = False
    """Whether the answers are values, so that the loss is an absolute error."""
    outstanding: int = 0
    """Labels of logged predictions that nobody has accepted."""

    def count_error(self, kind: str) -> None:
        """Counts a failed attempt; past so many kinds, the rest is counted together."""
        self.errors[kind if kind in self.errors or len(self.errors) < _MOST_KINDS else "others"] += 1

    @property
    def accuracy(self) -> float | None:
        """Share of right answers; None for values, or before the first answer."""
        return None if self.mean_loss is None or self.is_value else 1 - self.mean_loss

    @property
    def mean_loss(self) -> float | None:
        losses = [row.loss for row in self.rows if row.loss is not None]
        return sum(losses) / len(losses) if losses else None

    def curve(self, stretch: int) -> list[tuple[int, float]]:
        """(rows so far, mean loss) of consecutive stretches of answered rows."""
        points = []
        for start in range(0, len(self.rows), stretch):
            losses = [row.loss for row in self.rows[start : start + stretch] if row.loss is not None]
            if losses:
                points.append((min(start + stretch, len(self.rows)), sum(losses) / len(losses)))
        return points

    def versions(self) -> dict[int, tuple[int, float]]:
        """(rows answered, mean loss) by answering version, in the order in which they came to answer."""
        found: dict[int, list[float]] = {}
        for row in self.rows:
            if row.version is not None and row.loss is not None:
                found.setdefault(row.version, []).append(row.loss)
        return {version: (len(losses), sum(losses) / len(losses)) for version, losses in found.items()}

    def latency_ms(self, quantile: float) -> float | None:
        return _quantile([row.latency_s * 1000 for row in self.rows if row.answer is not None], quantile)

    def delay_s(self, quantile: float) -> float | None:
        """Of labels as given: from the question to the moment at which the label was first given."""
        return _quantile([row.labeled_at - row.asked_at for row in self.rows if row.labeled_at], quantile)

    def summary(self, stretch: int = 250) -> dict[str, Any]:
        """Everything as JSON."""
        return {
            "asked": self.asked,
            "answered": self.answered,
            "unlogged": self.unlogged,
            "refused": self.refused,
            "unanswered": self.unanswered,
            "feedback": dict(self.feedback),
            "outstanding": self.outstanding,
            "errors": dict(self.errors),
            "accuracy": self.accuracy,
            "mean_loss": self.mean_loss,
            "curve": self.curve(stretch),
            "versions": {str(v): {"n": n, "loss": loss} for v, (n, loss) in self.versions().items()},
            "latency_ms": {"p50": self.latency_ms(0.5), "p99": self.latency_ms(0.99)},
            "label_delay_s": {"p50": self.delay_s(0.5), "p99": self.delay_s(0.99)},
            "seconds": self.seconds,
        }


def _quantile(values: list[float], quantile: float) -> float | None:
    return sorted(values)[min(len(values) - 1, int(quantile * len(values)))] if values else None
