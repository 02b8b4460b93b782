"""The ledger: chained, repeatable, mirrored, and able to say who was live."""

import random
import threading
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

from contracts import lease
from contracts.log import Log
from contracts.releases import Board
from contracts.streams import Streams
from registry import seal
from registry.ledger import Ledger
from tests.registry.conftest import SCHEMA


def filled(ledger: Ledger, lines: int = 4) -> Ledger:
    for i in range(lines):
        ledger.append("refused", i, f"reason {i}", cause="a test", numbers={"loss": i / 7, "of": (1, 2)}, now=100.0 + i)
    return ledger


def rewrite(ledger: Ledger, change) -> None:
    """Writes the table anew after `change` has had its way with the rows, as somebody with access to the disk could."""
    rows = change(ledger.table.rows("ledger").to_pylist())
    path = str(ledger.table.folder / "ledger")
    schema = pa.schema([("offset", pa.int64()), ("hash", pa.string()), ("line", pa.string())])
    deltalake.write_deltalake(path, pa.Table.from_pylist(rows, schema), mode="overwrite")


def test_lines_are_chained_and_read_back_as_written(ledger):
    """Each line carries the hash of the one before, and numbers come back as JSON keeps them."""
    lines = filled(ledger).read()
    assert [line.seq for line in lines] == [0, 1, 2, 3]
    assert [line.previous for line in lines] == ["", *(line.hash for line in lines[:-1])]
    assert lines[2].numbers == {"loss": 2 / 7, "of": [1, 2]}
    assert ledger.append("corrected", None, "x", cause="learn", numbers={"of": (3,)}) == ledger.read()[-1]
    assert ledger.verify() is None


def test_an_empty_ledger_holds_and_nobody_is_live(ledger):
    """Before the first decision."""
    assert (ledger.read(), ledger.verify(), ledger.live_at(1e12)) == ([], None, None)


@pytest.mark.parametrize("at", [0, 5, 40, -3])
def test_one_changed_byte_is_found(ledger, at):
    """Whatever is changed in a line, it or its follower no longer fits."""
    filled(ledger)

    def change(rows):
        text = rows[1]["line"]
        rows[1]["line"] = text[:at] + chr(ord(text[at]) ^ 1) + text[at:][1:]
        return rows

    rewrite(ledger, change)
    assert ledger.verify() == 1


@pytest.mark.parametrize(
    ("change", "bad"),
    [
        (lambda rows: rows[:2] + rows[3:], 2),
        (lambda rows: rows[:-1], 3),
        (lambda rows: [rows[0], {**rows[1], "hash": "0" * 64}, *rows[2:]], 1),
        (lambda rows: [rows[0], {**rows[1], "line": rows[1]["line"].replace(":", ": ", 1)}, *rows[2:]], 1),
        (lambda rows: [*rows, rows[-1]], 4),
    ],
    ids=["line removed", "end cut off", "hash forged", "space added", "line repeated"],
)
def test_a_broken_chain_is_found(ledger, change, bad):
    """Removed, forged, reformatted and repeated lines are named by their seq."""
    filled(ledger)
    rewrite(ledger, change)
    assert ledger.verify() == bad


def test_a_repeated_key_gives_the_first_line(ledger):
    """A flow that was killed after writing may run again."""
    first = ledger.append("budget", 3, "once", cause="retrain", key="run-1")
    again = ledger.append("budget", 4, "twice", cause="retrain", key="run-1")
    assert again == first
    assert len(ledger.read()) == 1


def test_writers_at_the_same_time_make_one_chain(ledger, client, model, tmp_path):
    """Four threads with their own handles, five lines each."""
    ledgers = [Ledger(Log(tmp_path / "log", model, SCHEMA), Streams(client, model)) for _ in range(4)]
    threads = [threading.Thread(target=filled, args=(each, 5)) for each in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.read()) == 20
    assert ledger.verify() is None


def test_the_page_sees_every_line_also_those_whose_writer_was_killed(ledger, client, model):
    """What was written but not shown is shown with the next line, in order; after a flush, everything is."""
    shown = ledger.streams
    filled(ledger, 2)
    client.delete(shown.key("decisions"))
    ledger.append("refused", 9, "last", cause="a test")
    assert [line.seq for line in shown.decisions()] == [2, 1, 0]
    client.flushall()
    ledger.show()
    assert shown.decisions() == ledger.read()[::-1]


def test_who_was_live_is_answered_for_any_time(ledger):
    """The board in each line that moved somebody says who answered from then on."""
    for at, kind, champion in ((10, "prior", 0), (20, "bootstrap", 1), (30, "promoted", 2), (40, "rolled_back", 1)):
        ledger.append(kind, champion, "r", cause="c", numbers={"board": Board(champion=champion)}, now=at)
        ledger.append("refused", 7, "r", cause="c", now=at + 1)
    assert [ledger.live_at(at) for at in (9.9, 10, 25, 30.5, 39.9, 40, 1e10)] == [None, 0, 1, 2, 2, 1, 1]


def test_what_was_decided_by_a_clock_that_was_ahead_still_came_before_the_next_line(ledger):
    """A promotion dated in the future counts as soon as a line that follows it: lines are in order, clocks are not."""
    for version, at in ((0, 10), (1, 1e9), (None, 30)):
        numbers = {} if version is None else {"board": Board(champion=version)}
        ledger.append("promoted" if version else "verdict", version, "x", cause="a test", numbers=numbers, now=at)
    assert [ledger.live_at(at) for at in (20, 30, 40, 2e9)] == [0, 1, 1, 1]


def test_nothing_is_written_under_a_lost_lease(ledger, client, model):
    """A decision that was made under a lease which has run out may be out of date."""
    with lease.held(client, model, "roles") as mine:
        client.delete(mine.key)
        with pytest.raises(lease.LeaseLost):
            ledger.append("promoted", 1, "late", cause="a test", under=mine)
    assert ledger.read() == []


def test_many_lines_stay_few_files(ledger):
    """Small files are merged, and the chain holds across it."""
    filled(ledger, 66)
    files = list(Path(ledger.table.folder / "ledger").glob("*.parquet"))
    assert len(deltalake.DeltaTable(str(ledger.table.folder / "ledger")).file_uris()) < 20 < len(files)
    assert ledger.verify() is None


def test_one_changed_byte_anywhere_in_its_files_is_found(ledger, client, model, tmp_path):
    """Also one of a statistic or of a time of writing, for which no line reads differently."""
    filled(ledger, 3)
    files = sorted(path for path in (ledger.table.folder / "ledger").rglob("*") if path.is_file())
    chance, reasons = random.Random(1), set()
    for _ in range(30):
        path = chance.choice(files)
        before = path.read_bytes()
        damaged = bytearray(before)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        found = Ledger(Log(tmp_path / "log", model, SCHEMA), Streams(client, model)).check()
        assert found.broken is not None, path
        reasons.add(found.why.split()[-1])
        path.write_bytes(before)
    assert len(reasons) > 2
    assert ledger.verify() is None


def test_a_changed_file_is_told_by_the_first_line_that_it_holds(ledger):
    """Though all of them read the same."""
    filled(ledger, 4)
    commit = sorted((ledger.table.folder / "ledger" / "_delta_log").glob("*.json"))[2]
    text = commit.read_text()
    commit.write_text(text.replace('"timestamp":1', '"timestamp":2'))
    found = ledger.check()
    assert (found.broken, [line.seq for line in found.lines]) == (2, [0, 1])
    assert found.why == f"{commit.name} is not as it was written, though every line reads the same"


def test_what_a_killed_writer_left_without_a_digest_is_no_damage(ledger, monkeypatch):
    """The next line brings it."""
    filled(ledger, 2)
    with monkeypatch.context() as patched:
        patched.setattr(seal, "seal", lambda folder: None)
        ledger.append("refused", 3, "killed", cause="a test")
    assert ledger.verify() is None
    sums = ledger.table.folder / seal.FILE
    before = len(sums.read_text().splitlines())
    ledger.append("refused", 4, "next", cause="a test")
    assert len(sums.read_text().splitlines()) == before + 4  # a commit and its file, twice
    assert ledger.verify() is None
