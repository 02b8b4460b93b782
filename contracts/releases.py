"""What reaches serving: an ONNX graph, its manifest, and the board that says who answers and who shadows."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import msgspec
import numpy as np
import numpy.typing as npt
import redis

from contracts import streams
from contracts.schema import Value

Kind = Literal["prior", "online", "batch"]
_TIE = 1e-12
PRIOR_VERSION = 0
"""The prior is no registered model: it answers while nothing has earned to, and MLflow need not be there."""


class ReleaseRefused(Exception):
    """A release is not fit to serve; what served before goes on."""

    def __init__(self, version: int, reason: str):
        super().__init__(f"version {version} refused: {reason}; keeping what serves now")
        self.version, self.reason = version, reason


class Golden(msgspec.Struct, frozen=True):
    """Questions with known answers, compared before a release may serve."""

    rows: tuple[tuple[Value, ...], ...] = ()
    scores: tuple[tuple[float, ...], ...] = ()
    tolerance: float = 1e-5


def flips(expected: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> int:
    """Rows whose most probable class differs, of two score arrays float64[n, k].

    Two classes closer than rounding have no order that an equal model would have to keep. One rule for who publishes
    and who serves: what the one lets through, the other must not refuse.
    """
    if expected.shape[1] < 2:
        return 0
    ordered = np.sort(expected, axis=1)
    decided = ordered[:, -1] - ordered[:, -2] > _TIE
    return int((decided & (expected.argmax(axis=1) != found.argmax(axis=1))).sum())


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a release is. `revision` rises with each publication of an online version; a frozen one stays at 0."""

    model: str
    version: int
    kind: Kind
    learner: str
    revision: int
    schema: str
    """Fingerprint of the schema it was built for."""
    onnx_sha256: str
    weights_sha256: str = ""
    """Of `Release.weights`; empty when the graph holds its own."""
    learned: int = 0
    """Labels that an online version had learned."""
    created_at: float
    since: str = streams.START
    """The newest prediction id when the version was enrolled: it is not scored on that or earlier ones."""
    last_feedback_id: str = streams.START
    golden: Golden = Golden()


class Release(msgspec.Struct, frozen=True):
    """A graph, and what learning has changed in it since it was built."""

    manifest: Manifest
    onnx: bytes
    """Answers by itself, with the weights that it was built with."""
    weights: bytes = b""
    """The newest values of its overridable initializers (`contracts.weights`); empty where it holds them itself."""

    def verify(self, schema: str, held: "Release | None" = None) -> None:
        """Raises ReleaseRefused when the bytes are not those of the manifest, or the schema is another.

        A graph that is the very object of `held`, verified before, is not hashed again: 9 MB take 6 ms.
        """
        version = self.manifest.version
        known = held is not None and self.onnx is held.onnx and self.manifest.onnx_sha256 == held.manifest.onnx_sha256
        if not known and sha256(self.onnx) != self.manifest.onnx_sha256:
            raise ReleaseRefused(version, "the ONNX bytes differ from the manifest's sha256")
        if (sha256(self.weights) if self.weights else "") != self.manifest.weights_sha256:
            raise ReleaseRefused(version, "the weights differ from the manifest's sha256")
        if self.manifest.schema != schema:
            raise ReleaseRefused(version, f"built for schema {self.manifest.schema}, the model's is {schema}")


class Board(msgspec.Struct, frozen=True):
    """Who answers and who shadows; None before anything was published."""

    champion: int | None = None
    challengers: tuple[int, ...] = ()
    previous: int | None = None
    """The retired champion under probation; it is among the challengers."""
    since: str = streams.START
    """The newest prediction id when this champion's tenure began: evidence starts after it."""

    @property
    def versions(self) -> tuple[int, ...]:
        return (() if self.champion is None else (self.champion,)) + self.challengers


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# One atomic step: manifest, weights, graph and revision never mix. Without a graph, nothing is done where another lies.
_PUBLISH = """
if not ARGV[6] and redis.call('HGET', KEYS[1], 'onnx_sha256') ~= ARGV[4] then return 0 end
redis.call('HSET', KEYS[1], 'manifest', ARGV[3], 'onnx_sha256', ARGV[4], 'weights', ARGV[5])
if ARGV[6] then redis.call('HSET', KEYS[1], 'onnx', ARGV[6]) end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1
"""


class Releases:
    """One model's releases and board in Redis."""

    def __init__(self, client: redis.Redis, model: str):
        self.client, self.model = client, model
        self._publish = client.register_script(_PUBLISH)

    def key(self, name: str) -> str:
        return streams.key(self.model, name)

    def publish(self, release: Release) -> None:
        """Makes a release, or a newer revision of it, available to serving and shadow, all of it at once.

        The graph is sent only when Redis holds another one: a revision of weights costs what its weights cost.
        """
        manifest = release.manifest
        keys = [self.key(f"release:{manifest.version}"), self.key("revisions")]
        fields = (msgspec.json.encode(manifest), manifest.onnx_sha256, release.weights)
        if not self._publish(keys, [manifest.version, manifest.revision, *fields]):
            self._publish(keys, [manifest.version, manifest.revision, *fields, release.onnx])

    def fetch(self, version: int, held: Release | None = None) -> Release | None:
        """The newest revision of a version, or None when it was never published.

        The graph of `held` is not fetched again where it is still the newest one.
        """
        key = self.key(f"release:{version}")
        if held is not None:
            manifest, weights = cast(list[bytes | None], self.client.hmget(key, ["manifest", "weights"]))
            found = _decode(manifest, held.onnx, weights)
            if found is not None and found.manifest.onnx_sha256 == held.manifest.onnx_sha256:
                return found
        manifest, onnx, weights = cast(list[bytes | None], self.client.hmget(key, ["manifest", "onnx", "weights"]))
        return _decode(manifest, onnx, weights)

    def manifest(self, version: int) -> Manifest | None:
        """The manifest alone of the newest revision of a version."""
        found = cast(bytes | None, self.client.hget(self.key(f"release:{version}"), "manifest"))
        return msgspec.json.decode(found, type=Manifest) if found else None

    def withdraw(self, version: int) -> None:
        """Forgets a version that no longer serves nor shadows."""
        pipeline = self.client.pipeline(transaction=True)
        pipeline.delete(self.key(f"release:{version}"))
        pipeline.hdel(self.key("revisions"), str(version))
        pipeline.execute()

    def revisions(self) -> dict[int, int]:
        """The newest published revision of each version."""
        return _revisions(cast(dict[bytes, bytes], self.client.hgetall(self.key("revisions"))))

    def board(self) -> Board:
        return _board(cast(bytes | None, self.client.get(self.key("board"))))

    def set_board(self, board: Board) -> None:
        """Callers hold the lease "roles" of the model, so that two changes cannot cross."""
        self.client.set(self.key("board"), msgspec.json.encode(board))


def look(client: redis.Redis, models: Sequence[str]) -> list[tuple[Board, dict[int, int]]]:
    """The board and the newest published revisions of each model, in one round trip for all of them."""
    pipeline = client.pipeline(transaction=False)
    for model in models:
        pipeline.get(streams.key(model, "board"))
        pipeline.hgetall(streams.key(model, "revisions"))
    found = pipeline.execute()
    return [(_board(board), _revisions(revisions)) for board, revisions in zip(found[::2], found[1::2], strict=True)]


def _board(found: bytes | None) -> Board:
    return msgspec.json.decode(found, type=Board) if found else Board()


def _revisions(found: dict[bytes, bytes]) -> dict[int, int]:
    return {int(version): int(revision) for version, revision in found.items()}


def _decode(manifest: bytes | None, onnx: bytes | None, weights: bytes | None) -> Release | None:
    """A release from the fields of its hash; one that was published before there were weights has none."""
    if manifest is None or onnx is None:
        return None
    return Release(msgspec.json.decode(manifest, type=Manifest), onnx, weights or b"")


def write(release: Release, folder: Path) -> None:
    """Keeps a release in a folder as one file, replaced atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{release.manifest.version}.release"
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        file.write(msgspec.msgpack.encode(release))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read(folder: Path, version: int) -> Release | None:
    """A release kept in a folder, or None. Raises ReleaseRefused when the file is damaged."""
    try:
        data = (folder / f"{version}.release").read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.msgpack.decode(data, type=Release)
    except msgspec.DecodeError as error:
        raise ReleaseRefused(version, f"its file in {folder} is damaged: {error}") from None
