"""Hot reload: what the board asks for is fetched, built and checked off the event loop, then swapped in."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path

import redis

from contracts import releases
from contracts.releases import Release, ReleaseRefused, Releases
from serving.live import Live
from serving.model import Served

log = logging.getLogger(__name__)

_RETRY_REFUSED_S = 5.0
_SUFFIX = ".release"


class Follower:
    """Keeps `live.served` at the newest revision of the board's champion. One thread at a time calls it."""

    def __init__(self, client: redis.Redis, lives: Iterable[Live], folder: Path):
        """`folder` holds a folder per model with the verified copy of what serves."""
        self._client, self._lives, self._folder = client, tuple(lives), folder
        self._reached: dict[str, tuple[int, int | None]] = {}
        self._refused: dict[str, tuple[tuple[int, int | None], float]] = {}

    def step(self) -> None:
        """Looks once. Raises redis.RedisError when Redis is away; everything goes on as it was."""
        for live in self._lives:
            self._follow(live, Releases(self._client, live.name))

    def start_from_copies(self) -> None:
        """Serves the last champion that was kept, where there is none yet."""
        for live in self._lives:
            if live.served is None:
                self._serve_copy(live)

    def _follow(self, live: Live, published: Releases) -> None:
        champion = published.board().champion
        if champion is None:
            return
        target = (champion, published.revisions().get(champion))
        if self._has(live, target):
            live.refused = None
            return
        refused, since = self._refused.get(live.name, (None, 0.0))
        if refused == target and time.monotonic() < since + _RETRY_REFUSED_S:
            return
        try:
            release = published.fetch(champion)
            if release is None:
                raise ReleaseRefused(champion, "it is on the board but was not published")
            live.served = Served(release, live.schema)
        except ReleaseRefused as error:
            self._refuse(live, error, repeated=refused == target)
            self._refused[live.name] = (target, time.monotonic())
            return
        live.refused = None
        live.counts.reloads += 1
        self._reached[live.name] = target
        self._refused.pop(live.name, None)
        log.debug("reloaded model=%s version=%d revision=%d", live.name, live.served.version, live.served.revision)
        self._keep_copy(live, release)

    def _has(self, live: Live, target: tuple[int, int | None]) -> bool:
        """A revision may be newer than the number seen before it was fetched."""
        if live.served is None:
            return False
        return target in (self._reached.get(live.name), (live.served.version, live.served.revision))

    def _refuse(self, live: Live, error: ReleaseRefused, repeated: bool) -> None:
        live.refused = str(error)
        if not repeated:
            live.counts.releases_refused += 1
            log.error("refused a release model=%s version=%d reason=%s", live.name, error.version, error.reason)

    def _keep_copy(self, live: Live, release: Release) -> None:
        """Keeps what serves now and drops older versions; a failure costs only the next start without Redis."""
        folder = self._folder / live.name
        try:
            releases.write(release, folder)
            for path in folder.glob(f"*{_SUFFIX}"):
                if path.stem != str(release.manifest.version):
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
