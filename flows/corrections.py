"""Labels that were corrected or erased after they were learned, and the replay that learns them anew.

A replay takes a state from before the first of them through the journal again, beside live learning. It keeps
snapshots on its way, as live learning does, and these hold the corrections: killed, it goes on from the newest one, and
the next one need not go back further than it must.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from contracts.journal import Amendment, Amendments, Example
from contracts.quantities import seconds
from flows import checkpoint, snapshots
from flows.aside import AsideFailed
from flows.place import Place
from flows.snapshots import Snapshot
from flows.training import Source, TrainState

log = logging.getLogger(__name__)

AGAIN_S = 1.0
TELL_EVERY_S = 1.0
STORE_EVERY_S = 0.25  # at 20,000 examples a second the last snapshot is as close as one of live learning
STORE_SHARE = 0.2  # of a replay's time, at most: what is lost when it is killed is five times a save, and a save


class Corrections:
    """What is known to be amended in the journal, and the replay of what one learner has learned without it."""

    def __init__(
        self, place: Place, folder: Path, fresh: Callable[[], TrainState], start: Callable[[Callable[[], Any]], Any]
    ):
        """`folder` is the learner's, `fresh` gives a state that has learned nothing, `start` begins work beside."""
        self.place, self.folder, self.fresh, self.start = place, folder, fresh, start
        self.amendments: list[Amendment] = []
        self.labels: dict[int, str | float | None] = {}
        self.purged = 0
        """Amendments that every stored state is in accordance with."""
        self._reader = Amendments(place.journal_folder)
        self._budget_bytes = place.model.labels.snapshots_mb << 20
        self._replaying: Any = None
        self._due_at: float | None = None
        self._is_urgent = progress(folder) is not None  # a replay was killed with its process
        self._is_unpurged = True

    def take(self) -> bool:
        """Takes in what was amended since the last call; whether anything was erased."""
        fresh = self._reader.take()
        self.amendments += fresh
        self.labels.update((one.prediction, one.label) for one in fresh)
        has_erased = any(one.label is None for one in fresh)
        if has_erased:
            self._is_urgent = self._is_unpurged = True
        return has_erased

    def apply(self, state: TrainState) -> None:
        """What lies ahead of a state will be read amended; for what lies behind it, a replay becomes due."""
        if not self.lacking(state):
            state.applied, self._is_urgent = len(self.amendments), False
        elif self._replaying is None and (self._due_at is None or self._is_urgent):
            every_s = seconds(self.place.model.labels.correct_every)
            self._due_at = time.monotonic() + (0.0 if self._is_urgent else every_s)
            self._is_urgent = False

    def lacking(self, state: TrainState) -> list[Amendment]:
        """Amendments of examples that a state has learned without them."""
        return snapshots.lacking(self.amendments, state.applied, state.at)

    def is_known(self, example: Example) -> bool:
        """Whether it was not erased."""
        return example.row is not None and self.labels.get(example.prediction, example.label) is not None

    def is_behind(self) -> bool:
        """Whether something is still to be learned anew."""
        return self._due_at is not None or self._replaying is not None

    def told(self) -> str | None:
        """How far the replay is, while there is one."""
        return None if self._replaying is None else progress(self.folder) or "begins"

    def begin_if_due(self, now: float) -> None:
        """Starts one replay for the corrections of a while."""
        if self._due_at is None or now < self._due_at:
            return
        self._due_at, amendments = None, list(self.amendments)
        self._replaying = self.start(
            lambda: replay(self.fresh, self.folder, self.place.journal_folder, amendments, self._budget_bytes)
        )

    def relearned(self) -> TrainState | None:
        """The state that a replay has come to, once. Raises ExampleRefused."""
        if self._replaying is None or not self._replaying.done():
            return None
        replaying, self._replaying = self._replaying, None
        try:
            learned: int = replaying.result()
            state: TrainState = checkpoint.read(self.folder / "rebuilt" / "current")
        except (AsideFailed, OSError) as error:
            self._due_at = time.monotonic() + AGAIN_S
            log.error("replay failed learner=%s retry_s=%g reason=%s", self.folder.name, AGAIN_S, error)
            return None
        (self.folder / "progress").unlink(missing_ok=True)
        self._is_unpurged = True
        log.info("relearned learner=%s examples=%d amendments=%d", self.folder.name, learned, state.applied)
        return state

    def keep_snapshot(self) -> list[Snapshot]:
        """Keeps the current checkpoint as one too, where that is of use; returns what is kept."""
        return snapshots.keep(self.folder / "snapshots", self.folder / "current", self.amendments, self._budget_bytes)

    def purge(self, is_benched: bool) -> bool:
        """Removes what is stored and holds what was erased; whether all of that is gone now, and was not before."""
        if not self._is_unpurged or self._replaying is not None:
            return False
        if not snapshots.purge(self.folder, self.amendments, is_benched):
            return False
        self.purged, self._is_unpurged = len(self.amendments), False
        return True

    def close(self) -> None:
        """Ends a replay too, which goes on from its newest snapshot some other time."""
        if self._replaying is not None:
            self._replaying.kill()
            self._replaying = None
        self._reader.close()


def replay(
    fresh: Callable[[], TrainState], folder: Path, journal: Path, amendments: Sequence[Amendment], budget_bytes: int
) -> int:
    """Stores in `rebuilt` the state that learning would have led to, had the amended labels been known at the time.

    It starts from the newest snapshot that they leave as it is, and goes to the present end of the journal. Returns how
    many examples that were. Raises ExampleRefused.
    """
    labels = {one.prediction: one.label for one in amendments}
    state = snapshots.newest(folder / "snapshots", amendments) or fresh()
    state.applied, began = len(amendments), state.position
    stored, store_at, tell_at = began, time.monotonic() + STORE_EVERY_S, 0.0
    with contextlib.closing(Source(journal, began, state.learner.mini_batch)) as source:
        while examples := source.take():
            state.learn(examples, labels)
            now = time.monotonic()
            if now >= tell_at:
                told = f"{len(amendments)} corrections: {state.position - began:,} examples learned anew"
                (folder / "progress").write_text(told)
                tell_at = now + TELL_EVERY_S
            if now >= store_at and state.position >= stored + snapshots.APART:
                _store(state, folder, amendments, budget_bytes)
                stored, took_s = state.position, time.monotonic() - now
                store_at = now + max(STORE_EVERY_S, took_s / STORE_SHARE)
    _store(state, folder, amendments, budget_bytes)
    return state.position - began


def progress(folder: Path) -> str | None:
    """How far the replay of a learner is, or was when it was killed; None without one."""
    try:
        return (folder / "progress").read_text()
    except FileNotFoundError:
        return None


def _store(state: TrainState, folder: Path, amendments: Sequence[Amendment], budget_bytes: int) -> None:
    rebuilt = folder / "rebuilt"
    state.save(rebuilt)
    snapshots.keep(folder / "snapshots", rebuilt / "current", amendments, budget_bytes)
