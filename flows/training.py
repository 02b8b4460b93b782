"""A learner and its place in the journal: one example after the other, as the amendments have them."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from contracts.config import Learner
from contracts.events import offset_id
from contracts.journal import Example, Follower
from contracts.schema import Schema
from flows import checkpoint
from learners.catalogue import build_online
from learners.online import LearnerFailed, OnlineLearner
from learners.safeguards import Spread

Labels = Mapping[int, str | float | None]
"""What amendments made of labels, by offset of the prediction; None where it was erased."""


class ExampleRefused(Exception):
    """A learner failed at an example; its state is not to be trusted any more."""

    def __init__(self, example: Example, reason: str):
        super().__init__(f"{reason} (at the label of prediction {offset_id(example.prediction)})")


@dataclass
class TrainState:
    """One learner, the examples that it has gone through, and what was published of it."""

    learner: OnlineLearner
    configured: str
    """The configuration that it was built from, as JSON: with another one it begins anew. More memory is none."""
    genesis: str = field(default_factory=lambda: secrets.token_hex(8))
    """Names this line of states, so that a repeated registration finds the first one."""
    position: int = 0
    at: int = -1
    """`Example.at` of the last example gone through."""
    applied: int = 0
    """The first amendments of the journal, as many as are part of it."""
    version: int | None = None
    revision: int = 0
    """The newest that was given out."""
    published_learned: int = -1
    """Labels that the published revision has learned; -1 where it has learned something else than this state."""
    anchor: dict[int, tuple[float, ...]] = field(default_factory=dict)
    """Scores of the published revision on the anchor rows, by offset of the prediction."""
    spread: Spread = field(default_factory=Spread)
    """Of the values seen as labels, in a regression."""
    held_since: float | None = None
    """Epoch seconds from which on no revision was fit to publish."""

    @classmethod
    def fresh(cls, learner: Learner, schema: Schema, name: str) -> "TrainState":
        configured = msgspec.structs.replace(learner, memory_mb=1)
        return cls(build_online(learner, schema, name), msgspec.json.encode(configured).decode())

    def learn(self, examples: Sequence[Example], labels: Labels) -> None:
        """Goes through the examples at `position`, whole blocks of them (`Source`). Raises ExampleRefused."""
        size = self.learner.mini_batch or len(examples)
        for start in range(0, len(examples), size):
            self._learn_block(examples[start : start + size], labels)
        self.position += len(examples)
        self.at = examples[-1].at
        if self.learner.schema.label.is_regression:
            self.spread.add([one.label for one in examples if one.row is not None])

    def _learn_block(self, block: Sequence[Example], labels: Labels) -> None:
        """Blocks lie where they lie in the journal, however many of their examples were erased."""
        given = [labels.get(one.prediction, one.label) for one in block] if labels else [one.label for one in block]
        learned = [
            (example, example.row, label)
            for example, label in zip(block, given, strict=True)
            if example.row is not None and label is not None
        ]
        before = self.learner.learned
        try:
            if self.learner.mini_batch is None:
                self.learner.learn_each((row, label) for _, row, label in learned)
            elif learned:
                _, rows, targets = zip(*learned, strict=True)
                self.learner.learn_many(rows, targets)
        except LearnerFailed as error:
            raise ExampleRefused(learned[self.learner.learned - before][0], error.reason) from error

    def relearn(self, other: "TrainState") -> None:
        """Takes over what was learned elsewhere from the same journal."""
        self.learner, self.position, self.at, self.applied = other.learner, other.position, other.at, other.applied
        self.published_learned = -1

    def save(self, folder: Path) -> int:
        """Returns the bytes written."""
        return checkpoint.save(folder, self, position=self.position, at=self.at, applied=self.applied)


class Source:
    """The journal from a position on, in whole blocks of so many examples."""

    def __init__(self, journal: Path, position: int, block: int | None):
        self._follower, self._block, self._rest = Follower(journal, position), block or 1, list[Example]()

    def take(self) -> list[Example]:
        """What has been appended since, up to the last whole block; empty at the end."""
        taken = self._follower.take()
        if self._block == 1:
            return taken
        self._rest += taken
        while taken and len(self._rest) < self._block:
            taken = self._follower.take()
            self._rest += taken
        whole = len(self._rest) // self._block * self._block
        taken, self._rest = self._rest[:whole], self._rest[whole:]
        return taken

    def is_empty(self) -> bool:
        """Whether nothing waits for a block to become whole."""
        return not self._rest

    def close(self) -> None:
        self._follower.close()
