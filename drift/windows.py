"""Which rows are compared: those that the champion was made from, and the newest ones; never the same row twice."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from contracts import events
from contracts.drift_rules import Drift
from contracts.log import Log
from contracts.schema import Value

Offsets = npt.NDArray[np.int64]


class TooFewRows(Exception):
    """A window holds too little to be compared; no report is made until it has grown."""

    def __init__(self, window: str, rows: int, needed: int):
        super().__init__(
            f"the {window} window has {rows} rows and needs {needed} (drift.min_rows); no report until it has them"
        )
        self.window, self.rows, self.needed = window, rows, needed


@dataclass(frozen=True)
class Window:
    """Consecutive predictions: their features by name, and when the first and the last were asked (epoch seconds)."""

    columns: dict[str, list[Value]]
    rows: int
    first_at: float
    last_at: float

    def __str__(self) -> str:
        first, last = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" for at in (self.first_at, self.last_at))
        return f"{self.rows:,} rows of {first} to {last} UTC"


@dataclass(frozen=True)
class Windows:
    reference: Window
    current: Window
    before_champion: bool
    """Whether the reference is what the champion was made from; else it is simply the oldest rows."""

    @property
    def caption(self) -> str:
        """What is compared with what, for people."""
        origin = "what the champion was made from" if self.before_champion else "the oldest of the log"
        return f"Reference: {self.reference}, {origin}. Current: {self.current}, the newest."


def read(log: Log, since: str, rules: Drift) -> Windows:
    """The two windows for a champion enrolled after prediction id `since`. Raises TooFewRows."""
    offsets = log.offsets()
    made_from, reference, current = choose(offsets, events.offset(since), rules)
    return Windows(_window(log, offsets, reference), _window(log, offsets, current), made_from)


def choose(offsets: Offsets, since: int, rules: Drift) -> tuple[bool, range, range]:
    """Whether the reference lies before `since`, and the positions of both windows in ascending offsets.

    The champion saw what lies at or before `since`: its newest `reference_rows` are the reference. Where that is less
    than `min_rows` (a learner that began with the log), the oldest rows are; two windows then share a short log evenly,
    since the noise of a distance falls with 1/n + 1/m. Raises TooFewRows.
    """
    seen = int(np.searchsorted(offsets, since, side="right"))
    if seen >= rules.min_rows:
        reference = range(max(0, seen - rules.reference_rows), seen)
        current = range(max(seen, len(offsets) - rules.current_rows), len(offsets))
    else:
        current = range(len(offsets) - min(rules.current_rows, len(offsets) // 2), len(offsets))
        reference = range(min(rules.reference_rows, current.start))
    require("reference", len(reference), rules)
    require("current", len(current), rules)
    return seen >= rules.min_rows, reference, current


def require(window: str, rows: int, rules: Drift) -> None:
    """Raises TooFewRows."""
    if rows < rules.min_rows:
        raise TooFewRows(window, rows, rules.min_rows)


def _window(log: Log, offsets: Offsets, span: range) -> Window:
    first, last = int(offsets[span.start]), int(offsets[span.stop - 1])
    first_at, last_at = (events.seconds_of(events.offset_id(offset)) for offset in (first, last))
    columns = log.features(len(span), before=last + 1, since=first - 1)
    return Window(columns, len(span), first_at, last_at)
