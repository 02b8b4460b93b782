"""Labels meet their questions: each becomes an example to learn, a change to an earlier one, or a count.

A label becomes an example at once; it becomes evidence when its prediction has matured, in prediction order. What
comes out (`examples`, `amendments`) goes to the journal; the rest is in `state`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from contracts import events
from contracts.config import seconds
from contracts.events import BadEntry, Feedback, Prediction, Shadow
from contracts.journal import Amendment, Example
from contracts.schema import BadInput
from contracts.streams import START, Entry, Fields
from contracts.votes import Votes
from flows.place import Place
from flows.state import JoinState, Queue, Waiting
from registry.tenure import Matured

PAGE = 2_000
Predictions = Mapping[int, Prediction]
Shadows = Mapping[int, Shadow]


class Label(msgspec.Struct, frozen=True, gc=False):
    """A feedback that could be read."""

    at: int
    """Its offset."""
    asked: str
    """Id of its prediction."""
    prediction: int
    """The same as an offset."""
    value: str | float
    labeled_at: float | None
    first: int | None
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
        self.queue = Queue()
        self.examples: list[Example] = []
        self.amendments: list[Amendment] = []
        self._recall()

    def take(self, entries: Sequence[Entry]) -> None:
        """Joins feedback in stream order."""
        read = [(id_, self._decoded(id_, fields)) for id_, fields in entries]
        labels = [label for _, label in read if label is not None]
        predictions, shadows = self._asked(labels)
        firsts = self._firsts(labels)
        counts = self.state.counts
        for id_, label in read:
            self.mature((events.offset(id_) if label is None else label.at) - self.maturity)
            counts.feedback += 1
            if label is None:
                counts.dead_letters += 1
            elif (prediction := predictions.get(label.prediction)) is None:
                counts.orphans += 1
            else:
                self._join(label, prediction, shadows.get(label.prediction), firsts)
        self.state.last_id = entries[-1][0]

    def mature(self, until: int) -> None:
        """Hands predictions with a smaller offset to the record, in prediction order."""
        if until <= self.state.matured_through:
            return
        if self.state.negative_since is None:
            while (offset := self.queue.first()) is not None and offset < until:
                self._weigh(*self.queue.pop())
        else:
            self._mature_all(until)
        self.state.matured_through = until

    def _mature_all(self, until: int) -> None:
        """The same where a prediction without a label is negative: all of them are gone through."""
        assert self.negative is not None
        for offset, prediction, shadow in self._asked_between(max(self.state.matured_through, 0), until):
            while (first := self.queue.first()) is not None and first < offset:
                self._weigh(*self.queue.pop())
            if self.queue.get(offset) is None:
                at = offset + self.maturity
                self.state.counts.timed_out += 1
                self.examples.append(Example(at, offset, self.negative, prediction.row))
                self._await(offset, at, self.negative, prediction, shadow)
            self._weigh(*self.queue.pop())

    def _asked_between(self, since: int, until: int) -> Iterator[tuple[int, Prediction, Shadow | None]]:
        """Predictions from one offset on and below another, with their shadows."""
        entries = self.streams.scan("predictions", events.offset_id(max(since - 1, 0)), events.offset_id(until - 1))
        while page := list(islice(entries, PAGE)):
            shadows = self.streams.look_up("shadows", [id_ for id_, _ in page])
            for id_, fields in page:
                prediction = events.readable(Prediction, fields)
                if prediction is not None and prediction.schema == self.schema.fingerprint:
                    yield events.offset(id_), prediction, events.readable(Shadow, shadows.get(id_, {}))

    def _weigh(self, offset: int, waiting: Waiting) -> None:
        self.state.record.add(self._matured(offset, waiting, waiting.label))

    def _matured(self, offset: int, waiting: Waiting, label: str | float) -> Matured:
        column = label if isinstance(label, float) else float(self.schema.label.index(label))
        asked_at = events.seconds_at(offset)
        return Matured(offset, asked_at, waiting.answered_by, waiting.scores, column, waiting.covered)

    def _join(self, label: Label, prediction: Prediction, shadow: Shadow | None, firsts: Mapping[int, Label]) -> None:
        known, offset = self.queue.get(label.prediction), label.prediction
        if known is not None and known.label == label.value and label.first is None:
            self.state.counts.duplicates += 1
            return
        self.state.counts.joined += 1
        if known is not None:
            known.label = self._change(label, known.at, known.label)
        elif label.first is not None:
            was_negative = self._is_negative_at(offset, label.first)
            before = self._before(offset, firsts.get(label.first))
            after = self._change(label, offset + self.maturity if was_negative else label.first, before)
            if was_negative or not self._is_late(offset, label.first):
                self._restate(label, before, after, prediction, shadow)
        elif self._is_negative_at(offset, label.at):
            self.state.counts.late += 1
            self.amendments.append(Amendment(offset + self.maturity, offset, label.value, label.at))
            self._restate(label, self.negative, label.value, prediction, shadow)
        else:
            self._learn(label, prediction, shadow)

    def _learn(self, label: Label, prediction: Prediction, shadow: Shadow | None) -> None:
        """A first label becomes an example, and waits to become evidence unless it is too late for that."""
        offset, asked_s = label.prediction, events.seconds_at(label.prediction)
        self.state.delays_s.append((label.labeled_at or events.seconds_at(label.at)) - asked_s)
        self.examples.append(Example(label.at, offset, label.value, prediction.row))
        if self._is_late(offset, label.at):
            self.state.counts.late += 1
        else:
            self._await(offset, label.at, label.value, prediction, shadow)

    def _await(self, offset: int, at: int, label: str | float, prediction: Prediction, shadow: Shadow | None) -> None:
        if shadow is None:
            self.state.counts.uncovered += 1
            self.state.uncovered.add(offset)
        self.queue.add(offset, self._waiting(offset, at, label, prediction, shadow))

    def _waiting(
        self, offset: int, at: int, label: str | float, prediction: Prediction, shadow: Shadow | None
    ) -> Waiting:
        """With the scores as logged; a shadow score that came too late to be waited for does not count."""
        scores = {prediction.version: prediction.scores}
        is_covered = shadow is not None and offset not in self.state.uncovered
        if shadow is not None and is_covered:
            for version, (_, scored) in shadow.scores.items():
                scores[version] = scored
        return Waiting(at, prediction.version, scores, label, is_covered)

    def _change(self, label: Label, at: int, before: str | float | None) -> str | float:
        """One more label for an example; returns what it counts as by the rule, and amends the example to that."""
        offset = label.prediction
        self.state.counts.corrections += 1
        votes = self.state.votes.get(offset)
        if votes is None and before is not None:
            votes = Votes.of(before)
        if votes is None:  # the first label is gone from the stream
            votes = Votes.of(label.value)
        else:
            votes.add(label.value)
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
        offset = label.prediction
        waiting = self._waiting(offset, 0, after, prediction, shadow)
        moved = self.state.record.restate(self._matured(offset, waiting, before), self._matured(offset, waiting, after))
        self.state.restated.add(label.at, moved)

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

    def _asked(self, labels: Sequence[Label]) -> tuple[Predictions, Shadows]:
        """Predictions of today's schema, and shadow scores, by offset."""
        asked, fingerprint = [label.asked for label in labels], self.schema.fingerprint
        predictions = {
            events.offset(id_): prediction
            for id_, fields in self.streams.look_up("predictions", asked).items()
            if (prediction := events.readable(Prediction, fields)) and prediction.schema == fingerprint
        }
        shadows = {
            events.offset(id_): shadow
            for id_, fields in self.streams.look_up("shadows", asked).items()
            if (shadow := events.readable(Shadow, fields))
        }
        return predictions, shadows

    def _firsts(self, labels: Sequence[Label]) -> dict[int, Label]:
        """The first labels of predictions that get another one here, by feedback offset."""
        changed = {label.first: label.prediction for label in labels if label.first is not None}
        asked = [events.offset_id(at) for at in changed]
        found = self.streams.look_up("feedback", asked) if asked else {}
        return {events.offset(id_): label for id_, fields in found.items() if (label := self._readable(id_, fields))}

    def _decoded(self, id_: str, fields: Fields) -> Label | None:
        """The label as the schema reads it; an unreadable one is buried."""
        try:
            return self._read(id_, fields)
        except (BadEntry, BadInput, ValueError) as error:
            self.streams.bury("feedback", id_, fields, str(error))
            return None

    def _readable(self, id_: str, fields: Fields) -> Label | None:
        try:
            return self._read(id_, fields)
        except ValueError:
            return None  # it was buried when it was first read

    def _read(self, id_: str, fields: Fields) -> Label:
        feedback, first = events.decode(Feedback, fields), events.first_of(fields)
        return Label(
            events.offset(id_),
            feedback.prediction_id,
            events.offset(feedback.prediction_id),
            self.schema.label.decode(feedback.label),
            feedback.labeled_at,
            None if first is None else events.offset(first),
        )

    def _recall(self) -> None:
        """Labels that had not matured at the checkpoint are read again, and wait as they did."""
        since, until = self.state.matured_through, self.state.last_id
        if until == START:
            return
        entries = self.streams.scan("feedback", events.offset_id(max(since - 1, 0)), until)
        while page := list(islice(entries, PAGE)):
            labels = [label for id_, fields in page if (label := self._readable(id_, fields))]
            labels = [
                label for label in labels if label.prediction >= since and label.prediction not in self.queue.waiting
            ]
            predictions, shadows = self._asked(labels)
            for label in labels:
                offset = label.prediction
                prediction = predictions.get(offset)
                if prediction is not None and offset not in self.queue.waiting and not self._is_late(offset, label.at):
                    votes = self.state.votes.get(offset)
                    value = label.value if votes is None else votes.label(self.rule)
                    at = label.at if label.first is None else label.first
                    self.queue.add(offset, self._waiting(offset, at, value, prediction, shadows.get(offset)))
