"""Hot reload: what the board asks for is fetched, built and checked off the event loop, then swapped in."""

import logging
import math
import time
from collections.abc import Iterable
from pathlib import Path

import redis

from contracts import releases
from contracts.releases import ReleaseRefused, Releases
from serving.live import Live
from serving.model import Served

log = logging.getLogger(__name__)

Target = tuple[int, int | None]

_RETRY_REFUSED_S = 5.0
_REST = 200
"""A revision with a new graph waits this many times the CPU time that the last one took to build. Building holds the
interpreter, so that at most one request in two hundred meets it: p99 stays. 4 ms, a usual tree's, make that 0.8 s."""
_LONGEST_REST_S = 5.0
"""A graph that takes more than 25 ms to build costs p99 rather than freshness."""
_KEEP_S = 5.0
"""Seconds between copies of one version's revisions. A copy is synced to disk, several revisions come in a second, and
all that an older one costs is what a start without Redis would answer until Redis is back."""
_SUFFIX = ".release"


class Follower:
    """Keeps `live.served` at the newest revision of the board's champion. One thread at a time calls it."""

    def __init__(self, client: redis.Redis, lives: Iterable[Live], folder: Path):
        """`folder` holds a folder per model with the verified copy of what serves."""
        self._client, self._lives, self._folder = client, tuple(lives), folder
        self._reached: dict[str, Target] = {}
        self._refused: dict[str, tuple[Target, float]] = {}
        self._rests_until: dict[str, float] = {}
        self._kept: dict[str, tuple[Target, float]] = {}

    def step(self) -> None:
        """Looks once. Raises redis.RedisError when Redis is away; everything goes on as it was."""
        looked = releases.look(self._client, [live.name for live in self._lives])
        for live, (board, revisions) in zip(self._lives, looked, strict=True):
            if board.champion is not None:
                self._follow(live, Releases(self._client, live.name), (board.champion, revisions.get(board.champion)))
                self._keep_copy(live, _KEEP_S)

    def start_from_copies(self) -> None:
        """Serves the last champion that was kept, where there is none yet."""
        for live in self._lives:
            if live.served is None:
                self._serve_copy(live)

    def keep_copies(self) -> None:
        """Keeps what serves now, for a process that leaves."""
        for live in self._lives:
            self._keep_copy(live, 0.0)

    def _follow(self, live: Live, published: Releases, target: Target) -> None:
        if self._has(live, target):
            live.refused = None
            return
        refused, since = self._refused.get(live.name, (None, 0.0))
        if refused == target and time.monotonic() < since + _RETRY_REFUSED_S:
            return
        if self._rests(live, published, target):
            return
        try:
            served = self._newest(live, published, target[0])
        except ReleaseRefused as error:
            self._refuse(live, error, repeated=refused == target)
            self._refused[live.name] = (target, time.monotonic())
            return
        live.served, live.refused = served, None
        live.counts.reloads += 1
        self._reached[live.name] = target
        self._refused.pop(live.name, None)
        log.debug("reloaded model=%s version=%d revision=%d", live.name, served.version, served.revision)

    def _newest(self, live: Live, published: Releases, version: int) -> Served:
        before = live.served
        release = published.fetch(version, held=before.release if before else None)
        if release is None:
            raise ReleaseRefused(version, "it is on the board but was not published")
        began = time.thread_time()
        try:
            return Served(release, live.schema, reuse=before)
        finally:
            if before is None or release.onnx is not before.release.onnx:
                rest_s = min(_REST * (time.thread_time() - began), _LONGEST_REST_S)
                self._rests_until[live.name] = time.monotonic() + rest_s

    def _has(self, live: Live, target: Target) -> bool:
        """A revision may be newer than the number seen before it was fetched."""
        if live.served is None:
            return False
        return target in (self._reached.get(live.name), (live.served.version, live.served.revision))

    def _rests(self, live: Live, published: Releases, target: Target) -> bool:
        """Whether a new graph of the version that answers must wait. A promotion never does."""
        served = live.served
        if served is None or served.version != target[0] or time.monotonic() >= self._rests_until.get(live.name, 0.0):
            return False
        manifest = published.manifest(target[0])
        return manifest is not None and manifest.onnx_sha256 != served.manifest.onnx_sha256

    def _refuse(self, live: Live, error: ReleaseRefused, repeated: bool) -> None:
        live.refused = str(error)
        if not repeated:
            live.counts.releases_refused += 1
            log.error("refused a release model=%s version=%d reason=%s", live.name, error.version, error.reason)

    def _keep_copy(self, live: Live, every_s: float) -> None:
        """Keeps what serves now and drops older versions; a failure costs only the next start without Redis."""
        if live.served is None:
            return
        target: Target = (live.served.version, live.served.revision)
        kept, at = self._kept.get(live.name, ((None, None), -math.inf))
        if kept == target or (kept[0] == target[0] and time.monotonic() < at + every_s):
            return
        self._kept[live.name] = (target, time.monotonic())
        folder = self._folder / live.name
        try:
            releases.write(live.served.release, folder)
            for path in folder.glob(f"*{_SUFFIX}"):
                if path.stem != str(live.served.version):
                    path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("kept no copy of the release model=%s error=%s", live.name, error)

    def _serve_copy(self, live: Live) -> None:
        folder = self._folder / live.name
        for path in sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True):
            try:
                release = releases.read(folder, int(path.stem))
                if release is None:
                    continue
                live.served = Served(release, live.schema)
            except (ReleaseRefused, ValueError) as error:
                live.refused = live.refused or f"its kept copy: {error}"
                continue
            log.warning("serves its kept copy model=%s version=%s", live.name, path.stem)
            return
