"""The journal of one model: labelled examples in the order in which they are learned, and what was changed about them.

The learn loop appends; every learner follows it from its own position, and replays it from an older one. It lies in
segment files of frames; a frame is one append, guarded by a checksum, so that a reader never sees half of one and a
writer that was killed goes on after the last whole one. Files are named by the number of their first example.

An example is never rewritten when its label is corrected: an *amendment* names it, and who reads it later reads it
amended. Only erasure rewrites files, and leaves tombstones, so that positions stay.
"""

import contextlib
import fcntl
import itertools
import os
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from contracts import frames
from contracts.frames import Frame, JournalDamaged
from contracts.lease import LeaseTaken
from contracts.schema import Value

SEGMENT_BYTES = 64 << 20
_SUFFIX = ".journal"
_AMENDMENTS = "amendments"
_FRAME = 10_000  # amendments of one frame, where they are written anew


class Example(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One label that is learned. `at` orders examples: the offset of the feedback that brought the label."""

    at: int
    prediction: int
    """Offset of the prediction."""
    label: str | float
    row: tuple[Value, ...] | None
    """Features as served; None once erased."""


class Amendment(msgspec.Struct, array_like=True, frozen=True):
    """From now on the example of a prediction has another label, or was never there."""

    at: int
    """`Example.at` of the example."""
    prediction: int
    label: str | float | None
    """None erases."""
    by: int
    """Offset of the feedback that corrected it, or of the erasure."""


_examples = msgspec.msgpack.Decoder(list[Example])
_amendments = msgspec.msgpack.Decoder(list[Amendment])
_encode = msgspec.msgpack.Encoder().encode


class Journal:
    """The one writer's end. What was appended before is skipped by its `at`: repeating a run changes nothing."""

    def __init__(self, folder: Path):
        """Raises LeaseTaken while another process has it open, and JournalDamaged."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.amendments: list[Amendment] = []
        self._amended: set[tuple[int, int]] = set()
        self.end, self.last_at = 0, -1
        """Examples ever appended, and `at` of the newest."""
        self._lock = frames.opened(folder / "lock")
        _lock(self._lock, folder)
        segments = segments_of(folder)
        self._start = segments[-1] if segments else 0
        self._amending, self._file = frames.opened(folder / _AMENDMENTS), frames.opened(self._path)
        try:
            self._recall(segments)
        except JournalDamaged:
            self.close()
            raise

    def _recall(self, segments: list[int]) -> None:
        """What was appended so far, after whose last whole frame both files go on."""
        for body, _ in frames.recovered(self._amending, self.folder / _AMENDMENTS):
            self._remember(_amendments.decode(body))
        last, self.end = b"", self._start
        for body, count in frames.recovered(self._file, self._path):
            self.end, last = self.end + count, body
        if not last and len(segments) > 1:
            for body, _ in frames.ended(segment(self.folder, segments[-2])):
                last = body
        if last:
            self.last_at = _examples.decode(last)[-1].at

    @property
    def _path(self) -> Path:
        return segment(self.folder, self._start)

    def append(self, examples: Sequence[Example]) -> None:
        """Adds examples in the order of `at`; those up to `last_at` are there already."""
        fresh = examples
        if examples and examples[0].at <= self.last_at:
            fresh = [example for example in examples if example.at > self.last_at]
        if not fresh:
            return
        if self._file.tell() > SEGMENT_BYTES:
            self.roll()
        frames.write(self._file, _encode(fresh), len(fresh))
        self.end, self.last_at = self.end + len(fresh), fresh[-1].at

    def amend(self, amendments: Iterable[Amendment]) -> None:
        """Adds amendments; one that is there already, by the same cause, is skipped."""
        fresh = [one for one in amendments if (one.prediction, one.by) not in self._amended]
        if fresh:
            frames.write(self._amending, _encode(fresh), len(fresh))
            self._remember(fresh)

    def _remember(self, amendments: list[Amendment]) -> None:
        self.amendments += amendments
        self._amended.update((one.prediction, one.by) for one in amendments)

    def sync(self) -> None:
        """Makes what was appended durable."""
        for file in (self._file, self._amending):
            os.fsync(file.fileno())

    def roll(self) -> None:
        """Ends the segment; the next append begins another."""
        if self._start == self.end:
            return
        os.fsync(self._file.fileno())
        self._file.close()
        self._start = self.end
        self._file = frames.opened(self._path)

    def erase(self, predictions: set[int], by: int) -> list[Amendment]:
        """Makes it as if these predictions had never been labelled; returns the amendments that tell learners so.

        Examples become tombstones, and what their labels were amended to is forgotten. Files are replaced whole:
        followers that hold an old one open find the same examples at the same places. What was interrupted is completed
        by doing it again; what was erased before is not told again. Raises JournalDamaged.
        """
        self.roll()
        erased = {one.prediction for one in self.amendments if one.label is None}
        fresh = [
            Amendment(one.at, one.prediction, None, by)
            for start in segments_of(self.folder)
            for one in _erase(segment(self.folder, start), predictions)
            if one.prediction not in erased
        ]
        # Learners hear of it last: once they do, no file has anything left to read.
        kept = [_forgotten(one, predictions) for one in self.amendments]
        frames.sync(self.folder)
        if fresh or kept != self.amendments:
            self._replace_amendments(kept + fresh)
        return [one for one in self.amendments if one.label is None and one.by == by]

    def _replace_amendments(self, amendments: list[Amendment]) -> None:
        """All of them at once; readers notice that the file is another one."""
        path = self.folder / _AMENDMENTS
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        file = frames.opened(unfinished)
        for first in range(0, len(amendments), _FRAME):
            frame = amendments[first : first + _FRAME]
            frames.write(file, _encode(frame), len(frame))
        os.fsync(file.fileno())
        unfinished.replace(path)
        frames.sync(self.folder)
        self._amending.close()
        self._amending, self.amendments, self._amended = file, [], set()
        self._remember(amendments)

    def bytes_on_disk(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def close(self) -> None:
        self._file.close()
        self._amending.close()
        self._lock.close()


class Follower:
    """A reader's end, from a position on: `take` gives what has been appended since, without waiting."""

    def __init__(self, folder: Path, position: int = 0):
        """`position` counts examples already taken."""
        self.folder, self.position = folder, position
        self._file: BinaryIO | None = None
        self._start = self._next = 0

    def take(self) -> list[Example]:
        """The rest of the next frame: examples from `position` on, which moves past them. Empty at the end."""
        while self._file is not None or self._open():
            found = self._next_frame()
            if found is None:
                return []
            body, count = found
            first, self._next = self._next, self._next + count
            if self._next > self.position:
                taken = _examples.decode(body)[self.position - first :]
                self.position = self._next
                return taken
        return []

    def _next_frame(self) -> Frame | None:
        """The next frame of this segment, or the first of the one after it."""
        assert self._file is not None
        found = frames.next_frame(self._file)
        if found is not None or not self._is_ended(self._file):
            return found
        found = frames.next_frame(self._file)  # what was appended between the two looks
        if found is None:
            successor = segment(self.folder, self._next)
            if self._file.read(1) or not successor.exists():
                raise JournalDamaged(segment(self.folder, self._start), self._file.tell())
            self._file.close()
            self._start, self._file = self._next, successor.open("rb")
            found = frames.next_frame(self._file)
        return found

    def _is_ended(self, file: BinaryIO) -> bool:
        """Whether there is a segment after this one; no file is looked for before something was read of this."""
        if self._next > self._start and segment(self.folder, self._next).exists():
            return True
        at = file.tell()
        has_rest = bool(file.read(1))
        file.seek(at)
        return has_rest and segments_of(self.folder)[-1] > self._start

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        starts = [start for start in segments_of(self.folder) if start <= self.position]
        if not starts:
            return False
        self._start = self._next = starts[-1]
        self._file = segment(self.folder, self._start).open("rb")
        return True


class Amendments:
    """A reader's end of the amendments."""

    def __init__(self, folder: Path):
        self._path = folder / _AMENDMENTS
        self._file: BinaryIO | None = None
        self._taken = 0

    def take(self) -> list[Amendment]:
        """What was added since the last call."""
        known = 0
        if self._file is not None and self._is_replaced(self._file):
            self.close()
        if self._file is None:
            if not self._path.exists():
                return []
            self._file, known = self._path.open("rb"), self._taken
        taken: list[Amendment] = []
        while (found := frames.next_frame(self._file)) is not None:
            taken += _amendments.decode(found[0])
        taken = taken[known:]
        self._taken += len(taken)
        return taken

    def _is_replaced(self, file: BinaryIO) -> bool:
        """Whether an erasure has put another file in its place, which begins with as many amendments."""
        return os.fstat(file.fileno()).st_ino != self._path.stat().st_ino

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def first(folder: Path, count: int) -> list[Example]:
    """The first `count` examples that are there and not erased."""
    with contextlib.closing(read(folder)) as examples:
        return list(itertools.islice((example for example in examples if example.row is not None), count))


def amendments(folder: Path) -> list[Amendment]:
    """Every amendment so far."""
    with contextlib.closing(Amendments(folder)) as reader:
        return reader.take()


def read(folder: Path, position: int = 0) -> Generator[Example, None, None]:
    """Every example from a position to the present end."""
    with contextlib.closing(Follower(folder, position)) as follower:
        while taken := follower.take():
            yield from taken


def segments_of(folder: Path) -> list[int]:
    """First example of each segment, ascending."""
    return sorted(int(path.stem) for path in folder.glob(f"*{_SUFFIX}"))


def segment(folder: Path, start: int) -> Path:
    return folder / f"{start:015d}{_SUFFIX}"


def _lock(file: BinaryIO, folder: Path) -> None:
    """A process that was suspended may not know that it lost its lease; the kernel does not forget its lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise LeaseTaken(f"the journal of {folder.name}") from None


def _erase(path: Path, predictions: set[int]) -> list[Example]:
    """Puts tombstones in a segment; returns the examples of these predictions, tombstones included.

    Raises JournalDamaged, having changed nothing.
    """
    found = [one for body, _ in frames.ended(path) for one in _examples.decode(body) if one.prediction in predictions]
    if all(one.row is None for one in found):
        return found
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb", buffering=0) as file:
        for body, count in frames.ended(path):
            examples = _examples.decode(body)
            kept = [_tombstone(one) if one.prediction in predictions else one for one in examples]
            frames.write(file, _encode(kept), count)
        os.fsync(file.fileno())
    unfinished.replace(path)
    return found


def _tombstone(example: Example) -> Example:
    return Example(example.at, example.prediction, "", None)


def _forgotten(amendment: Amendment, predictions: set[int]) -> Amendment:
    if amendment.prediction not in predictions:
        return amendment
    return Amendment(amendment.at, amendment.prediction, None, amendment.by)
