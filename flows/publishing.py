"""Online versions on their way to serving: registered once in MLflow, then published in revisions."""

import logging
import pickle
import time
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from contracts.lease import LeaseLost, LeaseTaken
from contracts.releases import PRIOR_VERSION, Board, Golden, Manifest, Release, sha256
from flows.place import Place
from flows.state import LearnState
from learners.export import NotExportable, to_onnx
from learners.online import LearnerFailed, OnlineLearner
from registry.promotion import Stale
from registry.versions import Unavailable

log = logging.getLogger(__name__)

RETRY_S = 15.0  # MLflow may be starting, which takes about 20 s on a fresh store
TOLERANCE = 1e-6
UNREGISTERED = -1


class Publisher:
    """Registers learners that have seen enough labels, and publishes what they have learned since."""

    def __init__(self, place: Place):
        self.place = place
        self.revisions: dict[str, int] = {}
        """Newest published revision by learner."""
        self._since: dict[int, str] = {}
        self._registering: dict[str, Future[int]] = {}
        self._not_before_s = 0.0
        # MLflow's imports and calls take seconds, and learning must not wait for them.
        self._thread = ThreadPoolExecutor(1, "register")

    def publish(self, state: LearnState, board: Board) -> None:
        """Call after a checkpoint of this very state."""
        for name, learner in state.learners.items():
            if name in state.benched:
                continue
            try:
                if name not in state.enrolled:
                    self._enrol(name, learner, state)
                elif state.enrolled[name] in board.versions and learner.learned > self.revisions.get(name, -1):
                    self._publish(name, learner, state)
            except (NotExportable, LearnerFailed) as error:
                state.benched[name] = str(error)
                log.error("benched learner=%s reason=%s", name, error)

    def _publish(self, name: str, learner: OnlineLearner, state: LearnState) -> None:
        version = state.enrolled[name]
        if version not in self._since:
            known = self.place.releases.manifest(version)
            self._since[version] = known.since if known else self.place.streams.last_id("predictions")
        self.place.releases.publish(self._release(name, learner, state, version, self._since[version]))
        self.place.streams.note_revision(version, state.last_id, learner.learned)
        self.revisions[name] = learner.learned

    def _release(self, name: str, learner: OnlineLearner, state: LearnState, version: int, since: str) -> Release:
        """This state of a learner as a release. Raises NotExportable or LearnerFailed."""
        onnx = to_onnx(learner.model, self.place.schema).SerializeToString()
        rows = tuple(state.recent)
        manifest = Manifest(
            model=self.place.name,
            version=version,
            kind="online",
            learner=name,
            revision=learner.learned,
            schema=self.place.schema.fingerprint,
            onnx_sha256=sha256(onnx),
            created_at=time.time(),
            since=since,
            last_feedback_id=state.last_id,
            golden=Golden(rows, tuple(learner.scores_one(row) for row in rows), TOLERANCE),
        )
        return Release(manifest, onnx)

    def _enrol(self, name: str, learner: OnlineLearner, state: LearnState) -> None:
        """Starts a learner's registration when it has learned enough, and takes in its version once that is done."""
        started = self._registering.get(name)
        if started is None:
            enough = learner.learned >= self.place.model.gate.bootstrap_labels
            if enough and time.monotonic() >= self._not_before_s:
                since = self.place.streams.last_id("predictions")
                release = self._release(name, learner, state, UNREGISTERED, since)
                copy = pickle.loads(pickle.dumps(learner))  # our own bytes, a moment old
                self._registering[name] = self._thread.submit(self._register, name, release, copy, state.genesis)
        elif started.done():
            del self._registering[name]
            try:
                state.enrolled[name] = started.result()
            except (Unavailable, LeaseTaken, LeaseLost) as error:
                self._not_before_s = time.monotonic() + RETRY_S
                log.warning("registration waits learner=%s retry_s=%g reason=%s", name, RETRY_S, error)

    def _register(self, name: str, release: Release, learner: OnlineLearner, genesis: str) -> int:
        """Runs beside learning. Killed anywhere, it is repeated, and finds by its key what it had done."""
        configured = self.place.model.learners[name]
        version = self.place.registry.register(
            release.onnx,
            release.manifest,
            params={"algorithm": configured.algorithm, "seed": configured.seed, **configured.params},
            metrics={"learned": float(release.manifest.revision)},
            estimator=learner,
            key=f"online:{name}:{genesis}",
        )
        manifest = msgspec.structs.replace(release.manifest, version=version)
        reason = f"{name} has learned {manifest.revision:,} labels and joins as a challenger."
        self.place.roles.enrol(Release(manifest, release.onnx), reason, cause="learn")
        if self.place.releases.board().champion == PRIOR_VERSION:
            self._bootstrap(name, version, manifest.revision)
        return version

    def _bootstrap(self, name: str, version: int, learned: int) -> None:
        reason = (
            f"{name} is the first learner to have learned {self.place.model.gate.bootstrap_labels:,} labels "
            f"({learned:,}); it replaces the prior without a comparison."
        )
        try:
            self.place.roles.bootstrap(version, reason, cause="learn", numbers={"learned": learned})
        except Stale as error:
            log.info("bootstrap not needed learner=%s reason=%s", name, error)
