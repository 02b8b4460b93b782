"""`tiltyard history`, `live-at` and `verify-ledger`, over ledgers that are whole and ledgers that are not."""

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

from contracts import config, streams
from contracts.log import Log
from contracts.releases import Board
from contracts.streams import Streams
from registry.ledger import Ledger
from tests.conftest import free_port
from tests.tiltyard.commands import done, refused, tiltyard

CONFIG = """
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float"}
[models.m.learners]
linear = {algorithm = "linear"}
"""
TEN = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Path:
    """Local time is two hours ahead of UTC."""
    (tmp_path / "tiltyard.toml").write_text(CONFIG)
    monkeypatch.setenv("TILTYARD_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TILTYARD_REDIS_URL", redis_url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    return tmp_path


@pytest.fixture(autouse=True)
def _zone_again(monkeypatch: pytest.MonkeyPatch) -> None:
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def ledger(home: Path, redis_url: str) -> Ledger:
    """From ten o'clock on, hourly: the prior, a challenger, its bootstrap, a refusal and a promotion."""
    model = config.parse(CONFIG).model("m")
    made = Ledger(Log(home / "state" / "log", "m", model.schema), Streams(streams.connect(redis_url), "m"))
    lines = [
        ("prior", 0, "Nothing has earned to answer yet.", Board(0), {}),
        ("enrolled", 1, "linear joins.", Board(0, (1,)), {"learner": "linear"}),
        ("bootstrap", 1, "It is the first.", Board(1), {}),
        ("refused", None, "Cannot fit.", None, {}),
        ("promoted", 2, "Fewer mistakes.", Board(2, (1,), 1), {"learner": "boosting"}),
    ]
    for hour, (kind, version, reason, board, numbers) in enumerate(lines):
        told = numbers | ({"board": board} if board else {})
        at = (TEN + timedelta(hours=hour)).timestamp()
        made.append(kind, version, reason, cause="gate", numbers=told, now=at)
    return made


def rewrite(ledger: Ledger, change) -> None:
    """Writes the table anew after `change` has had its way with the rows."""
    rows = change(ledger.table.rows("ledger").to_pylist())
    schema = pa.schema([("offset", pa.int64()), ("hash", pa.string()), ("line", pa.string())])
    path = str(ledger.table.folder / "ledger")
    deltalake.write_deltalake(path, pa.Table.from_pylist(rows, schema), mode="overwrite")


def test_who_was_live_is_told_with_since_when_and_why(ledger: Ledger) -> None:
    """The version, its learner, the line by which it came to answer, its kind, its cause and its reason."""
    assert done("live-at", "2026-01-05T13:30Z") == (
        "m at 2026-01-05 15:30:00+02:00: version 1, linear, answered, since 2026-01-05 14:00:00+02:00 by line 2: "
        "bootstrap (gate). It is the first.\n"
    )
    assert "version 2, boosting, answered" in done("live-at", "2026-01-05T14:00:00Z", "--model", "m")
    assert "the prior (version 0) answered" in done("live-at", "2026-01-05T11:59:59Z")
    assert done("live-at", "2026-01-05T09:59:59Z").endswith("nobody answered yet.\n")
    told = json.loads(done("live-at", "2026-01-05T13:30Z", "--json"))["models"]["m"]
    assert (told["version"], told["learner"], told["line"]["seq"]) == (1, "linear", 2)
    assert told["since"] == (TEN + timedelta(hours=2)).timestamp()


def test_a_time_without_a_zone_is_local(ledger: Ledger) -> None:
    """12:30 two hours east of Greenwich is half past ten there; any other zone may be said."""
    assert "the prior (version 0) answered" in done("live-at", "2026-01-05T12:30")
    assert "nobody answered yet" in done("live-at", "2026-01-05T11:30")
    elsewhere = (TEN + timedelta(hours=4)).astimezone(timezone(-timedelta(hours=8))).isoformat()
    assert "version 2" in done("live-at", elsewhere)


def test_what_is_no_time_is_refused_with_the_way_to_write_it(ledger: Ledger) -> None:
    """Also a time to come, and an unknown model."""
    assert '"yesterday" is no time: write it as 2026-11-01T12:00' in refused("live-at", "yesterday")
    assert "is no time" in refused("live-at", "0001-01-01")
    assert "is still to come" in refused("live-at", "2999-01-01T00:00")
    assert 'no model "n"' in refused("live-at", "2026-01-05T12:30", "--model", "n")


def test_a_ledger_that_holds_is_said_to_with_its_head(ledger: Ledger, home: Path) -> None:
    """Status 0, the count and the hash of the last line; an empty one holds too."""
    head = ledger.read()[-1].hash
    assert done("verify-ledger") == f"m: 5 lines hold; head {head}\n"
    assert json.loads(done("verify-ledger", "--json")) == {"m": {"holds": True, "lines": 5, "head": head}}
    (home / "tiltyard.toml").write_text(CONFIG.replace("models.m", "models.n"))
    assert done("verify-ledger") == "n: 0 lines hold\n"


def _changed(rows):
    rows[3]["line"] = rows[3]["line"].replace("Cannot fit.", "Cannot sit.")
    return rows


@pytest.mark.parametrize(
    ("change", "seq"),
    [(_changed, 3), (lambda rows: [*rows[:2], *rows[3:]], 2), (lambda rows: rows[:-1], 4)],
    ids=["one byte", "a line missing", "the end cut off"],
)
def test_a_damaged_ledger_ends_in_status_1_and_the_first_bad_line(ledger: Ledger, change, seq: int) -> None:
    """One changed byte, a line that is missing, an end that was cut off; `history` shows what can still be trusted."""
    rewrite(ledger, change)
    for command in (("verify-ledger",), ("history",), ("live-at", "2026-01-05T14:30Z")):
        result = tiltyard(*command)
        assert result.exit_code == 1, result.output
        assert f"broken at line {seq} " in result.stdout
    told = json.loads(tiltyard("verify-ledger", "--json").stdout)["m"]
    assert (told["holds"], told["lines"], told["first_damaged"]) == (False, seq, seq)
    assert len(json.loads(tiltyard("history", "--json").stdout)["decisions"]) == seq


def test_an_end_cut_off_with_its_trace_is_given_away_by_the_page(ledger: Ledger, home: Path, monkeypatch) -> None:
    """The newest commit of the table removed: only the stream in Redis still has the line. Without Redis it holds."""
    newest = max((home / "state" / "log" / "m" / "ledger" / "_delta_log").glob("*.json"))
    newest.unlink()
    result = tiltyard("verify-ledger")
    assert result.exit_code == 1
    assert "broken at line 4 (the page's stream has lines up to 4)" in result.stdout
    monkeypatch.setenv("TILTYARD_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    assert done("verify-ledger").startswith("m: 4 lines hold")


def test_a_file_that_cannot_be_read_is_a_damaged_line(ledger: Ledger, home: Path) -> None:
    """Truncated or gone; the lines before it are still told."""
    files = {int(row["min.offset"]): row["path"] for row in _files(home)}
    path = home / "state" / "log" / "m" / "ledger" / files[3]
    path.write_bytes(path.read_bytes()[:-9])
    result = tiltyard("verify-ledger")
    assert result.exit_code == 1
    assert "broken at line 3 (its file cannot be read" in result.stdout
    path.unlink()
    assert "broken at line 3" in tiltyard("verify-ledger").stdout


def _files(home: Path) -> list[dict]:
    table = deltalake.DeltaTable(str(home / "state" / "log" / "m" / "ledger"))
    return pa.table(table.get_add_actions(flatten=True)).to_pylist()


def test_history_tells_every_line_and_can_be_narrowed(ledger: Ledger) -> None:
    """By kinds, by time and by number, for people and for programs; an unknown kind is answered with the known."""
    shown = done("history")
    assert "2026-01-05 16:00:00+02:00  m 4  promoted version 2 (gate): Fewer mistakes." in shown
    assert "5 lines; the chain of hashes holds" in shown
    assert "2 lines;" in done("history", "--kind", "promoted,refused")
    assert "1 lines;" in done("history", "--kind", "promoted,refused", "--since", "2026-01-05T15:30")
    told = json.loads(done("history", "--limit", "2", "--json"))
    assert told["chain_holds"]
    assert [line["kind"] for line in told["decisions"]] == ["refused", "promoted"]
    assert "there is no promotet; there are prior," in refused("history", "--kind", "promotet")
    assert "is no time" in refused("history", "--since", "monday")
