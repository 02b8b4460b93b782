"""What distances between two windows mean: a pure judgement, without a library."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.drift_rules import Drift

_NAMED = 3

WASSERSTEIN = "Wasserstein distance / reference standard deviation"
JENSEN_SHANNON = "Jensen-Shannon distance"
MISSING = "Jensen-Shannon distance of missing values"


@dataclass(frozen=True)
class Column:
    """How far one feature is from its reference, by which method, and from where on that counts as drift."""

    name: str
    method: str
    distance: float
    threshold: float

    @property
    def drifted(self) -> bool:
        return self.distance >= self.threshold

    @property
    def weight(self) -> float:
        """Distance in units of its threshold, so that columns of different methods compare."""
        return self.distance / self.threshold

    def __str__(self) -> str:
        what = "missing values, " if self.method == MISSING else ""
        return f"{self.name} ({what}{self.distance:.2f} against {self.threshold:.2f})"


@dataclass(frozen=True)
class Verdict:
    """Whether the world moved: `drifted` names the columns that did, what matters most first."""

    drifted: tuple[str, ...]
    share: float
    alarm: bool
    sentence: str


def judge(
    columns: Sequence[Column], rules: Drift, importance: Mapping[str, float] | None = None, more: Sequence[str] = ()
) -> Verdict:
    """An alarm when at least `rules.share` of the columns drifted. Raises ValueError without columns.

    With `importance`, each column's share of what the champion goes by, columns are ordered by that times how far they
    moved, and the sentence says how much of it has moved. `more` are further parts of the sentence.
    """
    if not columns:
        raise ValueError("there is no column to judge")
    shares = importance or {}
    ordered = sorted(columns, key=lambda c: (shares.get(c.name, 0.0) * c.weight, c.weight), reverse=True)
    moved = [column for column in ordered if column.drifted]
    share = len(moved) / len(columns)
    weight = sum(shares.get(column.name, 0.0) for column in moved) if shares else None
    sentence = "; ".join([_sentence(moved, columns, weight), *more])
    return Verdict(tuple(column.name for column in moved), share, share >= rules.share, sentence)


def shares_of(importance: Mapping[str, float]) -> dict[str, float]:
    """Each column's share of the loss that permuting columns adds; empty where none adds any.

    Less than nothing is chance, and counts as nothing.
    """
    total = sum(max(0.0, added) for added in importance.values())
    return {name: max(0.0, added) / total for name, added in importance.items()} if total > 0 else {}


def _sentence(moved: Sequence[Column], columns: Sequence[Column], weight: float | None) -> str:
    of = f"{len(columns)} column{'s' if len(columns) > 1 else ''}"
    if not moved:
        return f"None of {of} moved; nearest: {max(columns, key=lambda column: column.weight)}"
    matters = "" if weight is None else f", with {weight:.0%} of the champion's permutation importance"
    named = ", ".join(str(column) for column in moved[:_NAMED])
    most = "; most" if len(moved) > _NAMED else ""
    return f"{len(moved)} of {of} moved{matters}{most}: {named}"
