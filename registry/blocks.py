"""Ranking as evidence: blocks of one positive and some negatives, each example used once.

A block's difference is (share of its negatives that the challenger scores below the positive) - (the same of the
champion), ties one half: the difference of two unbiased estimates of the area under the ROC curve. Blocks are disjoint
and come in prediction order, so that they are evidence under drift too. Source: design of the gate, and Choe and
Ramdas, "Comparing sequential forecasters" (2110.00115), for what is done with the differences.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_NEGATIVES = 50
WAITING = 5_000  # examples of one class that wait for the other; older ones are let go, whatever their scores


class Example(NamedTuple):
    """Scores of the positive class, as answered by champion and challenger."""

    asked_at: float
    champion: float
    challenger: float


def negatives_for(positives: int, labels: int) -> int:
    """Negatives of a block, so that few examples of either class are left over."""
    return min(MOST_NEGATIVES, max(1, round((labels - positives) / max(positives, 1))))


@dataclass
class Blocks:
    """Examples of one comparison on their way into blocks."""

    negatives_each: int
    positives: deque[Example] = field(default_factory=lambda: deque(maxlen=WAITING))
    negatives: deque[Example] = field(default_factory=lambda: deque(maxlen=WAITING))

    def add(self, examples: Sequence[Example], positive: Sequence[bool]) -> list[tuple[float, float]]:
        """(difference, epoch second of the newest example) of each block that is complete, in [-1, 1]."""
        found = []
        for example, is_positive in zip(examples, positive, strict=True):
            (self.positives if is_positive else self.negatives).append(example)
            if self.positives and len(self.negatives) >= self.negatives_each:
                others = [self.negatives.popleft() for _ in range(self.negatives_each)]
                found.append((_difference(self.positives.popleft(), others), example.asked_at))
        return found


def _difference(positive: Example, negatives: Sequence[Example]) -> float:
    won = sum(
        _above(positive.challenger, one.challenger) - _above(positive.champion, one.champion) for one in negatives
    )
    return won / len(negatives)


def _above(positive: float, negative: float) -> float:
    return 0.5 if positive == negative else float(positive > negative)
