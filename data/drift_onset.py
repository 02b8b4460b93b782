"""When an injected change holds, and what it measures in the rows before it."""

import math
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from contracts.quantities import Count
from contracts.schema import Schema

Number = Annotated[float, Meta(gt=-1e15, lt=1e15)]
By = Annotated[str, Meta(pattern=r"^[+-]?(\d{1,15}(\.\d*)?|\.\d+)(sd)?$")]
"""An amount: "10" in the column's unit, "2sd" in standard deviations of the rows before the change."""


@dataclass
class Past:
    """What a change has seen of the column, label or condition that it measures: mean, spread and last value."""

    schema: Schema
    random: Random
    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    last: Any = None

    def add(self, value: Any) -> None:
        """A missing value counts for nothing, text only as the last value. Welford (1962)."""
        if value is None:
            return
        self.last = value
        if not isinstance(value, str):
            self.n += 1
            gap = value - self.mean
            self.mean += gap / self.n
            self.squares += gap * (value - self.mean)

    @property
    def sd(self) -> float:
        return math.sqrt(self.squares / self.n) if self.n else 0.0

    def amount(self, by: str) -> float:
        return float(by.removesuffix("sd")) * (self.sd if by.endswith("sd") else 1.0)

    def keeps(self, wanted: bool, share: float) -> bool:
        """Whether a row stays, so that `share` of those that stay are wanted; `mean` is their share so far.

        Only rows of the side that is too frequent are left out, so that all that stay are rows as they came.
        """
        share_now = (self.mean * self.n + 1) / (self.n + 2)  # Laplace's rule: never 0, not even before the first row
        odds = share / (1 - share) / (share_now / (1 - share_now))
        return self.random.random() < (odds if wanted else 1 / odds)


class Onset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rows are counted from 0 in the source: changed from `at` until before `until`, or to the end."""

    at: Annotated[int, Meta(ge=0)]
    until: Count | None = None
    width: Count | None = None
    """Rows over which the share of changed ones grows from 0 to 1."""
    period: Count | None = None
    """For so many rows on, then for as many off, and so on."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.until is not None and self.until <= self.at:
            raise ValueError(f"until={self.until}: must come after at={self.at}")
        if self.width is not None and self.period is not None:
            raise ValueError(f"width={self.width}: a change comes gradually or again and again; leave width or period")

    def strength(self, row: int) -> float:
        """Probability with which a row is changed."""
        if row < self.at or (self.until is not None and row >= self.until):
            return 0.0
        if self.period is not None:
            return float((row - self.at) // self.period % 2 == 0)
        return 1.0 if self.width is None else min(1.0, (row - self.at) / self.width)

    @property
    def when(self) -> str:
        words = f"from row {self.at:,} on" if self.until is None else f"in rows {self.at:,} to {self.until - 1:,}"
        if self.width is not None:
            words += f", in more and more of them over {self.width:,} rows"
        return words if self.period is None else f"{words}, {self.period:,} rows on and {self.period:,} off"
