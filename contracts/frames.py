"""Files of frames: appended to by one, read by many, and whole frame by whole frame, whoever is killed when.

A frame is a body with its length, its checksum and how many things are in it.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_HEAD = struct.Struct("<III")  # bytes of the body, its CRC-32, things in it
Frame = tuple[bytes, int]
"""The body, and how many things are in it."""


class JournalDamaged(Exception):
    """A frame that is followed by others cannot be read; nothing after it was learned."""

    def __init__(self, path: Path, byte: int):
        super().__init__(
            f"{path} is damaged at byte {byte}; put it back from a copy, "
            "or move the model's journal and checkpoints away to learn anew"
        )
        self.path, self.byte = path, byte


def opened(path: Path) -> BinaryIO:
    """A file to append to, made where there is none."""
    path.touch()
    return path.open("r+b", buffering=0)


def write(file: BinaryIO, body: bytes, count: int) -> None:
    """Appends a frame."""
    # One write: a reader may see less than a frame, and then waits, but never a hole.
    frame = memoryview(_HEAD.pack(len(body), zlib.crc32(body), count) + body)
    while frame:
        frame = frame[file.write(frame) :]


def next_frame(file: BinaryIO) -> Frame | None:
    """The next whole frame, or None with the file where it was."""
    at = file.tell()
    head = file.read(_HEAD.size)
    if len(head) == _HEAD.size:
        size, checksum, count = _HEAD.unpack(head)
        body = file.read(size)
        if len(body) == size and zlib.crc32(body) == checksum:
            return body, count
    file.seek(at)
    return None


def recovered(file: BinaryIO, path: Path) -> Iterator[Frame]:
    """Every frame; then the file is cut after the last whole one, where appending goes on.

    Raises JournalDamaged.
    """
    while (found := next_frame(file)) is not None:
        yield found
    end = file.tell()
    if _follows_another(file, end):
        raise JournalDamaged(path, end)
    file.truncate(end)


def ended(path: Path) -> Iterator[Frame]:
    """Every frame of a file that nobody appends to any more. Raises JournalDamaged."""
    with path.open("rb") as file:
        while (found := next_frame(file)) is not None:
            yield found
        if file.read(1):
            raise JournalDamaged(path, file.tell() - 1)


def sync(folder: Path) -> None:
    """Makes what was replaced in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _follows_another(file: BinaryIO, at: int) -> bool:
    """Whether a whole frame comes after an unreadable one: then it was damaged, and not cut short by a crash."""
    head = file.read(_HEAD.size)
    size = _HEAD.unpack(head)[0] if len(head) == _HEAD.size else 0
    file.seek(at + _HEAD.size + size)
    follows = len(head) == _HEAD.size and next_frame(file) is not None
    file.seek(at)
    return follows
