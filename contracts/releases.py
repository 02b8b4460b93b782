"""What reaches serving: an ONNX graph, its manifest, and the board that says who answers and who shadows."""

import hashlib
import os
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import redis

from contracts import streams
from contracts.schema import Value

Kind = Literal["prior", "online", "batch"]
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
    manifest: Manifest
    onnx: bytes

    def verify(self, schema: str) -> None:
        """Raises ReleaseRefused when the bytes are not those of the manifest, or the schema is another."""
        version = self.manifest.version
        if sha256(self.onnx) != self.manifest.onnx_sha256:
            raise ReleaseRefused(version, "the ONNX bytes differ from the manifest's sha256")
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


class Releases:
    """One model's releases and board in Redis."""

    def __init__(self, client: redis.Redis, model: str):
        self.client, self.model = client, model

    def key(self, name: str) -> str:
        return streams.key(self.model, name)

    def publish(self, release: Release) -> None:
        """Makes a release, or a newer revision of it, available to serving and shadow: bytes and revision at once."""
        manifest = release.manifest
        pipeline = self.client.pipeline(transaction=True)
        fields: Any = {"manifest": msgspec.json.encode(manifest), "onnx": release.onnx}
        pipeline.hset(self.key(f"release:{manifest.version}"), mapping=fields)
        pipeline.hset(self.key("revisions"), str(manifest.version), str(manifest.revision))
        pipeline.execute()

    def fetch(self, version: int) -> Release | None:
        """The newest revision of a version, or None when it was never published."""
        found = cast(list[bytes | None], self.client.hmget(self.key(f"release:{version}"), ["manifest", "onnx"]))
        return unpack(found)

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
        found = cast(dict[bytes, bytes], self.client.hgetall(self.key("revisions")))
        return {int(version): int(revision) for version, revision in found.items()}

    def board(self) -> Board:
        found = cast(bytes | None, self.client.get(self.key("board")))
        return msgspec.json.decode(found, type=Board) if found else Board()

    def set_board(self, board: Board) -> None:
        """Callers hold the lease "roles" of the model, so that two changes cannot cross."""
        self.client.set(self.key("board"), msgspec.json.encode(board))


def unpack(found: list[bytes | None]) -> Release | None:
    """A release from the fields "manifest" and "onnx" of its hash."""
    manifest, onnx = found
    if manifest is None or onnx is None:
        return None
    return Release(msgspec.json.decode(manifest, type=Manifest), onnx)


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
