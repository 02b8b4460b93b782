"""Predictions whose time for labels has passed, one by one and by column."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec
import numpy as np
import numpy.typing as npt

from contracts import events

Floats = npt.NDArray[np.float64]


class Matured(msgspec.Struct, frozen=True, gc=False):
    """One of them. `label` is the class's column, or the value; None where nobody gave one in time."""

    offset: int
    answered_by: int
    scores: tuple[float, ...]
    """As answered."""
    shadows: dict[int, tuple[int, tuple[float, ...]]]
    """(revision, scores) as logged at the question, by version."""
    label: float | None
    is_covered: bool = True
    """False where learning did not wait for the shadow scores: then nothing is compared."""
    unit: str = ""
    """Whose it is, where evidence is counted by unit."""
    segments: tuple[str, ...] = ()
    """The segments it falls into."""


class Run:
    """Consecutive ones that the same versions scored: every column is float64[n] unless said otherwise."""

    def __init__(self, matured: Sequence[Matured]):
        first = matured[0]
        self.rows = matured
        self.answered_by, self.is_covered = first.answered_by, first.is_covered
        self.offsets = np.array([one.offset for one in matured], np.int64)
        self.labels = np.array([math.nan if one.label is None else one.label for one in matured])
        self.is_labelled = ~np.isnan(self.labels)
        self.scores = {first.answered_by: _matrix([one.scores for one in matured])}
        """float64[n, k] by version; the answering one first."""
        if first.is_covered:
            for version in first.shadows:
                self.scores[version] = _matrix([one.shadows[version][1] for one in matured])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def asked_at(self) -> Floats:
        """Epoch seconds."""
        return events.many_seconds_at(self.offsets)


def runs(matured: Iterable[Matured]) -> Iterator[Run]:
    """All of them, in their order."""
    return (Run(list(same)) for _, same in groupby(matured, _scored_by))


def _scored_by(one: Matured) -> tuple[int, bool, tuple[int, ...]]:
    return one.answered_by, one.is_covered, tuple(one.shadows)


def _matrix(rows: Sequence[tuple[float, ...]]) -> Floats:
    """float64[n, k]; a row of another width than most is no answer, and NaN."""
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError:
        widths = [len(row) for row in rows]
        width = max(set(widths), key=widths.count)
        return np.array([row if len(row) == width else (math.nan,) * width for row in rows], dtype=np.float64)
