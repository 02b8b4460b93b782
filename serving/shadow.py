"""The shadow scorer: every challenger answers every question too, off the request path, under the same id.

Its position is the newest id of the shadows stream, so a crash or a restart repeats nothing and skips nothing. A label
is learned only after this position has passed its prediction; hence no revision found here has seen the labels of what
it scores.
"""

import argparse
import logging
import sys
import time
from collections import Counter
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contracts import config, events, settings, streams
from contracts.events import BadEntry, Prediction, Shadow
from contracts.facts import ScoringFacts, ShadowFacts
from contracts.quantities import ConfigError
from contracts.releases import Board, ReleaseRefused, Releases
from contracts.schema import BadInput, Schema, Value
from contracts.streams import Entry, Streams
from serving.model import Scores, Served, finite

log = logging.getLogger(__name__)

BATCH = 1000
_IDLE_S = 0.02
_FACTS_S = 1.0
_RETRY_S = (0.1, 2.0)
_RETRY_REFUSED_S = 5.0


class Question(NamedTuple):
    """A logged prediction that others can be asked too."""

    id: str
    offset: int
    answered_by: int
    row: tuple[Value, ...]


class Scorer:
    """Shadows one model; `step` is one iteration."""

    def __init__(self, client: redis.Redis, model: str, schema: Schema):
        self.schema, self.model = schema, model
        self.streams, self.releases = Streams(client, model), Releases(client, model)
        self.position: str | None = None
        """The newest prediction that was passed; None while only Redis knows."""
        self.scored = 0
        self.refused: dict[int, str] = {}
        """Why the newest revision of a version is not used; the last good one, where there is one, goes on."""
        self.failing: dict[int, str] = {}
        """Why a version gives no scores, until it scores again."""
        self.left_out: Counter[int] = Counter()
        """Batches that a version was left out of."""
        self.scoring: dict[int, ScoringFacts] = {}
        """What the scores of each version have cost."""
        self._ready: dict[int, Served] = {}
        self._tried: dict[int, tuple[int | None, float, ReleaseRefused]] = {}
        self._told_at = 0.0

    def step(self, count: int = BATCH) -> int:
        """Passes the next predictions and returns how many. Raises redis.RedisError; the next call then goes on."""
        try:
            position = self.position or self.streams.last_id("shadows")
            batch = self.streams.follow("predictions", position, count)
            if batch:
                self._shadow(batch)
            self.position = batch[-1][0] if batch else position
            self.scored += len(batch)
            self._tell()
        except redis.RedisError:
            self.position = None
            raise
        return len(batch)

    def _shadow(self, batch: list[Entry]) -> None:
        questions = [question for entry in batch if (question := self._read(entry))]
        # The board is read after the batch: whoever is enrolled later than now is not asked these questions.
        board = self._follow_board({question.answered_by for question in questions})
        scores: dict[str, dict[int, tuple[int, Scores]]] = {id_: {} for id_, _ in batch}
        for version, served in self._ready.items():
            challenges, since = version in board.challengers, events.offset(served.manifest.since)
            asked = [q for q in questions if q.offset > since and (challenges or q.answered_by != version)]
            for question, scored in zip(asked, self._score_with(served, asked), strict=False):
                scores[question.id][version] = (served.revision, scored)
        self.left_out.update(self.failing.keys() | (self.refused.keys() - self._ready.keys()))
        self.streams.append_shadows((id_, Shadow(by_version)) for id_, by_version in scores.items())

    def _read(self, entry: Entry) -> Question | None:
        """A question of today's schema. None for an older schema's, and for what cannot be read, which is buried."""
        id_, fields = entry
        try:
            prediction = events.decode(Prediction, fields)
            if prediction.schema != self.schema.fingerprint:
                return None
            row = self.schema.decode(dict(zip(self.schema.names, prediction.row, strict=True)))
        except (BadEntry, BadInput, ValueError) as error:
            self.streams.bury("predictions", id_, fields, str(error))
            log.warning("buried a prediction model=%s id=%s", self.model, id_)
            return None
        return Question(id_, events.offset(id_), prediction.version, row)

    def _follow_board(self, answered_by: set[int]) -> Board:
        """Makes the newest revision of everyone who is asked ready.

        The champion is asked what another version answered: just after a promotion the old champion still does.
        """
        board, revisions = self.releases.board(), self.releases.revisions()
        wanted = set(board.challengers)
        if board.champion is not None and answered_by - {board.champion}:
            wanted.add(board.champion)
        known: tuple[dict[int, Any], ...] = (self._ready, self.refused, self.failing, self.scoring)
        for one in known:
            for version in one.keys() - wanted:
                del one[version]
        for version in sorted(wanted):
            try:
                self._ready[version] = self._newest(version, revisions.get(version))
                self.refused.pop(version, None)
            except ReleaseRefused as error:
                self._note(self.refused, version, error.reason)
        return board

    def _newest(self, version: int, revision: int | None) -> Served:
        """Raises ReleaseRefused; what was refused is tried again after a while, or when there is a newer revision."""
        ready = self._ready.get(version)
        if ready is not None and ready.revision == revision:
            return ready
        tried = self._tried.get(version)
        if tried is not None and tried[0] == revision and time.monotonic() < tried[1] + _RETRY_REFUSED_S:
            raise tried[2]
        try:
            release = self.releases.fetch(version, held=ready.release if ready else None)
            if release is None:
                raise ReleaseRefused(version, "it is on the board but was not published")
            return Served(release, self.schema, reuse=ready)
        except ReleaseRefused as error:
            self._tried[version] = (revision, time.monotonic(), error)
            raise

    def _score_with(self, served: Served, asked: list[Question]) -> list[Scores]:
        """Scores of all questions, or none at all when the version fails on one of them."""
        if not asked:
            return []
        began = time.perf_counter()
        try:
            scores = served.score([question.row for question in asked])
        except Exception as error:  # noqa: BLE001  # onnxruntime raises many types, none of them public
            self._note(self.failing, served.version, f"scoring failed: {error}")
            return []
        self._count(served.version, len(asked), time.perf_counter() - began)
        if all(map(finite, scores)):
            self.failing.pop(served.version, None)
            return scores
        self._note(self.failing, served.version, "a score is NaN or infinite")
        return []

    def _count(self, version: int, rows: int, took_s: float) -> None:
        before = self.scoring.get(version) or ScoringFacts(rows=0, turns=0, total_s=0.0)
        self.scoring[version] = ScoringFacts(
            rows=before.rows + rows, turns=before.turns + 1, total_s=before.total_s + took_s
        )

    def _note(self, reasons: dict[int, str], version: int, reason: str) -> None:
        if reasons.get(version) != reason:
            log.warning("not in shadow model=%s version=%d reason=%s", self.model, version, reason)
        reasons[version] = reason

    def _tell(self) -> None:
        """Publishes what this process knows, about once a second."""
        if time.monotonic() - self._told_at < _FACTS_S:
            return
        self._told_at = time.monotonic()
        board = self._follow_board(set())
        versions = {version: self._ready[version].revision for version in board.challengers if version in self._ready}
        facts = ShadowFacts(
            at=time.time(),
            position=self.position or streams.START,
            scored=self.scored,
            versions=versions,
            refused={version: self._why(version) for version in sorted(self.refused.keys() | self.failing.keys())},
            scoring=self.scoring,
        )
        self.streams.set_fact("shadow", facts)

    def _why(self, version: int) -> str:
        """What is wrong with a version, and what happens meanwhile."""
        reasons = [found[version] for found in (self.refused, self.failing) if version in found]
        if version in self.failing or version not in self._ready:
            meanwhile = f"left out of {self.left_out[version]} batches"
        else:
            meanwhile = f"revision {self._ready[version].revision} goes on"
        return f"{'; '.join(reasons)} ({meanwhile})"


def run(scorers: list[Scorer]) -> None:
    """Shadows for ever; while Redis is away it waits, and then goes on where Redis says it stopped."""
    wait_s = _RETRY_S[0]
    while True:
        try:
            passed = sum(scorer.step() for scorer in scorers)
        except redis.RedisError as error:
            log.warning("waits for redis error=%s", error)
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _RETRY_S[1])
            continue
        wait_s = _RETRY_S[0]
        if not passed:
            time.sleep(_IDLE_S)


def main() -> None:
    parser = argparse.ArgumentParser("python -m serving.shadow", description="Score challengers in shadow.")
    parser.add_argument("--model", action="append", help="only this model; may be given more than once")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        environment = settings.from_environment()
        models = config.load(environment.config)
        shadowed = {name: models.model(name) for name in arguments.model or models.models}
    except ConfigError as error:
        sys.exit(str(error))
    client = streams.connect(environment.redis_url, retry=Retry(NoBackoff(), 1))
    run([Scorer(client, name, model.schema) for name, model in shadowed.items()])


if __name__ == "__main__":
    main()
