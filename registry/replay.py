"""One model's log played again into a record: the same predictions, labels and corrections in the same order.

What the learn loop takes from the streams is a function of offsets alone, and the log has all of them: a label counts
where it came within maturity, corrections come in their own order, and evidence in that of the questions. So a record
that was fed from here up to some position equals the one that the loop had there, to the last bit.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import pyarrow as pa

from contracts import events, tape
from contracts.config import Model
from contracts.gate_rules import Gate
from contracts.quantities import seconds
from contracts.tables import Table
from contracts.votes import Votes
from registry import recorded
from registry.matured import Matured
from registry.recorded import Recorded
from registry.tenure import Record

Label = str | float
Champion = Callable[[int], int | None]
Entry = TypeVar("Entry", bound=tuple[object, ...])


class Given(NamedTuple):
    """A feedback: a label in time, or what it changes a matured one to."""

    at: int
    asked: int
    label: Label
    before: Label | None = None
    row: Recorded | None = None
    """Of the prediction whose label it changes."""


class Replay:
    """A record, fed from the log up to a position that only rises."""

    def __init__(
        self,
        folder: Path,
        model: Model,
        rules: Gate,
        since: int,
        *,
        uncovered: Collection[int] = (),
        champion: Champion | None = None,
        fed: Callable[[float], None] = lambda at: None,
    ):
        """Plays the log in a model's `folder`, from the predictions after the offset `since`.

        `uncovered` are labelled predictions whose shadow scores came too late to count. `champion` tells who answers
        at an offset in another telling than the recorded one, and None where it is the recorded one. `fed` hears now
        and then up to which epoch second the log was read.
        """
        self.rules, self.model = rules, model
        self.record = Record(rules, rules.loss or ("absolute" if model.label.is_regression else "zero_one"))
        self.unscored = self.bare = 0
        """Predictions without a score of `champion`, and without any shadow score."""
        self.labels = self.corrections = 0
        """Fed, all and those that changed an earlier one."""
        self.through = since
        """Predictions below this offset have been fed."""
        self._since, self._uncovered, self._champion, self._fed = since, frozenset(uncovered), champion, fed
        self._maturity = events.span(seconds(rules.maturity))
        is_negative = model.labels.on_timeout == "negative" and not model.label.is_regression
        self._negative = model.label.class_texts[0] if is_negative else None
        self._columns = {text: float(at) for at, text in enumerate(model.label.class_texts)}
        self._predictions = Table(folder, "predictions")
        self._labels = Table(folder, "labels", ("offset", "prediction_offset"))
        self._asked = _Ahead(self._read_predictions())
        self._given = _Ahead(self._read_labels())
        self._waiting: dict[int, Votes] = {}

    @property
    def ends(self) -> tuple[int, int]:
        """Offsets of the newest prediction and of the newest label in the log."""
        return self._predictions.position(), self._labels.position()

    def play(self, through: int, labels: int) -> None:
        """Feeds predictions below the offset `through`, as labelled by feedback up to the offset `labels`."""
        for some in self._given.below(labels + 1):
            for one in some:
                self._take(one)
        self._mature(through)

    def _take(self, one: Given) -> None:
        self.labels += 1
        if one.row is not None:
            self.corrections += 1
            self._mature(one.at - self._maturity)
            self._restate(one, one.row)
        elif (votes := self._waiting.get(one.asked)) is not None:
            self.corrections += 1
            votes.add(one.label)
        else:
            self._waiting[one.asked] = Votes.of(one.label)

    def _mature(self, until: int) -> None:
        for rows in self._asked.below(until):
            self.record.add([one for row in rows if (one := self._matured(row, self._label_of(row.offset)))])
        self.through = max(self.through, until)
        if self._waiting and next(iter(self._waiting)) < until:  # their predictions are not in the log
            self._waiting = {offset: votes for offset, votes in self._waiting.items() if offset >= until}

    def _label_of(self, offset: int) -> Label | None:
        votes = self._waiting.pop(offset, None)
        return self._negative if votes is None else votes.label(self.model.labels.combine)

    def _matured(self, row: Recorded, label: Label | None) -> Matured | None:
        told = None if self._champion is None else self._champion(row.offset)
        self.bare += not row.shadows
        if told is not None:
            swapped = row.told_by(told)
            self.unscored += swapped is None
            if swapped is None:
                return None
            row = swapped
        column = label if label is None or isinstance(label, float) else self._columns[label]
        is_covered = row.offset not in self._uncovered
        return Matured(
            row.offset, row.answered_by, row.scores, row.shadows if is_covered else {}, column, is_covered, row.unit,
            row.segments,
        )  # fmt: skip

    def _restate(self, one: Given, row: Recorded) -> None:
        was, now = self._matured(row, one.before), self._matured(row, one.label)
        if was is not None and now is not None:
            self.record.restate(was, now)

    def _read_predictions(self) -> Iterator[list[Recorded]]:
        wanted, end = recorded.columns(self.rules), self._predictions.position()
        for piece in tape.slices(self._predictions, wanted, self._since, end):
            rows = recorded.read(piece, self.rules)
            self._fed(events.seconds_at(rows[-1].offset))
            yield rows

    def _read_labels(self) -> Iterator[list[Given]]:
        """Labels that come in time, and corrections of those; what else comes late is no evidence."""
        wanted = ["offset", "prediction_offset", "label"]
        for piece in tape.slices(self._labels, wanted, self._since, self._labels.position()):
            given = [one for one in self._cells(piece) if one.asked > self._since]
            late = {one.asked for one in given if self._is_late(one)}
            found = tape.at(self._labels, wanted, "prediction_offset", list(late))
            before: dict[int, list[Given]] = {}
            for one in () if found is None else self._cells(found):
                before.setdefault(one.asked, []).append(one)
            changed = [self._changing(one, before[one.asked]) if self._is_late(one) else one for one in given]
            yield self._with_rows([one for one in changed if one is not None])

    def _cells(self, piece: pa.Table) -> Iterator[Given]:
        texts = piece["label"].to_pylist()
        labels = map(float, texts) if self.model.label.is_regression else map(self.model.label.decode, texts)
        return map(Given, piece["offset"].to_pylist(), piece["prediction_offset"].to_pylist(), labels)

    def _is_late(self, one: Given) -> bool:
        return one.asked < one.at - self._maturity

    def _changing(self, one: Given, labels: list[Given]) -> Given | None:
        """A late label as the change of what counted until then; None where nothing did.

        `labels` are all of the same prediction.
        """
        if self._is_late(labels[0]) and self._negative is None:
            return None
        earlier = [label.label for label in labels if label.at < one.at]
        before = self._counting(earlier) if earlier else self._negative
        after = self._counting([*earlier, one.label])
        return None if before is None or before == after else one._replace(label=after, before=before)

    def _counting(self, labels: Sequence[Label]) -> Label:
        votes = Votes.of(labels[0])
        for label in labels[1:]:
            votes.add(label)
        return votes.label(self.model.labels.combine)

    def _with_rows(self, given: list[Given]) -> list[Given]:
        """Changes with the prediction that each is about; without those whose prediction the log does not have."""
        changed = [one.asked for one in given if one.before is not None]
        found = tape.at(self._predictions, recorded.columns(self.rules), "offset", changed)
        rows = {} if found is None else {row.offset: row for row in recorded.read(found, self.rules)}
        return [
            one if one.before is None else one._replace(row=rows[one.asked])
            for one in given
            if one.before is None or one.asked in rows
        ]


class _Ahead(Generic[Entry]):
    """Entries that begin with an offset, in order, as they come in pieces."""

    def __init__(self, pieces: Iterator[list[Entry]]):
        self._pieces, self._piece, self._at = pieces, list[Entry](), 0

    def below(self, until: int) -> Iterator[list[Entry]]:
        """Those not given out yet whose offset is smaller."""
        while True:
            if self._at == len(self._piece):
                following = next(self._pieces, None)
                if following is None:
                    return
                self._piece, self._at = following, 0
                continue
            end = bisect_left(self._piece, until, self._at, key=itemgetter(0))
            if end == self._at:
                return
            taken, self._at = self._piece[self._at : end], end
            yield taken
