"""Erasing from the durable log: rows, files, statistics and older versions go; position and everybody's work stay."""

import random
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import deltalake
import pytest

from contracts import events
from contracts.config import parse
from contracts.events import Feedback, Prediction, Shadow
from contracts.log import Erased, Log

SCHEMA = (
    parse("""
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float", c = "category"}
learners = {linear = {algorithm = "linear"}}
""")
    .model("m")
    .schema
)
NUMBER = 876543.0123456789
SECRET = (NUMBER, "9f3c-so-secret-9f3c")
COMMENT = "7b1d-told-in-confidence-7b1d"
TRACES = (SECRET[1].encode(), struct.pack("<d", NUMBER), repr(NUMBER)[:12].encode(), COMMENT.encode())


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path, "m", SCHEMA)


def at(milliseconds: int) -> int:
    return events.offset(f"{milliseconds}-0")


def ask(log: Log, *milliseconds: int, row: tuple[float, str] = (0.5, "a")) -> None:
    log.append_predictions(
        [(at(ms), Prediction(1, 0, (0.4, 0.6), row, "f", "ann"), Shadow({2: (7, (1.0, 0.0))})) for ms in milliseconds]
    )


def label(log: Log, at_ms: int, asked_ms: int, comment: str | None = None) -> None:
    log.append_labels([(at(at_ms), Feedback(f"{asked_ms}-0", "true", None, comment))])


def traces(folder: Path) -> Iterator[tuple[str, bytes]]:
    """What of the secret row stands in which file."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        yield from ((file.suffix, trace) for trace in TRACES if trace in content)


def asked(log: Log) -> list[int]:
    return [int(offset) for offset in log.offsets()]


def fill(log: Log) -> None:
    """Two ordinary predictions around a secret one, each with a label, the secret one corrected as well."""
    ask(log, 1)
    ask(log, 2, row=SECRET)
    ask(log, 3)
    for ms in (1, 2, 3):
        label(log, 10 + ms, ms, COMMENT if ms == 2 else None)
    label(log, 20, 2, COMMENT)


def test_nothing_of_what_was_erased_is_left_on_disk(log: Log) -> None:
    """Its rows go from both tables, its values from every file; the others stay as they were."""
    fill(log)
    assert {suffix for suffix, _ in traces(log.folder)} == {".parquet"}, "Delta's own log never held a value"
    assert log.erase([at(2), at(99)]) == Erased(predictions=1, labels=2)
    assert list(traces(log.folder)) == []
    assert asked(log) == [at(1), at(3)]
    assert log.rows("labels")["prediction_offset"].to_pylist() == [at(1), at(3)]
    assert log.examples().labels == ["true", "true"]
    assert log.erase([at(2)]) == Erased(0, 0)


def test_bounds_in_the_log_of_an_older_table_go_too(log: Log) -> None:
    """Tables from before the bounds of features were left out have them in their JSON, and in a checkpoint."""
    fill(log)
    for name in ("predictions", "labels"):
        path = str(log.folder / name)
        table = deltalake.DeltaTable(path).to_pyarrow_table()
        for file in (log.folder / name).rglob("*.*"):
            file.unlink()
        deltalake.write_deltalake(path, table, configuration={"delta.checkpointInterval": "2"})
    old = Log(log.folder.parent, "m", SCHEMA)
    ask(old, *range(30, 33))
    ask(old, 40)
    held = {suffix for suffix, _ in traces(log.folder)}
    assert held == {".parquet", ".json"}
    assert list((log.folder / "predictions" / "_delta_log").glob("*.checkpoint.parquet"))
    assert old.erase([at(2)]) == Erased(1, 2)
    assert list(traces(log.folder)) == []
    ask(old, 50, row=(NUMBER, "a"))
    assert {suffix for suffix, _ in traces(log.folder)} == {".parquet"}


def test_compacted_and_abandoned_files_are_cleared(log: Log) -> None:
    """What a compaction replaced, and what a crashed append left without a commit, hold copies as well."""
    fill(log)
    assert log.compact("predictions", above_files=1)
    folder = log.folder / "predictions"
    (folder / "part-00000-left-by-a-crash-c000.snappy.parquet").write_bytes(SECRET[1].encode())
    log.erase([at(2)])
    assert list(traces(log.folder)) == []


def test_an_interrupted_erasure_is_completed_by_the_next(log: Log) -> None:
    """Rows that are gone from the newest version still have their files removed."""
    fill(log)
    deltalake.DeltaTable(str(log.folder / "predictions")).delete(f"offset = {at(2)}")
    assert list(traces(log.folder / "predictions"))
    assert log.erase([at(2)]) == Erased(0, 2)
    assert list(traces(log.folder)) == []


def test_the_position_stays_through_checkpoints_and_erasures(log: Log) -> None:
    """Nothing erased is appended again, by this process or by one that starts anew; appending goes on."""
    for ms in range(1, 121):  # Delta writes a checkpoint every 100 versions
        ask(log, ms)
    assert log.erase([at(ms) for ms in range(1, 121)]) == Erased(120, 0)
    for writer in (log, Log(log.folder.parent, "m", SCHEMA)):
        assert writer.position("predictions") == at(120)
        ask(writer, 119, 120)
        assert asked(writer) == []
        assert writer.features(last=5) == {"x": [], "c": []}
    for ms in range(121, 230):
        ask(log, ms)
    assert log.position("predictions") == at(229)
    assert len(asked(log)) == 109
    assert log.position("labels") == -1


def test_erasing_from_a_log_that_is_not_there_erases_nothing(log: Log) -> None:
    """A model that has logged nothing yet has nothing to give."""
    assert log.erase([at(1)]) == Erased(0, 0)
    assert not list(log.folder.rglob("*.json"))


def test_a_hundred_thousand_rows_are_erased_as_fast_as_one(log: Log) -> None:
    """An entity may have asked for years; the set is joined, not spelt out."""
    ask(log, *range(1, 110_001))
    begin = time.monotonic()
    assert log.erase([at(ms) for ms in range(1, 100_001)]).predictions == 100_000
    assert time.monotonic() - begin < 10
    assert len(asked(log)) == 10_000


def _append_one_by_one(folder: Path) -> None:
    log = Log(folder, "m", SCHEMA)
    for ms in range(1, 41):
        ask(log, ms)
        label(log, 1000 + ms, ms)


def test_appends_and_reads_go_on_while_rows_are_erased(log: Log) -> None:
    """Another process appends, a thread reads, and rows go all the while: nothing fails, nothing is lost or doubled."""
    folder, erased = log.folder.parent, set[int]()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool, ThreadPoolExecutor(1) as threads:
        appending = pool.submit(_append_one_by_one, folder)
        reading = threads.submit(_read_until_done, folder, appending.done)
        while not appending.done():
            chosen = [offset for offset in asked(log) if offset not in erased][:3]
            assert log.erase(chosen).predictions == len(chosen)
            erased |= set(chosen)
            time.sleep(0.05)
        appending.result()
        assert reading.result() > 0
    kept = sorted({at(ms) for ms in range(1, 41)} - erased)
    assert len(erased) >= 6
    assert asked(log) == kept
    assert sorted(log.rows("labels")["prediction_offset"].to_pylist()) >= kept
    assert (log.position("predictions"), log.position("labels")) == (at(40), at(1040))


def _read_until_done(folder: Path, done: Callable[[], bool]) -> int:
    log, count = Log(folder, "m", SCHEMA), 0
    while not done():
        log.examples()
        log.offsets_of("ann")
        count += 1
    return count


def _append_and_erase(folder: Path, first: int) -> None:
    log = Log(folder, "m", SCHEMA)
    for ms in range(first, first + 100_000):
        ask(log, ms, row=SECRET)
        label(log, 1_000_000 + ms, ms, COMMENT)
        if ms % 3 == 0:
            log.erase([at(ms - 1), at(ms)])


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_process_killed_at_any_moment_of_an_erasure_leaves_a_log_that_goes_on(log: Log) -> None:
    """No row twice, positions right, and what is then erased leaves nothing behind."""
    folder, rng, spawn = log.folder.parent, random.Random(7), get_context("spawn")
    for _ in range(12):
        before = log.position("labels")
        process = spawn.Process(target=_append_and_erase, args=(folder, max(0, log.position("predictions") >> 20) + 1))
        process.start()
        while log.position("labels") == before:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 1.5))
        process.kill()
        process.join()
        found = asked(log)
        assert len(found) == len(set(found))
        assert max(found, default=-1) <= log.position("predictions")
        labels = log.rows("labels")["prediction_offset"].to_pylist()
        assert set(labels) <= set(found)
    log.erase(found)
    assert list(traces(log.folder)) == []
    assert asked(log) == []
