"""What distances between two windows mean: a pure judgement, without a library."""

from collections.abc import Sequence
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
    """Whether the world moved: `drifted` names the columns that did, the farthest first."""

    drifted: tuple[str, ...]
    share: float
    alarm: bool
    sentence: str


def judge(columns: Sequence[Column], rules: Drift) -> Verdict:
    """An alarm when at least `rules.share` of the columns drifted. Raises ValueError without columns."""
    if not columns:
        raise ValueError("there is no column to judge")
    ordered = sorted(columns, key=lambda column: column.weight, reverse=True)
    moved = [column for column in ordered if column.drifted]
    share = len(moved) / len(columns)
    named = tuple(column.name for column in moved)
    return Verdict(named, share, share >= rules.share, _sentence(moved, ordered))


def _sentence(moved: Sequence[Column], ordered: Sequence[Column]) -> str:
    columns = f"{len(ordered)} column{'s' if len(ordered) > 1 else ''}"
    if not moved:
        return f"None of {columns} moved; nearest: {ordered[0]}"
    named = ", ".join(str(column) for column in moved[:_NAMED])
    return f"{len(moved)} of {columns} moved{'; most' if len(moved) > _NAMED else ''}: {named}"
