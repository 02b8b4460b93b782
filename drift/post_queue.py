"""What is still to be delivered: one file each in the outbox, written before the first attempt and gone after the last.

A file begins with one line about its delivery, which mail programs take for a header; the message follows. Whoever
delivers holds the file's lock, so that two processes never deliver the same one. A kill leaves it as it was: what a
server had taken in just that moment goes out once more, under the same Message-ID.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from drift import shelf

_HEAD = b"X-Tiltyard-Queue: "
_FIRST_WAIT_S = 60.0
_LONGEST_WAIT_S = 6 * 3600.0
_GIVE_UP_S = 3 * 86_400.0
"""A weekend; who was not reached by then has read the page."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """How far a delivery is."""

    to: tuple[str, ...]
    """Who is still to get it; empty once it is settled."""
    since: float
    next_at: float
    attempts: int = 0
    failed: dict[str, str] = {}
    """Who will not get it, and why."""
    items: tuple[str, ...] = ()
    """What it tells of, so that the same is not told twice."""

    def after(self, temporary: Mapping[str, str], final: Mapping[str, str], now: float) -> "Entry":
        """After an attempt: those refused for now wait, twice as long each time, and at most for three days."""
        given_up = now - self.since >= _GIVE_UP_S
        wait_s = min(_FIRST_WAIT_S * 2.0 ** min(self.attempts, 30), _LONGEST_WAIT_S)
        return msgspec.structs.replace(
            self,
            to=() if given_up else tuple(temporary),
            next_at=now + wait_s,
            attempts=self.attempts + 1,
            failed={**self.failed, **final, **(temporary if given_up else {})},
        )


def write(path: Path, entry: Entry, message: bytes) -> None:
    """Puts a delivery into the queue, or notes how far it is. Raises OSError."""
    head = json.dumps(msgspec.to_builtins(entry)).encode()  # ASCII, as headers are
    shelf.write(path, _HEAD + head + b"\r\n" + message)


def read(path: Path) -> tuple[Entry, bytes] | None:
    """What is in a file of the queue; None where there is none, or nothing that this version wrote."""
    try:
        head, _, message = path.read_bytes().partition(b"\r\n")
        return msgspec.json.decode(head.removeprefix(_HEAD), type=Entry), message
    except (OSError, msgspec.DecodeError):
        return None


def waiting(folder: Path, suffix: str) -> Iterator[tuple[Path, Entry]]:
    """What is queued, the oldest first."""
    for path in sorted(folder.glob(f"*{suffix}")):
        found = read(path)
        if found is not None:
            yield path, found[0]


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Whether the file is there and nobody else delivers it; meanwhile nobody else does."""
    try:
        file = path.open("rb")
    except OSError:
        yield False
        return
    with file:
        yield _is_ours(file, path)


def _is_ours(file: BinaryIO, path: Path) -> bool:
    """Whoever held it before may have replaced or removed the file: then this is the lock of one that is no more."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(file.fileno()).st_ino == path.stat().st_ino
    except OSError:
        return False
