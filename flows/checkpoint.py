"""State that outlives a process: one file, replaced atomically, with the one before it kept.

The checkpoint is the offset: whatever was read after it is read again, so a crash at any moment loses and repeats
nothing. A damaged file is noticed by its hash, and the previous one is used; that only means reading a little more.
"""

import hashlib
import json
import logging
import os
import pickle
from importlib.metadata import version
from pathlib import Path
from typing import Any

from contracts import frames

log = logging.getLogger(__name__)

FORMAT = 3
_RIVER = version("river")  # reading it from River's metadata takes longer than storing a small learner


class CheckpointRefused(Exception):
    """A checkpoint that this installation cannot continue from; nothing was learned or overwritten."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


def save(folder: Path, state: object, **facts: Any) -> int:
    """Writes the state durably; returns the bytes written. `facts` can be read back without the state."""
    folder.mkdir(parents=True, exist_ok=True)
    body = pickle.dumps(state, protocol=5)
    sha256 = hashlib.sha256(body).hexdigest()
    header = {"format": FORMAT, "river": _RIVER, "sha256": sha256, "facts": facts}
    unfinished, current = folder / "unfinished", folder / "current"
    with unfinished.open("wb") as file:
        file.write(json.dumps(header).encode() + b"\n" + body)
        file.flush()
        os.fsync(file.fileno())
    if current.exists():
        current.replace(folder / "previous")
    unfinished.replace(current)
    frames.sync(folder)
    return len(body)


def load(folder: Path) -> Any | None:
    """The newest sound state, or None before the first. Raises CheckpointRefused when there is only an unusable one."""
    refused: CheckpointRefused | None = None
    for name in ("current", "previous"):
        path = folder / name
        if not path.exists():
            continue
        try:
            return read(path)
        except CheckpointRefused as error:
            log.warning("checkpoint refused path=%s reason=%s", path, error.reason)
            refused = refused or error
    if refused is not None:
        raise refused
    return None


def facts(path: Path) -> dict[str, Any]:
    """What a file says of itself. Raises CheckpointRefused."""
    with path.open("rb") as file:
        header: dict[str, Any] = _header(path, file.readline())
    return header["facts"]  # type: ignore[no-any-return]


def _header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(line)
    except ValueError:
        raise CheckpointRefused(path, "is damaged: its header cannot be read") from None
    if header.get("format") != FORMAT:
        raise CheckpointRefused(
            path,
            f"has format {header.get('format')}, this version reads {FORMAT}: move the folder away to start anew",
        )
    return header


def read(path: Path) -> Any:
    """The state in one file. Raises CheckpointRefused."""
    header_line, _, body = path.read_bytes().partition(b"\n")
    header = _header(path, header_line)
    if header["river"] != _RIVER:
        raise CheckpointRefused(
            path,
            f"was written with river {header['river']}, and {_RIVER} is installed: "
            "install that version, or move the folder away to learn anew from the log",
        )
    if hashlib.sha256(body).hexdigest() != header["sha256"]:
        raise CheckpointRefused(path, "is damaged: its content differs from its hash")
    return pickle.loads(body)  # our own file, checked by hash
