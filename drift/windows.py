"""Which rows are compared: those that the champion was made from, say, and the newest; never the same row twice."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from contracts import events
from contracts.drift_rules import Drift, Period
from contracts.quantities import seconds

Offsets = npt.NDArray[np.int64]
Kind = Literal["training", "oldest", "period", "season"]


class TooFewRows(Exception):
    """A window holds too little to be compared; no report is made until it has grown."""

    def __init__(self, window: str, rows: int, needed: int):
        super().__init__(
            f"the {window} window has {rows} rows and needs {needed} (drift.min_rows); no report until it has them"
        )
        self.window, self.rows, self.needed = window, rows, needed


@dataclass(frozen=True)
class Origin:
    """What a champion was made from: the predictions of these offsets, both ends included."""

    first: int = 0
    last: int = -1
    fitted_through: int | None = None
    """It answers what lies beyond as it answers anything new: -1 for a learner that is asked before it learns. None:
    nobody knows where its training ended."""


@dataclass(frozen=True)
class Windows:
    """Offsets of the predictions that are compared, ascending."""

    kind: Kind
    reference: Offsets
    """All of them, however many; `sketches.of` draws a sample."""
    current: Offsets

    @property
    def is_lasting(self) -> bool:
        """Whether the reference stays the same while the log grows."""
        return self.kind in ("training", "period")

    @property
    def origin(self) -> str:
        """What the reference is, for people."""
        return {
            "training": "what the champion was made from",
            "oldest": "the oldest of the log",
            "period": "the period of drift.reference",
            "season": "the same hours of past seasons",
        }[self.kind]


def choose(offsets: Offsets, origin: Origin, rules: Drift, season: str | None = None) -> Windows:
    """Both windows among the ascending offsets of all predictions. Raises TooFewRows.

    Where what the champion was made from is less than `min_rows` (a learner that began with the log), the oldest rows
    are the reference; two windows then share a short log evenly, since the noise of a distance falls with 1/n + 1/m.
    `season` is the length of a season where the rules name none.
    """
    if rules.reference == "season":
        return _checked(_seasons(offsets, rules, seconds(rules.season or season or "")), rules)
    if isinstance(rules.reference, Period):
        start, stop = (events.span(moment.timestamp()) for moment in (rules.reference.start, rules.reference.end))
        return _checked(_fixed("period", offsets, start, stop - 1, rules), rules)
    found = _fixed("training", offsets, origin.first, origin.last, rules)
    return _checked(found if len(found.reference) >= rules.min_rows else _oldest(offsets, rules), rules)


def newest(offsets: Offsets, rules: Drift) -> Offsets:
    """The current window of ascending offsets: by time, or by rows."""
    if rules.current_span is None or not len(offsets):
        return offsets[-rules.current_rows :]
    begin = int(offsets[-1]) - events.span(seconds(rules.current_span))
    return thinned(offsets[np.searchsorted(offsets, begin, side="right") :], rules.current_rows)


def thinned(offsets: Offsets, most: int) -> Offsets:
    """At most so many of them, drawn at random: every n-th could fall in step with a cycle of the stream."""
    if len(offsets) <= most:
        return offsets
    return np.sort(np.random.default_rng(len(offsets)).choice(offsets, most, replace=False))


def told(offsets: Offsets, of: int | None = None) -> str:
    """How many rows of when; `of` how many they were drawn from."""
    first, last = (
        f"{datetime.fromtimestamp(events.seconds_at(int(at)), UTC):%Y-%m-%d %H:%M}" for at in (offsets[0], offsets[-1])
    )
    drawn = f" of {of:,}" if of is not None and of > len(offsets) else ""
    return f"{len(offsets):,}{drawn} rows of {first} to {last} UTC"


def require(window: str, rows: int, rules: Drift) -> None:
    """Raises TooFewRows."""
    if rows < rules.min_rows:
        raise TooFewRows(window, rows, rules.min_rows)


def _fixed(kind: Kind, offsets: Offsets, first: int, last: int, rules: Drift) -> Windows:
    start, stop = np.searchsorted(offsets, first), np.searchsorted(offsets, last, side="right")
    return Windows(kind, offsets[start:stop], newest(offsets[stop:], rules))


def _oldest(offsets: Offsets, rules: Drift) -> Windows:
    current = newest(offsets[(len(offsets) + 1) // 2 :], rules)
    before = offsets[: np.searchsorted(offsets, current[0])] if len(current) else offsets
    return Windows("oldest", before[: rules.reference_rows], current)


def _seasons(offsets: Offsets, rules: Drift, season_s: float) -> Windows:
    """The hours of the current window, whole seasons ago; none of them is part of the current window."""
    current = newest(offsets, rules)
    if not len(current):
        return Windows("season", current, current)
    season, length = events.span(season_s), int(current[-1] - current[0])
    nearest = max(1, math.ceil((length + 1) / season))
    cut = [
        np.searchsorted(offsets, (current[0] - back * season, current[-1] - back * season + 1))
        for back in range(nearest + rules.seasons - 1, nearest - 1, -1)
    ]
    # A window longer than its season meets itself from season to season.
    return Windows("season", np.unique(np.concatenate([offsets[start:stop] for start, stop in cut])), current)


def _checked(found: Windows, rules: Drift) -> Windows:
    require("reference", len(found.reference), rules)
    require("current", len(found.current), rules)
    return found
