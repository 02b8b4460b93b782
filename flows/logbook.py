"""From streams to the durable log. The log's own last offset decides what is written, so nothing is written twice."""

from collections.abc import Iterator
from itertools import islice

from contracts import events
from contracts.events import Feedback, Prediction, Shadow
from contracts.log import Log
from contracts.streams import START, Entry, Fields, Source, Streams

ROWS = 5_000  # rows of one append: large enough for few files, small enough to hold twice in memory
PATIENCE_S = 60.0  # how long a prediction waits for its shadow scores before it is logged without them


class Logbook:
    """Copies predictions with their shadow scores, and feedback, into a model's Delta tables."""

    def __init__(self, streams: Streams, log: Log):
        self.streams, self.log = streams, log
        self.predictions_at, self.labels_at = log.position("predictions"), log.position("labels")

    def write(self, learned_through: str, now: float) -> int:
        """Appends what is complete: predictions that the shadow scorer has passed, feedback that was learned from.

        Returns the rows written.
        """
        shadowed = events.offset(self.streams.last_id("shadows"))
        complete = max(shadowed, events.offset(f"{max(0, int((now - PATIENCE_S) * 1000))}-0"))
        return self._write_predictions(complete) + self._write_labels(events.offset(learned_through))

    def _write_predictions(self, until: int) -> int:
        written = 0
        for batch in self._batches("predictions", self.predictions_at, until):
            shadows = self.streams.look_up("shadows", [id_ for id_, _ in batch])
            rows = [
                (id_, prediction, events.readable(Shadow, shadows.get(id_, {})) or Shadow())
                for id_, fields in batch
                if (prediction := events.readable(Prediction, fields))
                and prediction.schema == self.log.schema.fingerprint
            ]
            written += self.log.append_predictions(rows)
            self.predictions_at = events.offset(batch[-1][0])
        return written

    def _write_labels(self, until: int) -> int:
        written = 0
        for batch in self._batches("feedback", self.labels_at, until):
            rows = [(id_, feedback) for id_, fields in batch if (feedback := self._label(fields))]
            written += self.log.append_labels(rows)
            self.labels_at = events.offset(batch[-1][0])
        return written

    def _batches(self, source: Source, after: int, until: int) -> Iterator[list[Entry]]:
        if until <= after:
            return
        start = START if after < 0 else events.offset_id(after)
        entries = self.streams.scan(source, start, events.offset_id(until))
        while batch := list(islice(entries, ROWS)):
            yield batch

    def _label(self, fields: Fields) -> Feedback | None:
        feedback = events.readable(Feedback, fields)
        try:
            if feedback is not None:
                events.entry_id(feedback.prediction_id)
                self.log.schema.label.decode(feedback.label)
        except ValueError:
            return None  # buried by the learn loop, with the reason
        return feedback
