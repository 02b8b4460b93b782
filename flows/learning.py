"""The learn loop of one model: join, weigh, write down. One iteration is `Loop.step`.

Its order is the point: a label becomes an example only after the shadow scorer has passed its prediction, and evidence
is given in prediction order, once labels have had their time. Learners follow the journal that is written here, each
in a process of its own (`flows.trainer`).
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from contracts import events
from contracts.facts import ComparisonFacts, LearnerFacts, LearnFacts
from contracts.journal import Journal
from contracts.lease import LeaseTaken
from contracts.quantities import seconds
from contracts.releases import Board
from flows import checkpoint, erasing
from flows.joining import Join, Label
from flows.logbook import Logbook
from flows.place import Place
from flows.state import JoinState, Restated

log = logging.getLogger(__name__)


class Loop:
    """One model's labels. It continues from its checkpoint wherever it was stopped."""

    batch = 2_000  # feedback taken between two looks at the clock
    save_every_s = 1.0  # what a crash costs in repeated work
    write_every_s = 5.0  # one small Delta append costs 20 to 200 ms
    write_share = 0.2  # of the time, while there is a backlog of labels
    trim_every_s = 60.0

    def __init__(self, place: Place, renew: Callable[[], None] = lambda: None):
        """`renew` raises when this loop is no longer the one writer; then nothing more is saved."""
        self.place, self.renew, self.streams = place, renew, place.streams
        self.shadow_timeout_s = seconds(place.model.gate.shadow_timeout)
        self.restate_every_s = seconds(place.model.labels.correct_every)
        self.state: JoinState = checkpoint.load(place.checkpoint_folder) or JoinState.fresh(place.model)
        self.state.record = self.state.record.under(place.model.gate, place.model.loss)
        self.join = Join(place, self.state)
        self.logbook = Logbook(place.streams, place.log)
        self.journal = Journal(place.journal_folder)  # locked from here on: what Redis may interrupt comes before
        self.board = Board()
        self.comparisons: tuple[ComparisonFacts, ...] = ()
        """As of the last checkpoint."""
        self.saved_id, self.saved_seen = self.state.last_id, self.state.record.seen
        self.saved_at = self.trimmed_at = time.monotonic()
        self.restated_at = -math.inf if self.state.restated.corrections else self.saved_at
        self.write_at = self.saved_at + self.write_every_s
        self._is_torn = False
        self._clock = math.inf, _passed_s()
        """Redis's clock when it was last looked at, and this process's own, which nobody sets."""

    def step(self, block_ms: int = 500) -> int:
        """One iteration: reads what came back, joins it, and does whatever is due. Returns the feedback read.

        After an error it can only be closed: what was joined by half is joined again from the last checkpoint.
        """
        self.renew()
        with self._in_one_piece():
            self._follow_board()
            if self.saved_id == self.state.last_id:  # what is told is stored, and told again after a crash
                self._tell_restated(time.monotonic())
        drained_at = self._server_now()
        page = self.streams.next_page("feedback", events.offset(self.state.last_id), self.batch, block_ms)
        with self._in_one_piece():
            labels = self.join.read(page)
            shadowed = events.offset(self.streams.last_id("shadows")) if labels else -1
            ready = self._shadowed(labels, shadowed)
            if ready:
                self.join.take(ready, shadowed)
            elif not labels:
                # Nothing older can come: every feedback from before this moment has been read.
                self.join.mature(events.span(drained_at) - self.join.maturity)
            else:
                time.sleep(0.02)  # the shadow scorer is a moment behind
            self._keep()
            self._do_what_is_due(time.monotonic(), has_backlog=len(labels) == self.batch)
        return len(ready)

    @contextmanager
    def _in_one_piece(self) -> Iterator[None]:
        """What begins here and is interrupted, by Redis or by a signal, leaves a state that is not to be saved."""
        self._is_torn = True
        yield
        self._is_torn = False

    def close(self) -> None:
        """Saves and logs what is left, as at the end of an orderly stop; nothing where a step was interrupted."""
        try:
            if not self._is_torn:
                self.save()
                self.logbook.write(self.state.last_id, self._server_now())
        finally:
            self.journal.close()

    def save(self) -> None:
        """Makes the journal durable, then the state that was reached with it."""
        self.renew()
        self._keep()
        self.state.detect(self.place.model.drift.detectors)
        self.journal.sync()
        checkpoint.save(self.place.checkpoint_folder, self.state)
        self.saved_id, self.saved_seen = self.state.last_id, self.state.record.seen
        self._show()

    def _keep(self) -> None:
        """Hands what was joined to the learners; corrections first: who has an example knows those before it."""
        join = self.join
        self.journal.amend(join.amendments)
        self.journal.append(join.examples)
        join.examples, join.amendments = [], []

    def _show(self) -> None:
        facts = self.facts()
        self.comparisons = facts.comparisons
        self.streams.set_fact("learn", facts)

    def facts(self) -> LearnFacts:
        """What is known now; a reader sees it as of the last checkpoint."""
        state, counts = self.state, self.state.counts
        names = self._learner_names()
        learners = self.streams.facts_of("learner", LearnerFacts)
        return LearnFacts(
            at=time.time(),
            last_feedback_id=state.last_id,
            feedback=counts.feedback,
            joined=counts.joined,
            orphans=counts.orphans,
            duplicates=counts.duplicates,
            corrections=counts.corrections,
            late=counts.late,
            uncovered=counts.uncovered,
            timed_out=counts.timed_out,
            pending=len(self.join.waiting),
            matured=state.record.matured,
            dead_letters=counts.dead_letters,
            loss=state.record.loss_name,
            delay_s=state.delay_quantiles(),
            delays=state.delay_steps(),
            examples=self.journal.end,
            amendments=len(self.journal.amendments),
            journal_bytes=self.journal.bytes_on_disk(),
            learners={name: learners[name] for name in self.place.model.learners_of("online") if name in learners},
            versions=state.record.version_facts(names),
            comparisons=state.record.comparison_facts(
                self.board.challengers, names, self._server_now(), counts.corrections / max(counts.joined, 1)
            ),
            champion=state.record.watch_facts(),
            matured_through=state.matured_through,
            logged_predictions=self.logbook.predictions_at,
            logged_labels=self.logbook.labels_at,
        )

    def _learner_names(self) -> dict[int, str]:
        """The learner behind each version that has a score or a part."""
        names = self.state.names
        for version in {*self.state.record.versions, *self.board.versions} - set(names):
            manifest = self.place.releases.manifest(version)
            if manifest is not None:
                names[version] = manifest.learner
        return names

    def _follow_board(self) -> None:
        self.board = self.place.releases.board()
        self.state.record.begin(self.board, events.offset(self.board.since))

    def _server_now(self) -> float:
        """Redis's clock, which dates every entry; where it was set ahead, no further on than time has passed here.

        What is concluded from a clock that is set right again later cannot be taken back: an answer that waits for its
        label would have had its time, and be trimmed.
        """
        whole, micro = self.place.client.time()
        now, passed = float(whole) + float(micro) / 1e6, _passed_s()
        self._clock = min(now, self._clock[0] + passed - self._clock[1]), passed
        return self._clock[0]

    def _shadowed(self, labels: Sequence[Label], position: int) -> Sequence[Label]:
        """Labels up to the first whose prediction the shadow scorer has yet to pass and is still worth a wait."""
        if all(label.prediction <= position for label in labels):
            return labels
        patience_ends = events.span(self._server_now() - self.shadow_timeout_s)
        for i, label in enumerate(labels):
            if label.prediction > position and label.at > patience_ends:
                return labels[:i]
        return labels

    def _do_what_is_due(self, now: float, has_backlog: bool) -> None:
        is_new = self.state.last_id != self.saved_id or self.state.record.seen != self.saved_seen
        if now - self.saved_at >= self.save_every_s:
            self.saved_at = now
            if is_new:
                self.save()
            else:
                self._show()
            self._erase()
        if now >= self.write_at:
            self.logbook.write(self.saved_id, self._server_now())
            cost_s = time.monotonic() - now
            self.write_at = now + cost_s + max(self.write_every_s, cost_s / self.write_share if has_backlog else 0)
        if now - self.trimmed_at >= self.trim_every_s:
            self.trimmed_at = now
            self._trim()

    def _tell_restated(self, now: float) -> None:
        """One ledger line for the corrections of a while; the state that is saved before it names the line."""
        restated = self.state.restated
        if not restated.corrections or now - self.restated_at < self.restate_every_s:
            return
        try:
            self.place.roles.ledger.append(
                "corrected",
                self.board.champion,
                restated.sentence(),
                cause="learn",
                numbers=restated.numbers(),
                key=f"corrected:{restated.last_by}",
            )
        except LeaseTaken:
            return  # the next look tries again
        self.restated_at = now
        self.state.restated = Restated()

    def _erase(self) -> None:
        """Erases what was asked to be; what waits to mature is joined anew, from streams that no longer have it."""
        found = erasing.next_request(self.place)
        if found is None:
            return
        id_, request = found
        self.save()
        outcome = erasing.erase(self.place, self.journal, self.state, id_, request)
        for _ in range(2):  # the checkpoint before this one is kept too
            self.renew()
            checkpoint.save(self.place.checkpoint_folder, self.state)
        self.join = Join(self.place, self.state)
        erasing.tell(self.place, id_, request, outcome)

    def _trim(self) -> None:
        """Drops from the streams what is durable, passed by every reader, and beyond the label horizon."""
        if self.saved_id != self.streams.last_id("feedback"):
            return  # feedback that was accepted and is still unread needs its prediction, however old
        expired = max(0, events.span(self._server_now() - seconds(self.place.model.label_horizon)))
        self.state.forget_before(expired)
        logged, labels = self.logbook.predictions_at, self.logbook.labels_at
        shadowed, learned = events.offset(self.streams.last_id("shadows")), events.offset(self.saved_id)
        asked = min(expired, logged, shadowed)
        if asked > 0:
            self.streams.trim("predictions", events.offset_id(asked))
            self.streams.trim("shadows", events.offset_id(asked))
        if min(expired, learned, labels) > 0:
            self.streams.trim("feedback", events.offset_id(min(expired, learned, labels)))
        self.place.log.compact("predictions")
        self.place.log.compact("labels")


def _passed_s() -> float:
    """Seconds on a clock that nobody sets; where the system has one, it goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
