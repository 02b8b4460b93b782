"""Labels meet their questions: each becomes an example to learn, a change to an earlier one, or a count.

A label becomes an example at once; it becomes evidence when its prediction has matured, in prediction order. What
comes out (`examples`, `amendments`) goes to the journal; the rest is in `state`.
"""

import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import compress

import msgspec

from contracts import events
from contracts.events import BadEntry, Feedback, Prediction, Shadow
from contracts.journal import Amendment, Example
from contracts.quantities import seconds
from contracts.schema import BadInput
from contracts.streams import START, Page, Raw
from contracts.votes import Votes
from flows.place import Place
from flows.state import JoinState, Waiting
from registry.matured import Matured

PAGE = 2_000
Predictions = Mapping[int, Prediction]
Shadows = Mapping[int, Shadow]


class Label(msgspec.Struct, frozen=True, gc=False):
    """A feedback."""

    at: int
    """Its offset."""
    prediction: int = -1
    """Offset of its prediction."""
    value: str | float | None = None
    """None for one that could not be read."""
    labeled_at: float | None = None
    first: int | None = None
    """Offset of the first feedback for the same prediction, when this one changes it."""


class Join:
    """One model's labels, in the order of their stream."""

    def __init__(self, place: Place, state: JoinState):
        self.streams, self.schema, self.state = place.streams, place.schema, state
        self.rule = place.model.labels.combine
        self.maturity = events.span(seconds(place.model.gate.maturity))
        self.negative = None if self.schema.label.is_regression else self.schema.label.class_texts[0]
        if place.model.labels.on_timeout == "drop":
            state.negative_since = None
        elif state.negative_since is None:
            state.negative_since = max(state.matured_through, 0)
        self._columns = {text: float(at) for at, text in enumerate(self.schema.label.class_texts)}
        gate, names = place.model.gate, self.schema.names
        self._unit_at = names.index(gate.unit) if gate.unit in names else None
        self._segments_at = [(name, names.index(name)) for name in gate.segments]
        self._needs_rows = bool(gate.unit or gate.segments)
        self.waiting: dict[int, Waiting] = {}
        """Labelled predictions that have not matured, by offset."""
        self.examples: list[Example] = []
        self.amendments: list[Amendment] = []
        self._recall()

    def read(self, page: Page) -> list[Label]:
        """Feedback as labels, one for each entry; what cannot be read is buried."""
        return list(self._labels(page, buries=True))

    def take(self, labels: Sequence[Label], shadowed: int) -> None:
        """Joins labels in stream order; the shadow scorer has passed predictions through the offset `shadowed`."""
        predictions = self._asked({label.prediction for label in labels if label.value is not None})
        # Nothing matures on the way that is not late for the labels after it too.
        through, maturity = self.state.matured_through, self.maturity
        late = [label.prediction < max(label.at - maturity, through) for label in labels]
        asked_late = {label.prediction for label in compress(labels, late)}
        shadows, firsts = self._shadows(asked_late & predictions.keys()), self._firsts(labels)
        counts = self.state.counts
        for label, is_late in zip(labels, late, strict=True):
            if label.value is None:
                counts.dead_letters += 1
            elif (prediction := predictions.get(label.prediction)) is None:
                counts.orphans += 1
            elif not is_late:
                self._join(label, label.value, prediction, label.prediction <= shadowed)
            else:
                if label.prediction >= self.state.matured_through or not self._is_only_late(label):
                    self.mature(label.at - self.maturity)
                if label.first is None and not self._is_late(label.prediction, label.at):
                    # In time by its id, but a clock that was ahead has let its prediction mature: never evidence.
                    counts.uncovered += 1
                    self.state.uncovered.add(label.prediction)
                self._join_late(label, label.value, prediction, shadows.get(label.prediction), firsts)
        counts.feedback += len(labels)
        self.state.last_id = events.offset_id(labels[-1].at)
        self.mature(labels[-1].at - self.maturity)
        if self.state.negative_since is not None:
            self.examples.sort(key=operator.attrgetter("at"))

    def mature(self, until: int) -> None:
        """Hands predictions with a smaller offset to the record, in prediction order, labelled or not."""
        if until <= self.state.matured_through:
            return
        since = max(self.state.matured_through, 0)
        while (page := self.streams.page("predictions", since, until - 1, PAGE)).offsets:
            self._weigh(page)
            since = page.offsets[-1] + 1
            if len(page.offsets) < PAGE:
                break
        self.state.matured_through = until
        if self.waiting and next(iter(self.waiting)) < until:  # its prediction is gone from the stream
            self.waiting = {at: waiting for at, waiting in self.waiting.items() if at >= until}

    def _weigh(self, page: Page) -> None:
        shadows = self._shadows_between(page.offsets[0], page.offsets[-1])
        matured = []
        for offset, prediction in zip(page.offsets, events.decode_many(Prediction, page.fields), strict=True):
            if prediction is None or prediction.schema != self.schema.fingerprint:
                continue
            label = self._label_of(offset, prediction)
            matured.append(self._matured(offset, prediction, shadows.get(offset), label))
        self.state.record.add(matured)

    def _label_of(self, offset: int, prediction: Prediction) -> str | float | None:
        """What a prediction matures with; without a label it may count as negative."""
        waiting = self.waiting.pop(offset, None)
        if waiting is not None:
            return waiting.label
        since = self.state.negative_since
        if since is None or offset < since or self.negative is None:
            return None
        self.state.counts.timed_out += 1
        self.examples.append(Example(offset + self.maturity, offset, self.negative, prediction.row))
        return self.negative

    def _matured(
        self, offset: int, prediction: Prediction, shadow: Shadow | None, label: str | float | None
    ) -> Matured:
        """With the scores as logged; a shadow score that came too late to be waited for does not count."""
        column = label if label is None or isinstance(label, float) else self._columns[label]
        is_covered = shadow is not None and offset not in self.state.uncovered
        scored = shadow.scores if shadow is not None and is_covered else {}
        if not self._needs_rows:
            return Matured(offset, prediction.version, prediction.scores, scored, column, is_covered)
        row = prediction.row
        unit = prediction.entity if self._unit_at is None else str(row[self._unit_at])
        segments = tuple(f"{name}={row[at]}" for name, at in self._segments_at)
        return Matured(
            offset, prediction.version, prediction.scores, scored, column, is_covered, unit or str(offset), segments
        )

    def _join(self, label: Label, value: str | float, prediction: Prediction, is_shadowed: bool) -> None:
        """A label in time: an example to learn, which waits to become evidence, or a change to one that does."""
        offset, state = label.prediction, self.state
        known = self.waiting.get(offset)
        if known is None and label.first is None:
            self._learn(label, value, prediction)
            if not is_shadowed:
                state.counts.uncovered += 1
                state.uncovered.add(offset)
            self.waiting[offset] = Waiting(label.at, value)
        elif known is not None and known.label == value and label.first is None:
            state.counts.duplicates += 1
        else:
            state.counts.joined += 1
            if known is not None:
                known.label = self._change(label, value, known.at, known.label)
            else:  # the first label is gone from the stream
                self._change(label, value, label.at if label.first is None else label.first, None)

    def _learn(self, label: Label, value: str | float, prediction: Prediction) -> None:
        self.state.counts.joined += 1
        asked_s, came_s = events.seconds_at(label.prediction), events.seconds_at(label.at)
        # Clocks may be apart: nobody labels before the question or after the label has come. NaN counts as at once.
        labeled_s = came_s if label.labeled_at is None else max(asked_s, min(label.labeled_at, came_s))
        self.state.delays_s.append(max(0.0, labeled_s - asked_s))
        self.examples.append(Example(label.at, label.prediction, value, prediction.row))

    def _is_only_late(self, label: Label) -> bool:
        """Whether a late label moves no evidence: what else has matured by then makes no difference to it."""
        return label.first is None and self.state.negative_since is None

    def _join_late(
        self,
        label: Label,
        value: str | float,
        prediction: Prediction,
        shadow: Shadow | None,
        firsts: Mapping[int, Label],
    ) -> None:
        """A label for a prediction that has matured: learned, but evidence only where an earlier one was."""
        offset, state = label.prediction, self.state
        if label.first is None:
            state.counts.late += 1
            if self._is_negative_at(offset, label.at):
                state.counts.joined += 1
                self.amendments.append(Amendment(offset + self.maturity, offset, value, label.at))
                self._restate(label, self.negative, value, prediction, shadow)
            else:
                self._learn(label, value, prediction)
                state.record.audit(self._matured(offset, prediction, shadow, value))
            return
        state.counts.joined += 1
        was_negative = self._is_negative_at(offset, label.first)
        before = self._before(offset, firsts.get(label.first))
        after = self._change(label, value, offset + self.maturity if was_negative else label.first, before)
        if was_negative or not self._is_late(offset, label.first):
            self._restate(label, before, after, prediction, shadow)

    def _change(self, label: Label, value: str | float, at: int, before: str | float | None) -> str | float:
        """One more label for an example; returns what it counts as by the rule, and amends the example to that."""
        offset = label.prediction
        self.state.counts.corrections += 1
        votes = self.state.votes.get(offset)
        if votes is None and before is not None:
            votes = Votes.of(before)
        if votes is None:  # the first label is gone from the stream
            votes = Votes.of(value)
        else:
            votes.add(value)
        self.state.votes[offset] = votes
        after = votes.label(self.rule)
        if after != before:
            self.amendments.append(Amendment(at, offset, after, label.at))
        return after

    def _restate(
        self,
        label: Label,
        before: str | float | None,
        after: str | float,
        prediction: Prediction,
        shadow: Shadow | None,
    ) -> None:
        """What a matured label was evidence for is weighed anew."""
        if before is None or before == after:
            return
        was, now = (self._matured(label.prediction, prediction, shadow, one) for one in (before, after))
        self.state.restated.add(label.at, self.state.record.restate(was, now))

    def _is_late(self, offset: int, at: int) -> bool:
        return offset < at - self.maturity

    def _is_negative_at(self, offset: int, at: int) -> bool:
        """Whether a prediction had been taken for negative when a first label came."""
        since = self.state.negative_since
        return since is not None and offset >= since and self._is_late(offset, at)

    def _before(self, offset: int, first: Label | None) -> str | float | None:
        """The label that counted so far; None where the first one is gone from the stream."""
        votes = self.state.votes.get(offset)
        if votes is not None:
            return votes.label(self.rule)
        return None if first is None else first.value

    def _asked(self, offsets: Collection[int]) -> Predictions:
        """Predictions of today's schema, by offset."""
        found, fingerprint = self.streams.pick("predictions", offsets), self.schema.fingerprint
        return {
            offset: prediction
            for offset, prediction in zip(found, events.decode_many(Prediction, found.values()), strict=True)
            if prediction is not None and prediction.schema == fingerprint
        }

    def _shadows(self, offsets: Collection[int]) -> Shadows:
        return dict(_shadows(self.streams.pick("shadows", offsets)))

    def _shadows_between(self, first: int, last: int) -> Shadows:
        page = self.streams.page("shadows", first, last)
        return dict(_shadows(dict(zip(*page, strict=True))))

    def _firsts(self, labels: Sequence[Label]) -> dict[int, Label]:
        """The first labels of predictions that get another one here, by feedback offset."""
        asked = {label.first for label in labels if label.first is not None}
        found = self.streams.pick("feedback", asked)
        return {label.at: label for label in self._readable(Page([*found], [*found.values()]))}

    def _readable(self, page: Page) -> list[Label]:
        """Labels among feedback that was read, and buried where need be, before."""
        return [label for label in self._labels(page, buries=False) if label.value is not None]

    def _labels(self, page: Page, buries: bool) -> Iterator[Label]:
        """As the schema reads them."""
        given, value_of = events.decode_many(Feedback, page.fields), self.schema.label.decode
        for at, fields, feedback, asked in zip(*page, given, events.asked_of(given), strict=True):
            try:
                if feedback is None:
                    feedback = events.decode(Feedback, events.unflat(fields))
                if asked is None:
                    asked = events.offset(feedback.prediction_id)
                first = events.first_of(fields)
                first_at = None if first is None else events.offset(first)
                yield Label(at, asked, value_of(feedback.label), feedback.labeled_at, first_at)
            except (BadEntry, BadInput, ValueError) as error:
                if buries:
                    self.streams.bury("feedback", events.offset_id(at), events.unflat(fields), str(error))
                yield Label(at)

    def _recall(self) -> None:
        """Labels that had not matured at the checkpoint are read again, and wait as they did."""
        since, until = self.state.matured_through, self.state.last_id
        if until == START:
            return
        begin, end = max(since, 0), events.offset(until)
        while (page := self.streams.page("feedback", begin, end, PAGE)).offsets:
            labels = [
                label
                for label in self._readable(page)
                if label.prediction >= since and not self._is_late(label.prediction, label.at)
            ]
            predictions = self._asked({label.prediction for label in labels})
            for label in labels:
                offset = label.prediction
                if offset in predictions and offset not in self.waiting and label.value is not None:
                    votes = self.state.votes.get(offset)
                    value = label.value if votes is None else votes.label(self.rule)
                    self.waiting[offset] = Waiting(label.at if label.first is None else label.first, value)
            begin = page.offsets[-1] + 1


def _shadows(found: Mapping[int, Raw]) -> Iterator[tuple[int, Shadow]]:
    for offset, shadow in zip(found, events.decode_many(Shadow, found.values()), strict=True):
        if shadow is not None:
            yield offset, shadow
