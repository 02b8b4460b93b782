"""The journal: one writer, any number of readers, nothing lost, repeated or half read, and erasure that leaves gaps."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from contracts import journal
from contracts.frames import JournalDamaged
from contracts.journal import Amendment, Amendments, Example, Follower, Journal
from contracts.lease import LeaseTaken

SECRET = "9f3c-so-secret-9f3c"
CONTEXT = get_context("forkserver")


def example(n: int, text: str = "a", label: str = "true") -> Example:
    """The n-th: learned at 10 n, about prediction n."""
    return Example(10 * n, n, label, (n / 2, text))


def examples(first: int, end: int) -> list[Example]:
    return [example(n) for n in range(first, end)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "m"


@pytest.fixture
def written(folder: Path) -> Iterator[Journal]:
    with closing(Journal(folder)) as opened:
        yield opened


def predictions(folder: Path, position: int = 0) -> list[int]:
    return [one.prediction for one in journal.read(folder, position)]


def holding(folder: Path, text: str = SECRET) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if text.encode() in path.read_bytes())


def test_what_was_appended_is_read_in_order_from_any_position(written: Journal, folder: Path) -> None:
    """Also from the middle of a frame, and from the end, where nothing is left."""
    written.append(examples(0, 5))
    written.append(examples(5, 9))
    assert (written.end, written.last_at) == (9, 80)
    for position in range(10):
        assert list(journal.read(folder, position)) == examples(position, 9)


def test_repeating_an_append_changes_nothing(written: Journal, folder: Path) -> None:
    """A writer that was killed reads the same feedback again: what is there is skipped, also within a batch."""
    written.append(examples(0, 5))
    written.append(examples(0, 5))
    written.append(examples(3, 7))
    assert predictions(folder) == list(range(7))
    written.append([])
    assert written.end == 7


def test_a_writer_goes_on_where_the_one_before_it_stopped(folder: Path) -> None:
    """Its end, its last `at` and its amendments are as they were."""
    with closing(Journal(folder)) as first:
        first.append(examples(0, 3))
        first.amend([Amendment(10, 1, "false", 99)])
    with closing(Journal(folder)) as second:
        assert (second.end, second.last_at, second.amendments) == (3, 20, [Amendment(10, 1, "false", 99)])
        second.append(examples(2, 4))
    assert predictions(folder) == [0, 1, 2, 3]


@pytest.mark.parametrize("cut", [1, 5, 12, 13, 30])
def test_a_torn_tail_is_cut_off_and_written_anew(folder: Path, cut: int) -> None:
    """However little of the last frame a crash has left; readers wait before it and then read it once."""
    with closing(Journal(folder)) as first:
        first.append(examples(0, 3))
        whole = journal.segment(folder, 0).stat().st_size
        first.append(examples(3, 6))
    os.truncate(journal.segment(folder, 0), whole + cut)
    with closing(Follower(folder)) as follower:
        assert follower.take() == examples(0, 3)
        assert follower.take() == []
        with closing(Journal(folder)) as second:
            assert (second.end, second.last_at) == (3, 20)
            second.append(examples(3, 6))
            assert follower.take() == examples(3, 6)


def test_a_damaged_middle_is_said_and_nothing_is_written(folder: Path) -> None:
    """A frame that others follow was not cut by a crash: whoever writes on would hide it."""
    with closing(Journal(folder)) as first:
        first.append(examples(0, 3))
        at = journal.segment(folder, 0).stat().st_size
        first.append(examples(3, 6))
        first.append(examples(6, 9))
    path = journal.segment(folder, 0)
    content = bytearray(path.read_bytes())
    content[at + 20] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(JournalDamaged, match="move the model's journal and checkpoints away"):
        Journal(folder)
    assert path.read_bytes() == content
    assert predictions(folder) == [0, 1, 2]


def test_a_damaged_segment_is_said_by_readers_and_by_erasure(written: Journal, folder: Path) -> None:
    """Once another segment has begun, a frame that cannot be read is no frame that is still being written."""
    written.append(examples(0, 3))
    written.append(examples(3, 6))
    written.roll()
    written.append(examples(6, 9))
    path = journal.segment(folder, 0)
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(JournalDamaged):
        predictions(folder)
    with pytest.raises(JournalDamaged):
        written.erase({1}, by=1)
    assert path.read_bytes() == content


def test_segments_roll_and_a_follower_goes_through_them(
    written: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At small sizes every append has a file of its own; who follows sees one journal, at once or in steps."""
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 40)
    with closing(Follower(folder)) as beside, closing(Follower(folder, 7)) as from_seven:
        seen: list[Example] = []
        for first in range(0, 30, 3):
            written.append(examples(first, first + 3))
            seen += beside.take()
        assert len(journal.segments_of(folder)) == 10
        assert seen == examples(0, 30)
        assert from_seven.take() == examples(7, 9)
        assert from_seven.take() == examples(9, 12)
        assert (beside.position, from_seven.position) == (30, 12)
    assert predictions(folder, 13) == list(range(13, 30))
    written.close()
    with closing(Journal(folder)) as again:
        assert (again.end, again.last_at) == (30, 290)


def test_an_empty_last_segment_knows_what_came_before(written: Journal, folder: Path) -> None:
    """A roll and a crash: the next writer still skips what was appended."""
    written.append(examples(0, 3))
    written.roll()
    written.roll()
    written.close()
    with closing(Journal(folder)) as again:
        assert (again.end, again.last_at) == (3, 20)
        again.append(examples(0, 4))
    assert predictions(folder) == [0, 1, 2, 3]


def test_a_second_writer_is_refused(written: Journal, folder: Path) -> None:
    """Also once the first has replaced its files; when it is gone, the next may write."""
    with pytest.raises(LeaseTaken, match="journal of m"):
        Journal(folder)
    written.append(examples(0, 3))
    written.erase({1}, by=7)
    with pytest.raises(LeaseTaken):
        Journal(folder)
    written.close()
    Journal(folder).close()


def test_an_amendment_is_written_once(written: Journal, folder: Path) -> None:
    """The same correction again is skipped; another one for the same prediction is not."""
    one, other = Amendment(10, 1, "false", 99), Amendment(10, 1, "true", 100)
    with closing(Amendments(folder)) as reader:
        written.amend([one])
        written.amend([one, other])
        assert reader.take() == [one, other]
        written.amend([one])
        assert reader.take() == []
    assert journal.amendments(folder) == written.amendments == [one, other]


def test_erased_examples_leave_gaps_and_no_trace(written: Journal, folder: Path) -> None:
    """Positions and `at` stay; features, labels and what labels were amended to are in no file any more."""
    written.append([example(n, SECRET if n == 1 else "a", "was-so" if n == 1 else "true") for n in range(4)])
    written.amend([Amendment(10, 1, "never-so", 50), Amendment(20, 2, "false", 51)])
    written.append(examples(4, 6))
    assert holding(folder)
    assert written.erase({1, 99}, by=60) == [Amendment(10, 1, None, 60)]
    assert holding(folder) == holding(folder, "was-so") == holding(folder, "never-so") == []
    kept = list(journal.read(folder))
    assert [one.at for one in kept] == [0, 10, 20, 30, 40, 50]
    assert [one.row is None for one in kept] == [False, True, False, False, False, False]
    wanted = [Amendment(10, 1, None, 50), Amendment(20, 2, "false", 51), Amendment(10, 1, None, 60)]
    assert journal.amendments(folder) == wanted
    assert [one.prediction for one in journal.first(folder, 2)] == [0, 2]
    written.append(examples(6, 8))
    written.amend([Amendment(30, 3, "false", 61)])
    assert predictions(folder) == list(range(8))
    written.close()
    with closing(Journal(folder)) as again:
        assert (again.end, again.amendments) == (8, [*wanted, Amendment(30, 3, "false", 61)])


def test_an_erasure_is_repeated_without_a_change(written: Journal, folder: Path) -> None:
    """By the same request it tells the same; by another, that there was nothing left to erase."""
    written.append(examples(0, 4))
    told = written.erase({1, 2}, by=60)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert written.erase({1, 2}, by=60) == told
    assert written.erase({1, 2}, by=70) == []
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert written.erase({2, 3}, by=80) == [Amendment(30, 3, None, 80)]


def test_an_erasure_that_was_interrupted_is_completed(written: Journal, folder: Path) -> None:
    """Tombstones that learners have not heard of are told by the next one."""
    written.append(examples(0, 4))
    written.roll()
    journal._erase(journal.segment(folder, 0), {1})
    assert written.erase({1, 2}, by=60) == [Amendment(10, 1, None, 60), Amendment(20, 2, None, 60)]


def test_nothing_to_erase_replaces_no_file(written: Journal, folder: Path) -> None:
    """Who was never labelled is in no example."""
    written.append(examples(0, 4))
    inode = journal.segment(folder, 0).stat().st_ino
    assert written.erase({99}, by=1) == []
    assert written.erase(set(), by=2) == []
    assert journal.segment(folder, 0).stat().st_ino == inode
    assert journal.amendments(folder) == []


def test_followers_keep_their_place_across_an_erasure(written: Journal, folder: Path) -> None:
    """One that is behind, one in the middle and one at the end; none sees an example twice or misses one."""
    written.append(examples(0, 3))
    written.append(examples(3, 6))
    with closing(Follower(folder)) as behind, closing(Follower(folder)) as middle, closing(Follower(folder, 6)) as end:
        middle.take()
        assert end.take() == []
        with closing(Amendments(folder)) as changes:
            written.amend([Amendment(0, 0, "false", 50)])
            assert len(changes.take()) == 1
            written.erase({1, 4}, by=60)
            written.append(examples(6, 8))
            assert [one.prediction for one in changes.take()] == [1, 4]
            written.amend([Amendment(0, 0, "true", 70)])
            assert changes.take() == [Amendment(0, 0, "true", 70)]
        rest = [[one.prediction for one in _all(follower)] for follower in (behind, middle, end)]
    assert rest == [list(range(8)), list(range(3, 8)), [6, 7]]


def _all(follower: Follower) -> Iterator[Example]:
    while taken := follower.take():
        yield from taken


def _write_for_ever(folder: Path) -> None:
    """Appends, amends and erases until it is killed; every fifth example is erased soon."""
    journal.SEGMENT_BYTES = 2_000
    written = Journal(folder)
    while True:
        n = written.end
        written.append(examples(n, n + 3))
        if n % 9 == 0:
            written.amend([Amendment(10 * n, n, "false", n)])
        if n % 30 == 0:
            written.erase({one for one in range(max(0, n - 40), n) if one % 5 == 0}, by=n)
        if n % 60 == 0:
            written.sync()


def test_a_writer_killed_at_any_moment_leaves_a_journal_that_goes_on(folder: Path) -> None:
    """Readers in other processes see every example once and in order, whatever moment the writer was killed at."""
    with closing(Follower(folder)) as follower, closing(Amendments(folder)) as changes:
        seen: list[Example] = []
        told: list[Amendment] = []
        CONTEXT.set_forkserver_preload(["tests.contracts.test_journal"])
        for n in range(6):
            process = CONTEXT.Process(target=_write_for_ever, args=(folder,))
            process.start()
            before, deadline = len(seen), time.monotonic() + 30
            while len(seen) < before + 40 + 7 * n and time.monotonic() < deadline:
                seen += follower.take()
                told += changes.take()
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            assert len(seen) > before
        seen += _all(follower)
        told += changes.take()
    assert [one.prediction for one in seen] == list(range(len(seen)))
    written = journal.amendments(folder)
    assert [(one.prediction, one.by) for one in told] == [(one.prediction, one.by) for one in written]
    erased = {one.prediction for one in written if one.label is None}
    kept = list(journal.read(folder))
    assert erased
    assert len(kept) >= len(seen)
    assert all(one.row is None for one in kept if one.prediction in erased)
    assert all(one.row is not None for one in kept if one.prediction % 5)


def test_a_hundred_thousand_examples_are_erased_within_seconds(written: Journal) -> None:
    """It is done between two batches of labels, so it may not last long."""
    for first in range(0, 200_000, 2_000):
        written.append(examples(first, first + 2_000))
    began = time.monotonic()
    assert len(written.erase(set(range(0, 200_000, 2)), by=1)) == 100_000
    assert time.monotonic() - began < 10
