"""Which label counts when several were given for one prediction."""

from typing import Literal

import msgspec

Rule = Literal["latest", "first", "majority", "mean"]


class Votes(msgspec.Struct):
    """The labels given for one prediction, in constant size: as many numbers as there are different labels."""

    first: str | float
    newest: str | float
    n: int = 0
    total: float = 0.0
    given: dict[str | float, tuple[int, int]] = {}
    """By label: how often, and when last (as a count)."""

    @classmethod
    def of(cls, label: str | float) -> "Votes":
        """A first label."""
        votes = cls(label, label)
        votes.add(label)
        return votes

    def add(self, label: str | float) -> None:
        self.newest = label
        self.n += 1
        if isinstance(label, float):
            self.total += label
        else:
            often, _ = self.given.get(label, (0, 0))
            self.given[label] = often + 1, self.n

    def label(self, rule: Rule) -> str | float:
        """The one that counts. `majority`: given most often, the newest of equals; `mean`: of all values."""
        if rule == "latest":
            return self.newest
        if rule == "first":
            return self.first
        if rule == "mean":
            return self.total / self.n
        return max(self.given, key=lambda label: self.given[label])
