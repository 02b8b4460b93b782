"""From streams to the durable log. The log's own last offset decides what is written, so nothing is written twice."""

from collections.abc import Iterator

from contracts import events
from contracts.events import Feedback, Prediction, Shadow
from contracts.log import Log
from contracts.streams import Page, Source, Streams

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
        complete = max(shadowed, events.span(max(0.0, now - PATIENCE_S)))
        return self._write_predictions(complete) + self._write_labels(events.offset(learned_through))

    def _write_predictions(self, until: int) -> int:
        written = 0
        for page in self._pages("predictions", self.predictions_at, until):
            shadowed = self.streams.page("shadows", page.offsets[0], page.offsets[-1])
            shadows = dict(zip(shadowed.offsets, events.decode_many(Shadow, shadowed.fields), strict=True))
            rows = [
                (offset, prediction, shadows.get(offset) or Shadow())
                for offset, prediction in zip(page.offsets, events.decode_many(Prediction, page.fields), strict=True)
                if prediction is not None and prediction.schema == self.log.schema.fingerprint
            ]
            written += self.log.append_predictions(rows)
            self.predictions_at = page.offsets[-1]
        return written

    def _write_labels(self, until: int) -> int:
        written = 0
        for page in self._pages("feedback", self.labels_at, until):
            given = events.decode_many(Feedback, page.fields)
            rows = [
                (offset, feedback)
                for offset, feedback, asked in zip(page.offsets, given, events.asked_of(given), strict=True)
                if feedback is not None and asked is not None and self._is_label(feedback)
            ]
            written += self.log.append_labels(rows)
            self.labels_at = page.offsets[-1]
        return written

    def _pages(self, source: Source, after: int, until: int) -> Iterator[Page]:
        while after < until and (page := self.streams.page(source, after + 1, until, ROWS)).offsets:
            after = page.offsets[-1]
            yield page

    def _is_label(self, feedback: Feedback) -> bool:
        """False for what was buried by the learn loop, with the reason."""
        try:
            self.log.schema.label.decode(feedback.label)
        except ValueError:
            return False
        return True
