"""One learner: follows the journal, learns, stores what it has become, and publishes it in revisions.

Its position in the journal is its offset: what was learned after the last checkpoint is learned again after a crash,
from the same examples in the same order, and gives the same state. A corrected label is learned by going back: see
`flows.corrections`.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis

from contracts import journal
from contracts.events import offset, offset_id
from contracts.facts import LearnerFacts
from contracts.journal import Example
from flows import checkpoint, snapshots
from flows.aside import Aside, AsideFailed, Inline
from flows.corrections import Corrections
from flows.place import Place
from flows.publishing import Published, Publisher, Registered, Rows
from flows.training import ExampleRefused, Source, TrainState

log = logging.getLogger(__name__)

GOLDEN_ROWS = 16
BACKLOG = 500  # examples that come at once: labels come one by one where nobody is behind
AGAIN_S = 1.0
RETRY_S = 15.0  # MLflow may be starting, which takes about 20 s on a fresh store


@dataclass(frozen=True)
class Saved:
    """What one save did, and what it cost."""

    bytes: int = 0
    checkpoint_s: float = 0.0
    publish_s: float = 0.0
    snapshots: int = 0
    snapshot_bytes: int = 0
    hashed: tuple[int, str] | None = None
    """Labels learned, and the state hash."""
    hash_s: float = 0.0
    published: Published | None = None


class Trainer:
    """One online learner of one model. `step` is one iteration."""

    save_every_s = 0.4  # the freshest that a revision can be
    behind_every_s = 2.0  # while there is a backlog: nobody waits for a revision that is old already
    save_share = 0.05  # of the time, at most, while learning waits for it
    aside_share = 0.5  # of the time where it does not
    inline_s = 0.02  # a save that takes longer is done beside learning
    hash_share = 0.02  # of the time: hashing walks the whole model
    tell_every_s = 1.0

    def __init__(self, place: Place, name: str, start: Callable[[Callable[[], Any]], Any] = Aside):
        """`start` begins work beside learning: `Aside`, or `Inline` where forking is no choice."""
        self.place, self.name, self.start = place, name, start
        self.folder = place.checkpoint_folder / "learners" / name
        self.benched = _text(self.folder / "benched")
        self.state = self._loaded()
        self.publisher = Publisher(place, name)
        self.source = self._source()
        self.corrections = Corrections(place, self.folder, self._fresh, start)
        self.recent: deque[Example] = deque(maxlen=GOLDEN_ROWS)
        self.held: str | None = None
        self.is_faulty = False
        self._held_learned, self._has_backlog = -1, False
        self.saved = Saved()
        self.hashed = (-1, "")
        self._saving: Any = None
        self._registering: Any = None
        self._saved_as: tuple[int | None, ...] = ()
        self.joined = self.complete = 0
        """Offset through which the loop has read feedback, as it last said, and through which all of it is learned."""
        self._noted = ""
        self._save_at = self._register_at = self._hash_at = self._tell_at = self._began = 0.0

    def step(self) -> int:
        """Learns what has come, and does whatever is due. Returns how many examples that was."""
        examples = []
        if self.benched is None:
            # The loop writes them the other way round: whoever has an example knows the corrections before it.
            examples = self.source.take()
            self._has_backlog = len(examples) >= BACKLOG
            self._amend()
            if not examples and self.source.is_empty():
                self.complete = self.joined
        if examples:
            try:
                self.state.learn(examples, self.corrections.labels)
            except ExampleRefused as error:
                self._bench(str(error))
                return 0
            self.recent.extend(examples[-GOLDEN_ROWS:])
        elif self.benched is not None:
            self.corrections.take()
            self._purge()  # it learns nothing anew: stored states that hold what was erased go, the current one too
        self._do_what_is_due(time.monotonic())
        return len(examples)

    def is_behind(self) -> bool:
        """Whether something that was read is not yet part of what is learned: a correction, or its replay."""
        return self.corrections.is_behind()

    def close(self) -> None:
        """Stores what was learned, as at the end of an orderly stop."""
        self.corrections.close()
        if self._registering is not None:
            self._registering.kill()
        if self._saving is not None:
            self._take_saved(self._saving)
        if self.benched is None:
            self.state.save(self.folder)
        self._tell(0.0)
        self.source.close()

    # Corrections

    def _amend(self) -> None:
        """Takes in corrections. What was published of an erased row is published anew, whatever it had learned."""
        if self.corrections.take():
            self.recent = deque((one for one in self.recent if self.corrections.is_known(one)), GOLDEN_ROWS)
            self.publisher.forget()
            self.state.published_learned = -1
        self.corrections.apply(self.state)

    def _take_relearned(self) -> None:
        """Goes on from the state that was learned anew, where there is one now."""
        try:
            relearned = self.corrections.relearned()
        except ExampleRefused as error:
            self._bench(f"when it learned corrections: {error}")
            return
        if relearned is None or self.benched is not None:
            return
        self.state.relearn(relearned)
        self._held_learned = -1
        self.source.close()
        self.source, self.complete = self._source(), 0
        self._amend()  # the replay may have gone past corrections that were not known when it began

    def _golden(self) -> Rows:
        """The newest rows learned from; the journal's first ones in a process that has learned none yet."""
        chosen = self.recent or journal.first(self.place.journal_folder, GOLDEN_ROWS)
        return tuple(one.row for one in chosen if one.row is not None and self.corrections.is_known(one))

    def _purge(self) -> None:
        if self._saving is None and self.corrections.purge(self.benched is not None):
            self._tell_at = 0.0

    # What is stored and published

    def _do_what_is_due(self, now: float) -> None:
        self._absorb()
        if self.benched is None:
            if now >= self._save_at and self._saving is None:
                self._save(now)
            self._register(now)
            self.corrections.begin_if_due(now)
        if now >= self._tell_at:
            self._tell(now)

    def _absorb(self) -> None:
        """Takes in what was finished beside learning."""
        if self._saving is not None and self._saving.done():
            self._take_saved(self._saving)
        if self._registering is not None and self._registering.done():
            registering, self._registering = self._registering, None
            self._take_registered(registering)
        if self._saving is None:  # else it would come back as what is published now, and was not corrected
            self._take_relearned()

    def _save(self, now: float) -> None:
        """Stores and publishes, where something is new."""
        state = self.state
        is_held = self._held_learned == state.learner.learned and not self.publisher.is_let_through(state)
        rows = self._golden() if not is_held and self.publisher.is_due(state) else ()
        if rows:
            state.revision = max(state.revision + 1, state.learner.learned)
        is_new = (state.position, state.applied, state.revision, state.version)
        if is_new == self._saved_as:
            self._save_at = now + self.save_every_s
            return
        self._saved_as, self._began = is_new, now
        through, hashes = self._through(), now >= self._hash_at
        begin = Inline if self._saves_inline() else self.start
        self._saving = begin(lambda: self._store(rows, through, hashes))
        if begin is Inline:
            self._take_saved(self._saving)

    def _saves_inline(self) -> bool:
        """Whether the next save is done in place, by what the last one took."""
        return self.saved.checkpoint_s + self.saved.publish_s < self.inline_s

    def _store(self, rows: Rows, through: str, hashes: bool) -> Saved:
        """Checkpoints, then publishes: what is public is never ahead of what is saved."""
        began = time.monotonic()
        size = self.state.save(self.folder)
        kept = self.corrections.keep_snapshot()
        stored = time.monotonic()
        published = self.publisher.publish(self.state, rows, through) if rows else None
        shown = time.monotonic()
        hashed = (self.state.learner.learned, self.state.learner.state_hash()) if hashes else None
        return Saved(
            bytes=size,
            checkpoint_s=stored - began,
            publish_s=shown - stored,
            snapshots=len(kept),
            snapshot_bytes=sum(one.size for one in kept),
            hashed=hashed,
            hash_s=time.monotonic() - shown,
            published=published,
        )

    def _take_saved(self, saving: Any) -> None:
        self._saving = None
        try:
            saved: Saved = saving.result()
        except (AsideFailed, OSError, redis.RedisError) as error:
            self._saved_as, self._save_at = (), time.monotonic() + AGAIN_S
            log.error("not saved or not published learner=%s retry_s=%g reason=%s", self.name, AGAIN_S, error)
            return
        now = time.monotonic()
        took_s = now - self._began
        every_s = max(self.save_every_s, self.behind_every_s) if self._has_backlog else self.save_every_s
        self.saved = saved
        # After a slow one the next is done beside learning: a moment of a busy disk is not paid for twenty times over.
        share = self.save_share if self._saves_inline() else max(self.save_share, self.aside_share)
        self._save_at = now + max(every_s, took_s / share - took_s)
        if saved.hashed is not None:
            self.hashed, self._hash_at = saved.hashed, now + saved.hash_s / self.hash_share
        if saved.published is not None:
            self._take_published(saved.published)
        self._purge()

    def _take_published(self, published: Published) -> None:
        state, self.held, self.is_faulty = self.state, published.held, published.is_faulty
        self.publisher.take(published)
        self._held_learned = -1 if published.held is None else published.learned
        if published.broken is not None:
            self._bench(published.broken)
        elif published.held is not None:
            if state.held_since is None:
                state.held_since = time.time()
                log.warning("held a revision learner=%s reason=%s", self.name, published.held)
        else:
            state.anchor, state.published_learned, state.held_since = published.anchor, published.learned, None

    def _through(self) -> str:
        """The newest feedback that this state has learned all of: none later than a correction that it lacks."""
        state, lacking = self.state, [one.by for one in self.corrections.lacking(self.state)]
        newest = max(state.at, self.complete)
        return offset_id(max(0, min([newest, *(by - 1 for by in lacking)])))

    def _note(self, through: str) -> None:
        """What was read since the newest revision may have left nothing to learn: then that revision has all of it."""
        state, is_public = self.state, self.state.published_learned == self.state.learner.learned
        if state.version is not None and is_public and through != self._noted and self._saving is None:
            self.place.streams.note_revision(state.version, through, state.revision)
            self._noted = through

    def _register(self, now: float) -> None:
        state, enough = self.state, self.place.model.gate.bootstrap_labels
        if state.version is not None or self._registering is not None or not self._saved_as or now < self._register_at:
            return
        if state.learner.learned >= enough and not self.publisher.is_frozen():
            rows, through = self._golden(), self._through()
            # MLflow takes seconds.
            self._registering = self.start(lambda: self.publisher.register(state, rows, through))

    def _take_registered(self, registering: Any) -> None:
        try:
            done: Registered = registering.result()
        except (AsideFailed, redis.RedisError) as error:
            done = Registered(None, str(error))
        if done.broken:
            self._bench(done.reason)
        elif done.version is None:
            self._register_at = time.monotonic() + RETRY_S
            log.warning("registration waits learner=%s retry_s=%g reason=%s", self.name, RETRY_S, done.reason)
        else:
            self.state.version = done.version

    # What is known of it

    def _loaded(self) -> TrainState:
        state: TrainState | None = checkpoint.load(self.folder)
        fresh = self._fresh()
        if state is None or state.configured == fresh.configured:
            return state or fresh
        log.warning("begins anew learner=%s reason=its configuration has changed", self.name)
        for kept in snapshots.of(self.folder / "snapshots"):
            kept.path.unlink()
        return fresh

    def _source(self) -> Source:
        return Source(self.place.journal_folder, self.state.position, self.state.learner.mini_batch)

    def _fresh(self) -> TrainState:
        return TrainState.fresh(self.place.model.learners[self.name], self.place.schema, self.name)

    def _bench(self, reason: str) -> None:
        """Stops learning: the state is not to be trusted. What was stored and published stays."""
        self.benched = reason
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "benched").write_text(reason)
        log.error("benched learner=%s reason=%s", self.name, reason)
        self.state.learner.model = None  # it may be what filled the memory
        self._tell_at = 0.0

    def is_pardoned(self) -> bool:
        """Whether somebody took the learner off the bench: a new process then goes on from its checkpoint."""
        return self.benched is not None and _text(self.folder / "benched") is None

    def _tell(self, now: float) -> None:
        self._tell_at = now + self.tell_every_s
        memory_mb = resident_mb()
        if memory_mb > self.place.model.learners[self.name].memory_mb and self.benched is None:
            self._bench(
                f"its process grew to {memory_mb:,.0f} MiB, beyond memory_mb = "
                f"{self.place.model.learners[self.name].memory_mb}; give it more, or a smaller model"
            )
        state, saved, through = self.state, self.saved, self._through()
        self._note(through)
        learn = self.place.learn_facts()
        self.joined = 0 if learn is None else offset(learn.last_feedback_id)
        facts = LearnerFacts(
            at=time.time(),
            learned=state.learner.learned,
            last_feedback_id=through,
            state_hash=self.hashed[1],
            hashed_at=self.hashed[0],
            position=state.position,
            amendments=state.applied,
            purged=self.corrections.purged,
            version=state.version,
            revision=state.revision,
            benched=self.benched,
            held=self.held,
            held_since=None if self.held is None else state.held_since,
            is_faulty=self.is_faulty,
            frozen=self.publisher.is_frozen(),
            rebuilding=self.corrections.told(),
            checkpoint_bytes=saved.bytes,
            checkpoint_s=saved.checkpoint_s,
            publish_s=saved.publish_s,
            memory_mb=memory_mb,
            snapshots=saved.snapshots,
            snapshot_bytes=saved.snapshot_bytes,
        )
        self.place.streams.set_fact(f"learner:{self.name}", facts)


def resident_mb() -> float:
    """Resident memory of this process in MiB."""
    return float(psutil.Process().memory_info().rss) / 2**20


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
