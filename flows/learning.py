"""The learn loop of one model: join, learn, weigh, remember, publish. One iteration is `Loop.step`.

Its order is the point: a label is learned only after the shadow scorer has passed its prediction; what was learned is
checkpointed before it is published; evidence is given in prediction order, once labels have had their time.
"""

import logging
import time
from collections.abc import Callable, Sequence

from contracts import events
from contracts.config import seconds
from contracts.events import BadEntry, Feedback, Prediction, Shadow
from contracts.facts import ComparisonFacts, LearnerFacts, LearnFacts
from contracts.releases import Board
from contracts.schema import BadInput
from contracts.streams import Entry, Fields
from flows import checkpoint
from flows.logbook import Logbook
from flows.place import Place
from flows.publishing import Publisher
from flows.state import LearnState, Waiting
from learners.catalogue import build_online
from learners.online import LearnerFailed

log = logging.getLogger(__name__)


class Loop:
    """One model's learning. It continues from its checkpoint wherever it was stopped."""

    batch = 500  # feedback taken between two looks at the clock
    save_every_s = 1.0  # what a crash costs in repeated work, and the freshest that a revision can be
    write_every_s = 5.0  # one small Delta append costs 20 to 200 ms
    trim_every_s = 60.0

    def __init__(self, place: Place, publisher: Publisher | None = None, renew: Callable[[], None] = lambda: None):
        """`renew` raises when this loop is no longer the one writer; then nothing more is saved."""
        self.place, self.publisher, self.renew = place, publisher, renew
        self.streams, self.schema = place.streams, place.schema
        self.maturity_s, self.shadow_timeout_s = (
            seconds(getattr(place.model.gate, name)) for name in ("maturity", "shadow_timeout")
        )
        loaded: LearnState | None = checkpoint.load(place.checkpoint_folder)
        self.state = loaded or LearnState.fresh(place.model)
        self.state.record.rules = place.model.gate
        self._add_new_learners()
        self.logbook = Logbook(place.streams, place.log)
        self.board = Board()
        self.comparisons: tuple[ComparisonFacts, ...] = ()
        """As of the last checkpoint."""
        self.hashes: dict[str, tuple[int, str, float]] = {}
        self.saved_id, self.saved_matured = self.state.last_id, self.state.record.matured
        self.saved_at = self.written_at = self.trimmed_at = time.monotonic()

    def _add_new_learners(self) -> None:
        """Learners of the configuration that the checkpoint does not know start from here; removed ones are dropped."""
        wanted = self.place.model.learners_of("online")
        known = self.state.learners
        self.state.learners = {
            name: known[name] if name in known else build_online(learner, self.schema, name)
            for name, learner in wanted.items()
        }

    def step(self, block_ms: int = 500) -> int:
        """One iteration: reads what came back, learns it, and does whatever is due. Returns the feedback read."""
        self.renew()
        self._follow_board()
        drained_at = self._server_now()
        entries = self.streams.follow("feedback", self.state.last_id, self.batch, block_ms)
        ready = self._shadowed(entries) if entries else []
        if ready:
            self._take(ready)
        elif not entries:
            # Nothing older can come: every feedback from before this moment has been read.
            self.state.mature(drained_at - self.maturity_s, self.schema)
        else:
            time.sleep(0.02)  # the shadow scorer is a moment behind
        self._do_what_is_due(time.monotonic())
        return len(ready)

    def close(self) -> None:
        """Saves, publishes and logs what is left, as at the end of an orderly stop."""
        self.save()
        self.logbook.write(self.state.last_id, self._server_now())

    def save(self) -> None:
        """Checkpoints, then makes public: what is published is never ahead of what is saved."""
        self.renew()
        checkpoint.save(self.place.checkpoint_folder, self.state)
        self.saved_id, self.saved_matured = self.state.last_id, self.state.record.matured
        self._show()

    def _show(self) -> None:
        if self.publisher is not None:
            self.publisher.publish(self.state, self.board)
        facts = self.facts()
        self.comparisons = facts.comparisons
        self.streams.set_fact("learn", facts)

    def facts(self) -> LearnFacts:
        """What is known now; a reader sees it as of the last checkpoint."""
        state, counts = self.state, self.state.counts
        names = self._learner_names()
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
            pending=len(state.waiting),
            matured=state.record.matured,
            dead_letters=counts.dead_letters,
            loss=state.record.loss_name,
            delay_s=state.delay_quantiles(),
            learners={name: self._learner_facts(name) for name in state.learners},
            versions=state.record.version_facts(names),
            comparisons=state.record.comparison_facts(self.board.challengers, names, self._server_now()),
            logged_predictions=self.logbook.predictions_at,
            logged_labels=self.logbook.labels_at,
        )

    def _learner_facts(self, name: str) -> LearnerFacts:
        learner, version = self.state.learners[name], self.state.enrolled.get(name)
        return LearnerFacts(
            learned=learner.learned,
            last_feedback_id=self.state.last_id,
            state_hash=self._state_hash(name),
            version=version,
            revision=0 if self.publisher is None else self.publisher.revisions.get(name, 0),
            benched=self.state.benched.get(name),
        )

    def _state_hash(self, name: str) -> str:
        """Hashing walks the whole model: once per change, and for at most a tenth of the time."""
        learner = self.state.learners[name]
        learned, hashed, not_before = self.hashes.get(name, (-1, "", 0.0))
        began = time.monotonic()
        if learned != learner.learned and began >= not_before:
            hashed = learner.state_hash()
            ended = time.monotonic()
            self.hashes[name] = (learner.learned, hashed, ended + 9 * (ended - began))
        return hashed

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
        """Redis's clock, which dates every entry."""
        whole, micro = self.place.client.time()
        return float(whole) + float(micro) / 1e6

    def _shadowed(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries up to the first whose prediction the shadow scorer has yet to pass and is still worth a wait."""
        position = events.offset(self.streams.last_id("shadows"))
        patience_ends = self._server_now() - self.shadow_timeout_s
        ready: list[Entry] = []
        for id_, fields in entries:
            feedback = events.readable(Feedback, fields)
            asked = _offset_or_none(feedback)
            if asked is not None and asked > position and events.seconds_of(id_) > patience_ends:
                break
            ready.append((id_, fields))
        return ready

    def _take(self, entries: Sequence[Entry]) -> None:
        """Joins and learns feedback in stream order."""
        feedback = {id_: self._decoded(id_, fields) for id_, fields in entries}
        asked = [one.prediction_id for one in feedback.values() if one is not None]
        predictions = self.streams.look_up("predictions", asked)
        shadows = self.streams.look_up("shadows", asked)
        for id_, one in feedback.items():
            now_s = events.seconds_of(id_)
            self.state.mature(now_s - self.maturity_s, self.schema)
            self.state.counts.feedback += 1
            if one is not None:
                self._join(id_, one, predictions.get(one.prediction_id), shadows.get(one.prediction_id))
            self.state.last_id = id_

    def _decoded(self, id_: str, fields: Fields) -> Feedback | None:
        """The feedback with its label as the schema reads it; an unreadable one is buried."""
        try:
            feedback = events.decode(Feedback, fields)
            events.entry_id(feedback.prediction_id)
            label = self.schema.label.decode(feedback.label)
        except (BadEntry, BadInput, ValueError) as error:
            self.streams.bury("feedback", id_, fields, str(error))
            self.state.counts.dead_letters += 1
            return None
        return Feedback(feedback.prediction_id, label, feedback.reporter, feedback.comment, feedback.labeled_at)

    def _join(self, id_: str, feedback: Feedback, asked: Fields | None, shadowed: Fields | None) -> None:
        counts, prediction = self.state.counts, events.readable(Prediction, asked or {})
        if prediction is None or prediction.schema != self.schema.fingerprint:
            counts.orphans += 1
            return
        known = self.state.waiting.get(feedback.prediction_id)
        if known is not None and known.label == feedback.label:
            counts.duplicates += 1
            return
        offset, came_s = events.offset(feedback.prediction_id), events.seconds_of(id_)
        asked_s = events.seconds_at(offset)
        if known is not None:
            counts.corrections += 1
            known.label = feedback.label
        elif asked_s < came_s - self.maturity_s:
            counts.late += 1
        else:
            self._await_maturity(offset, feedback, prediction, events.readable(Shadow, shadowed or {}))
        counts.joined += 1
        self.state.delays_s.append((feedback.labeled_at or came_s) - asked_s)
        self._learn(prediction, feedback.label)

    def _await_maturity(self, offset: int, feedback: Feedback, prediction: Prediction, shadow: Shadow | None) -> None:
        if shadow is None:
            self.state.counts.uncovered += 1
        scores = {prediction.version: prediction.scores}
        scores |= {version: scored for version, (_, scored) in shadow.scores.items()} if shadow else {}
        asked_s, is_covered = events.seconds_at(offset), shadow is not None
        waiting = Waiting(offset, asked_s, prediction.version, scores, feedback.label, is_covered)
        self.state.wait(feedback.prediction_id, waiting)

    def _learn(self, prediction: Prediction, label: str | float) -> None:
        self.state.recent.append(prediction.row)
        for name, learner in self.state.learners.items():
            if name in self.state.benched:
                continue
            try:
                learner.learn_one(prediction.row, label)
            except LearnerFailed as error:
                self.state.benched[name] = error.reason
                log.error("benched learner=%s reason=%s", name, error.reason)

    def _do_what_is_due(self, now: float) -> None:
        is_new = self.state.last_id != self.saved_id or self.state.record.matured != self.saved_matured
        if now - self.saved_at >= self.save_every_s:
            self.saved_at = now
            if is_new:
                self.save()
            else:
                self._show()
        if now - self.written_at >= self.write_every_s:
            self.written_at = now
            self.logbook.write(self.saved_id, self._server_now())
        if now - self.trimmed_at >= self.trim_every_s:
            self.trimmed_at = now
            self._trim()

    def _trim(self) -> None:
        """Drops from the streams what is durable, passed by every reader, and beyond the label horizon."""
        if self.saved_id != self.streams.last_id("feedback"):
            return  # feedback that was accepted and is still unread needs its prediction, however old
        horizon = f"{max(0, int((self._server_now() - seconds(self.place.model.label_horizon)) * 1000))}-0"
        expired = events.offset(horizon)
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


def _offset_or_none(feedback: Feedback | None) -> int | None:
    try:
        return None if feedback is None else events.offset(feedback.prediction_id)
    except ValueError:
        return None
