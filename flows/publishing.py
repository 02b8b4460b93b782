"""One online version on its way to serving: registered once in MLflow, then published in revisions."""

import time
from dataclasses import dataclass, field

import msgspec
import numpy as np

from contracts import journal, weights
from contracts.lease import LeaseLost, LeaseTaken
from contracts.quantities import seconds
from contracts.releases import PRIOR_VERSION, Golden, Manifest, Release, sha256
from contracts.schema import Value
from flows.place import Place
from flows.training import TrainState
from learners import export, safeguards
from learners.export import NotExportable
from learners.online import LearnerFailed
from learners.parity import Checker
from registry.promotion import Stale
from registry.versions import Unavailable

TOLERANCE = 1e-6
CHECK_SHARE = 0.01  # of the time, at most, goes into sessions for new graphs; serving builds and checks every one
UNREGISTERED = -1
Rows = tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Published:
    """What became of one revision."""

    learned: int
    anchor: dict[int, tuple[float, ...]]
    held: str | None = None
    """Why it was not published."""
    is_faulty: bool = False
    """Its graph is not the learner's equal: no word of a person or of time lets it through."""
    broken: str | None = None
    """Why the learner is not to be trusted any more."""
    exported: export.Revision | None = None
    """What the next export may start from."""
    check_at: float = 0.0
    """`Publisher.check_at` from now on."""


@dataclass(frozen=True)
class Registered:
    """The version of a learner, or why it has none yet."""

    version: int | None
    reason: str = ""
    broken: bool = False


@dataclass
class Publisher:
    """Publishes what one learner has learned."""

    place: Place
    name: str
    exported: export.Revision | None = None
    """The newest one: its graph is used again while only weights change."""
    check_at: float = 0.0
    """Monotonic seconds from which on a new graph is compared with its learner."""
    _since: str | None = None
    _anchor: list[journal.Example] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._checker = Checker(self.place.schema)

    def take(self, published: Published) -> None:
        """Takes over what publishing beside this process came to."""
        self.exported, self.check_at = published.exported, published.check_at

    def forget(self) -> None:
        """Looks the rows of the anchor up again: some were erased."""
        self._anchor = []

    def is_due(self, state: TrainState) -> bool:
        """Whether there is something new for those who serve or shadow this version."""
        if state.version is None or state.learner.learned == state.published_learned:
            return False
        return state.version in self.place.releases.board().versions and not self.is_frozen()

    def is_frozen(self) -> bool:
        return self.place.streams.publishing().get(self.name) == "frozen"

    def is_let_through(self, state: TrainState) -> bool:
        """Whether a revision is published however far it moved: a person or time says so, or it is another model by
        now, having learned as many labels again as the published one had."""
        hold_s = seconds(self.place.model.safeguards.hold)
        is_old = state.held_since is not None and time.time() - state.held_since > hold_s
        return is_old or 0 < 2 * state.published_learned <= state.learner.learned or self._is_accepted()

    def _is_accepted(self) -> bool:
        return self.place.streams.publishing().get(self.name) == "accept"

    def publish(self, state: TrainState, rows: Rows, through: str) -> Published:
        """Call after a checkpoint of this very state, with the newest rows learned from and the feedback it knows."""
        learner, place = state.learner, self.place
        try:
            anchor = {one.prediction: learner.scores_one(one.row) for one in self._anchored() if one.row is not None}
            held, fault = self._held(state, anchor), None
            if held is None:
                release = self._release(state, rows, through)
                held = fault = self._fault(release.manifest.golden)
            if held is None:
                place.releases.publish(release)
                assert state.version is not None
                place.streams.note_revision(state.version, through, state.revision)
                if self._is_accepted():
                    place.streams.set_publishing(self.name, None)
        except (NotExportable, LearnerFailed) as error:
            return Published(learner.learned, {}, broken=str(error))
        is_faulty = fault is not None
        return Published(learner.learned, anchor, held, is_faulty, exported=self.exported, check_at=self.check_at)

    def _anchored(self) -> list[journal.Example]:
        """The first rows of the journal, which stay the same once there are enough."""
        wanted = self.place.model.safeguards.anchor_rows
        if len(self._anchor) < wanted:
            self._anchor = journal.first(self.place.journal_folder, wanted)
        return self._anchor

    def _held(self, state: TrainState, anchor: dict[int, tuple[float, ...]]) -> str | None:
        """Why this state is too far from the published one; None where it is not, or is let through."""
        rules, label = self.place.model.safeguards, self.place.schema.label
        both = sorted(anchor.keys() & state.anchor.keys())
        before, after = (np.array([scores[at] for at in both], np.float64) for scores in (state.anchor, anchor))
        moved = safeguards.change(before, after, label, state.spread.deviation)
        if moved <= rules.max_change or self.is_let_through(state):
            return None
        unit = "standard deviations" if label.is_regression else "of the probability"
        return (
            f"its answers to {len(both)} fixed questions moved by {moved:.2f} {unit} since the last one, more "
            f"than safeguards.max_change = {rules.max_change:g}; publish it all the same with `tiltyard accept "
            f"{self.place.name} {self.name}`, or wait: after {rules.hold} it is"
        )

    def _fault(self, golden: Golden, is_first: bool = False) -> str | None:
        """Why the newest export is not the learner's equal, as serving would find too; None also where that is not
        looked at. The next export then begins from nothing, in case what it remembers was wrong.
        """
        assert self.exported is not None
        is_new, began = not self._checker.has(self.exported), time.monotonic()
        if is_new and began < self.check_at and not is_first:
            return None
        fault = self._checker.fault(self.exported, golden.rows, golden.scores, golden.tolerance)
        if is_new:
            now = time.monotonic()
            self.check_at = now + (now - began) / CHECK_SHARE
        if fault is None:
            return None
        self.exported = None
        return f"its graph does not answer as River does: {fault}; the next revision is exported from nothing"

    def _release(self, state: TrainState, rows: Rows, through: str, stands_alone: bool = False) -> Release:
        """This state of a learner as a release; one that `stands_alone` has a graph with its own weights.

        Raises NotExportable or LearnerFailed.
        """
        learner = state.learner
        version = UNREGISTERED if state.version is None else state.version
        if self._since is None:
            known = self.place.releases.manifest(version)
            self._since = known.since if known else self.place.streams.last_id("predictions")
        self.exported = export.revision(learner.model, self.place.schema, None if stands_alone else self.exported)
        packed = b"" if stands_alone else weights.pack(self.exported.weights)
        manifest = Manifest(
            model=self.place.name,
            version=version,
            kind="online",
            learner=self.name,
            revision=state.revision,
            learned=learner.learned,
            schema=self.place.schema.fingerprint,
            onnx_sha256=sha256(self.exported.onnx),
            weights_sha256=sha256(packed) if packed else "",
            created_at=time.time(),
            since=self._since,
            last_feedback_id=through,
            golden=Golden(rows, tuple(learner.scores_one(row) for row in rows), TOLERANCE),
        )
        return Release(manifest, self.exported.onnx, packed)

    def register(self, state: TrainState, rows: Rows, through: str) -> Registered:
        """Killed anywhere, it is repeated, and finds by its key what it had done."""
        configured, learner, roles = self.place.model.learners[self.name], state.learner, self.place.roles
        try:
            state.revision = max(state.revision, learner.learned)
            self._since = self.place.streams.last_id("predictions")
            release = self._release(state, rows, through, stands_alone=True)
            if (fault := self._fault(release.manifest.golden, is_first=True)) is not None:
                return Registered(None, fault)
            version = self.place.registry.register(
                release.onnx,
                release.manifest,
                params={"algorithm": configured.named, "seed": configured.seed, **configured.params},
                metrics={"learned": float(learner.learned)},
                estimator=learner,
                key=f"online:{self.name}:{state.genesis}",
            )
            manifest = msgspec.structs.replace(release.manifest, version=version)
            reason = f"{self.name} has learned {learner.learned:,} labels and joins as a challenger."
            roles.enrol(msgspec.structs.replace(release, manifest=manifest), reason, cause="learn")
            if self.place.releases.board().champion == PRIOR_VERSION:
                self._bootstrap(version, learner.learned)
        except (NotExportable, LearnerFailed) as error:
            return Registered(UNREGISTERED, str(error), broken=True)
        except (Unavailable, LeaseTaken, LeaseLost) as error:
            return Registered(None, str(error))
        return Registered(version)

    def _bootstrap(self, version: int, learned: int) -> None:
        reason = (
            f"{self.name} is the first learner to have learned {self.place.model.gate.bootstrap_labels:,} labels "
            f"({learned:,}); it replaces the prior without a comparison."
        )
        try:
            self.place.roles.bootstrap(version, reason, cause="learn", numbers={"learned": learned})
        except Stale:
            return  # another learner was first
