"""A real history, and the gate's decisions in it: reached again from the log, and recomputed without our code."""

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path

import deltalake
import msgspec
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from contracts import events, streams
from contracts.events import Decision
from contracts.log import Log
from registry import dossier_words
from registry.reproduce import can_be, reproduce
from registry.retelling import Retelling, Turn
from tests.flows.gate_scene import CONFIG, Scene, place_of
from tests.flows.story import SOON, Story, played
from tiltyard import what_if
from tiltyard.cli import main
from tiltyard.past import Past
from tiltyard.why import told_about

RECOMPUTE = Path(__file__).parent / "recompute.py"
RULES = {
    "mistakes": "",
    "probabilities": 'loss = "brier"\nguardrails = {log = 0.1}\n',
    "costs": 'loss = "cost"\ncosts = [[0, 1], [3, 0]]\ncorrection_lag = "30s"\nmin_coverage = 0\n'
    'unit = "entity"\nunit_window = "60s"\nsegments = ["kind"]\n',
    "ranks": 'loss = "auc"\n',
    "votes": 'correction_lag = "1m"\n[models.told-votes.labels]\ncombine = "majority"\non_timeout = "negative"\n',
}
RECOMPUTED = ["mistakes", "probabilities", "costs"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of MLflow: migrating a fresh one takes seconds."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module", params=RULES)
def story(
    request: pytest.FixtureRequest, valkey_port: int, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    """MLflow on SQLite keeps artifacts below the current folder; nobody serves, so nobody is waited for."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch, streams.connect(f"redis://127.0.0.1:{valkey_port}/0") as client:
        client.flushall()
        patch.chdir(store)
        patch.setattr("flows.handover.SERVED_WITHIN_S", 0.0)
        scene = Scene(place_of(f"told-{request.param}", folder, store, client)).open()
        yield played(scene.ruled(SOON + RULES[request.param]))


def decided(story: Story) -> list[Decision]:
    return [line for line in story.scene.lines() if line.cause == "gate" and line.kind != "policy"]


def test_the_log_gives_every_decision_of_the_ledger_again(story: Story) -> None:
    """Decision, sentence, counts, evidence and bounds: all of them equal, to the last bit."""
    place, lines = story.scene.place, decided(story)
    assert {"verdict", "promoted", "rolled_back", "retired"} <= {line.kind for line in lines}
    found = list(reproduce(place.log.folder, place.model, place.roles.ledger.read()))
    assert [one.line for one in found] == [line for line in lines if can_be(line)]
    for one in found:
        assert one.differs == {}, one.doubts


@pytest.mark.parametrize("story", ["mistakes"], indirect=True)
def test_what_the_log_has_lost_is_told_as_the_reason(story: Story, tmp_path: Path) -> None:
    """As after an erasure: the figures differ, and the line that erased is named."""
    place, lines = story.scene.place, list(story.scene.lines())
    shutil.copytree(place.log.folder, tmp_path / place.name)
    log = Log(tmp_path, place.name, place.schema)
    assert log.erase(log.offsets()[:300:2].tolist()).predictions == 150
    erased = Decision(len(lines), story.now, place.name, "erased", None, "", "ann", {}, "", "", "")
    differing = [one for one in reproduce(log.folder, place.model, [*lines, erased]) if one.differs]
    assert differing
    for one in differing:
        assert f"line {erased.seq} erased predictions" in " ".join(one.doubts)


def recomputed(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", str(RECOMPUTE), str(folder), "no,yes"], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("story", RECOMPUTED, indirect=True)
def test_a_script_of_its_own_finds_the_same_figures(story: Story) -> None:
    """It imports nothing of ours, and agrees to nine digits; it knows no rankings, and the newest label only."""
    done = recomputed(story.scene.place.log.folder)
    n = sum(map(can_be, decided(story)))
    assert (done.stdout, done.returncode) == (f"{n} of {n} decisions have the figures that the log gives\n", 0), done


@pytest.mark.parametrize("story", ["mistakes"], indirect=True)
@pytest.mark.parametrize(("name", "by"), [("wins", 1), ("upper", -1e-6)])
def test_the_script_finds_a_number_that_was_changed(story: Story, tmp_path: Path, name: str, by: float) -> None:
    """By one win, or in the sixth digit; the line, the old and the right figure are told."""
    folder = tmp_path / "log"
    shutil.copytree(story.scene.place.log.folder, folder)
    rows = deltalake.DeltaTable(str(folder / "ledger")).to_pyarrow_table().sort_by("offset").to_pylist()
    row = next(row for row in rows if json.loads(row["line"])["kind"] == "promoted")
    line = json.loads(row["line"])
    line["numbers"][name] += by
    row["line"] = json.dumps(line)
    deltalake.write_deltalake(str(folder / "ledger"), pa.Table.from_pylist(rows), mode="overwrite")
    done = recomputed(folder)
    assert done.returncode == 1, done
    assert f"line {line['seq']}: promoted version 2: {name} is" in done.stdout
    assert f"not {line['numbers'][name]}" in done.stdout


def told_at(line: Decision) -> float:
    """By the story's time, which is ahead of the clock that dates the ledger."""
    return events.seconds_at(line.numbers["labels"]) if can_be(line) else line.at


def retold(story: Story, rules: str, every_s: float = 10.0) -> list[Turn]:
    """From the first moment on; the ledger's lines at the times that the story gives them."""
    place = story.scene.ruled(rules).place
    lines = place.roles.ledger.read()
    times = itertools.accumulate(map(told_at, lines), max)  # lines without a story's time come with those before them
    lines = [msgspec.structs.replace(line, at=at) for line, at in zip(lines, times, strict=True)]
    telling = Retelling(place.log.folder, place.model, place.model.gate, lines, story.began_s - 60)
    return list(telling.until(story.now + 60, every_s))


@pytest.mark.parametrize("story", ["mistakes"], indirect=True)
def test_the_rules_that_there_were_lead_to_the_same_champions(story: Story) -> None:
    """Looking at other moments: the same moves in the same order, at most a few looks apart."""
    moves = ("promoted", "rolled_back", "retired")
    turns = [turn for turn in retold(story, SOON) if turn.kind in moves]
    real = [line for line in decided(story) if line.kind in moves]
    assert {(turn.kind, turn.version) for turn in turns} == {(line.kind, line.version) for line in real}
    for turn in turns:
        (line,) = [line for line in real if (line.kind, line.version) == (turn.kind, turn.version)]
        assert abs(told_at(line) - turn.at) <= 40


@pytest.mark.parametrize("story", ["mistakes"], indirect=True)
def test_other_rules_lead_elsewhere(story: Story) -> None:
    """A gate that wants more stays with its champion, to which the others are then compared all the time."""
    strict = retold(story, SOON + "margin = 0.3\nmin_gain = 0.31\n")
    assert "promoted" not in {turn.kind for turn in strict}
    assert {turn.champion for turn in strict} == {1}
    assert ("retired", 2) in {(turn.kind, turn.version) for turn in strict}
    hasty = retold(story, SOON + "alpha = 0.5\nslots = 1\n")
    first = next(turn for turn in hasty if turn.kind == "promoted")
    (real,) = [line for line in decided(story) if line.kind == "promoted"]
    assert first.version == 2
    assert first.at < told_at(real)


@pytest.fixture
def tiltyard(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line beside a `tiltyard.toml` with the story's rules."""
    place = story.scene.place
    (tmp_path / "tiltyard.toml").write_text(CONFIG.format(name=place.name) + SOON)
    monkeypatch.setenv("TILTYARD_STATE", str(place.settings.state))
    monkeypatch.setenv("TILTYARD_CONFIG", str(tmp_path / "tiltyard.toml"))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("story", ["mistakes"], indirect=True)
def test_the_command_replays_the_ledger_and_tells_what_other_rules_would_have_decided(
    story: Story, tiltyard: Callable[..., Result]
) -> None:
    """In words and for programs; without other rules it only replays."""
    n = sum(map(can_be, decided(story)))
    exact = (
        f"{story.scene.place.name}: {n} of {n} verdicts of the ledger come out of the log exactly as they stand there."
    )
    assert tiltyard("what-if").stdout.strip() == exact
    Path("strict.toml").write_text("margin = 0.3\nmin_gain = 0.31\n")
    told = tiltyard("what-if", "--policy", "strict.toml", "--every", "20s")
    assert told.exit_code == 0, told.output
    assert "Under strict.toml: margin 0.3 instead of 0.0; min_gain 0.31 instead of 0.005." in told.stdout
    would, did = told.stdout.split("What happened")
    assert "promoted version 2" in did
    assert "promoted" not in would
    assert "retired version 2, champion 1: At best" in would
    found = json.loads(tiltyard("what-if", "--policy", "strict.toml", "--every", "20s", "--json").stdout)
    assert found["changed"]["margin"] == [0.0, 0.3]
    assert all(one["exact"] for one in found["replayed"])
    assert {turn["champion"] for turn in found["would"]} == {1}
    assert {line["kind"] for line in found["did"]} >= {"promoted", "rolled_back"}


@pytest.mark.parametrize("story", ["mistakes"], indirect=True)
def test_rules_that_cannot_be_are_refused(tiltyard: Callable[..., Result]) -> None:
    """With the reason, in one line, and the file that it is about."""
    Path("wrong.toml").write_text("[gate]\nalfa = 0.1\n")
    refused = tiltyard("what-if", "--policy", "wrong.toml")
    assert refused.exit_code == 2
    assert 'wrong.toml: unknown key "models.' in refused.stderr
    assert 'did you mean "alpha"?' in refused.stderr
    Path("wrong.toml").write_text("min_gain = 0.001\nmargin = 0.1\n")
    assert "min_gain: must exceed margin" in tiltyard("what-if", "--policy", "wrong.toml").stderr
    assert "none.toml: No such file" in tiltyard("what-if", "--policy", "none.toml").stderr


@pytest.mark.parametrize("story", ["mistakes"], indirect=True)
def test_why_and_why_not_are_told_with_the_ledger_s_figures(story: Story, tiltyard: Callable[..., Result]) -> None:
    """Of one that was rolled back, one that was retired, and one that answers; the page says what the text says."""
    lines = story.scene.lines("rolled_back", "retired")
    for line in lines:
        told = tiltyard("why", str(line.version)).stdout
        assert line.reason in told
        if "n" in line.numbers:  # the watch on a champion counts on its own
            assert f"{line.numbers['n']:,} labelled requests" in told
        assert line.hash in told
    told = tiltyard("why", "2").stdout
    assert told.startswith("Version 2 (constant) was rolled back; version 1 (constant) answers again\n")
    assert tiltyard("why", "3", "--html", "three.html").exit_code == 0
    page, text = Path("three.html").read_text(), tiltyard("why", "3").stdout
    assert "<svg" in page
    for sentence in text.splitlines():
        words = escape(" ".join(sentence.split()))
        assert words in page or "  " in sentence.strip(), sentence
    assert tiltyard("why", "1").stdout == told
    assert "the ledger of told-mistakes knows no version 9; it knows 1, 2, 3" in tiltyard("why", "9").stderr


@pytest.mark.parametrize("story", ["mistakes"], indirect=True)
def test_why_not_yet_is_told_from_the_log_alone(story: Story) -> None:
    """Of a challenger that is still compared; the learn loop and Redis need not run."""
    place = story.scene.place
    lines = [line for line in place.roles.ledger.read() if line.kind in ("enrolled", "bootstrap", "policy")]
    settings = msgspec.structs.replace(place.settings, redis_url="redis://127.0.0.1:1/0")
    past = Past(place.name, settings, place.model, place.log.folder, lines, frozenset())
    told = told_about(past, 2)
    assert told.line is None
    assert told.verdict is not None
    assert told.verdict.n > 300
    assert dossier_words.headline(told) == "Version 2 (constant) has won against version 1 (constant)"
    assert "shown better, the promotion is rolled back" in dossier_words.text(told)


def test_progress_is_told_once_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing for two seconds; then where it is, on standard error, and not with every slice."""
    now = [0.0]
    monkeypatch.setattr("tiltyard.what_if.time.monotonic", lambda: now[0])
    fed = what_if._progress("replaying", 1_000.0, 2_000.0)
    fed(1_100.0)
    assert capsys.readouterr().err == ""
    for now[0] in (2.5, 3.0, 11.0, 13.0):
        fed(1_500.0)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("replaying: 50%, 1970-01-01")
    assert second == first
