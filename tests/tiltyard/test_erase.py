"""`tiltyard erase`: what it says, what it leaves, what it gives, with and without a learn run beside it."""

import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from contracts import config, entities, events, forgetting, settings, streams
from contracts.events import Prediction
from contracts.facts import LearnerFacts, ServingFacts
from contracts.lease import held
from flows.learn import run
from flows.place import Place, open_place
from tests.conftest import free_port
from tests.flows.test_erasing import QUESTIONS, TRACES, eager, fill, is_anns
from tests.flows.world import CONFIG, Learning
from tests.serving.harness import until
from tiltyard import erase as erase_command
from tiltyard import valkey
from tiltyard.cli import main

ANN = "ann@example.org"
TWO = CONFIG + CONFIG.replace("models.m", "models.n")
ANNS = sum(map(is_anns, range(QUESTIONS)))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Path:
    """Each test runs in a folder with a configuration of two models, and with no other variable of Tiltyard set."""
    for name in os.environ:
        if name.startswith("TILTYARD_"):
            monkeypatch.delenv(name)
    (tmp_path / "tiltyard.toml").write_text(TWO)
    monkeypatch.setenv("TILTYARD_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TILTYARD_REDIS_URL", redis_url)
    monkeypatch.setenv("TILTYARD_MLFLOW_URL", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def place_of(home: Path, name: str = "m") -> Place:
    chosen = settings.from_environment()
    return open_place(name, config.load(home / "tiltyard.toml").model(name), chosen)


def masked(place: Place) -> str:
    return entities.masked(entities.key(place.settings), place.name, ANN)


def erase(*options: str, entity: str = ANN, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, ["erase", "--entity", entity, *options], input=answer)


def receipts_of(result: Result) -> dict[str, Any]:
    return {one["model"]: one for one in json.loads(result.stdout)["receipts"]}


@contextmanager
def learning(place: Place) -> Iterator[Learning]:
    """A learn run and its learners in a thread, until the end of the block."""
    over = threading.Event()
    worker = eager(Learning(place))
    for trainer in worker.trainers.values():
        trainer.tell_every_s = 0.1

    def work() -> None:
        with held(place.client, place.name, "learn"), closing(worker):
            while not over.is_set():
                worker.step()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        until(lambda: place.client.exists(place.streams.key("lease:learn")))
        yield worker
    finally:
        over.set()
        thread.join()


@contextmanager
def learned(place: Place) -> Iterator[Learning]:
    """The same, once all is learned and logged."""
    with learning(place) as worker:
        until(lambda: all(trainer.state.at > 0 for trainer in worker.trainers.values()), timeout_s=60)
        until(lambda: place.log.offsets_of(masked(place)), timeout_s=60)
        yield worker


def filled(home: Path, name: str = "m") -> Place:
    place = place_of(home, name)
    fill(place, ann=masked(place))
    return place


def holding(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in files if any(one in path.read_bytes() for one in TRACES)]


def test_it_explains_itself() -> None:
    """What goes, what learners do, and what the exit status means."""
    result = CliRunner().invoke(main, ["erase", "--help"])
    assert result.exit_code == 0
    assert "exit status is 1" in " ".join(result.stdout.split())


def test_everything_goes_and_a_receipt_is_given(home: Path) -> None:
    """The receipt's counts are right, its hash stands in the ledger, and neither holds the entity's name."""
    place = filled(home)
    with learned(place):
        result = erase("--model", "m", "--yes", "--json")
    assert result.exit_code == 0, result.output
    receipt = receipts_of(result)["m"]
    assert (receipt["status"], receipt["predictions"], receipt["learned"]) == ("complete", ANNS, ANNS)
    assert receipt["logged_predictions"] == receipt["streams"]["predictions"] == receipt["streams"]["shadows"] == ANNS
    assert receipt["logged_labels"] == receipt["streams"]["feedback"] > ANNS
    assert receipt["learners"].keys() == {"linear", "tree"}
    assert all("without it" in told for told in receipt["learners"].values())
    assert receipt["redis"] == "Redis keeps no append-only file"
    assert holding(place.settings.state) == []
    (kept,) = (place.settings.state / "receipts").iterdir()
    content = kept.read_bytes()
    line = place.roles.ledger.read()[-1]
    assert line.kind == "erased"
    assert line.numbers["receipt_sha256"] == hashlib.sha256(content).hexdigest()
    assert masked(place) in content.decode()
    written = b"".join(path.read_bytes() for path in place.log.folder.rglob("*") if path.is_file())
    assert masked(place).encode() not in written + place.streams.facts().get("learn", b"")
    assert ANN.encode() not in content + written
    assert not [key for key in place.client.scan_iter() if masked(place).encode() in key]


def test_without_a_learn_run_it_says_what_waits_and_a_second_run_completes_it(home: Path) -> None:
    """The streams are clean at once; the rest is done when the learn run is up, also of what only the streams had."""
    place = filled(home)
    worker = eager(Learning(place))
    worker.drain()
    worker.close()
    first = erase("--model", "m", "--yes")
    assert first.exit_code == 1
    assert "the learn run is not up" in first.stdout
    assert forgetting.ids_of(place.streams, masked(place)) == []
    again = erase("--model", "m", "--yes", "--json")
    assert again.exit_code == 1
    assert len(forgetting.asked(place.streams)) == 1, "it asks once"
    with learning(place):
        second = erase("--model", "m", "--yes", "--json")
    receipt = receipts_of(second)["m"]
    assert (second.exit_code, receipt["status"], receipt["waits"]) == (0, "complete", [])
    assert (receipt["predictions"], receipt["learned"], receipt["streams"]["predictions"]) == (ANNS, ANNS, ANNS)
    assert holding(place.settings.state) == []
    (kept,) = (place.settings.state / "receipts").iterdir()
    assert "pending" not in kept.name


class Killed(Exception):
    """Stands for the end of the command."""


STAGES = [
    (erase_command.Erasure, "_ask"),
    (erase_command.Erasure, "_done_by_the_learn_run"),
    (forgetting, "settle"),
    (erase_command.Erasure, "_write_down"),
]


@pytest.mark.parametrize(("owner", "name"), STAGES, ids=[name for _, name in STAGES])
def test_a_command_that_dies_at_any_stage_is_run_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """It finds what was left open, and its receipt has the same counts."""
    place, real = filled(home), getattr(owner, name)

    def dies(*arguments: Any) -> None:
        real(*arguments)
        raise Killed

    with learned(place):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dies)
            assert isinstance(erase("--model", "m", "--yes").exception, Killed)
        result = erase("--model", "m", "--yes", "--json")
        again = erase("--model", "m", "--yes")
    receipt = receipts_of(result)["m"]
    assert (receipt["status"], receipt["predictions"], receipt["learned"]) == ("complete", ANNS, ANNS)
    assert holding(place.settings.state) == []
    assert place.roles.ledger.read()[-1].numbers["receipt_sha256"] in _hashes(place)
    assert again.stdout == "m: nothing is kept about it.\n"


def _hashes(place: Place) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in (place.settings.state / "receipts").iterdir()]


def test_a_second_erasure_finds_nothing(home: Path) -> None:
    """No receipt and no ledger line is written for it."""
    place = filled(home)
    with learned(place):
        assert erase("--model", "m", "--yes").exit_code == 0
        lines = len(place.roles.ledger.read())
        again = erase("--model", "m", "--yes")
    assert again.exit_code == 0
    assert again.stdout == "m: nothing is kept about it.\n"
    assert len(place.roles.ledger.read()) == lines
    assert len(list((place.settings.state / "receipts").iterdir())) == 1


def test_all_models_are_meant_where_none_is_named(home: Path) -> None:
    """Each gives a receipt of its own; its hash of the entity is another one."""
    one, other = filled(home), filled(home, "n")
    with learned(one), learned(other):
        result = erase("--yes", "--json")
    given = receipts_of(result)
    assert result.exit_code == 0
    assert {name: receipt["predictions"] for name, receipt in given.items()} == {"m": ANNS, "n": ANNS}
    assert given["m"]["entity"] != given["n"]["entity"]
    assert holding(one.settings.state) == []


def test_an_entity_that_nobody_knows_is_told_so(home: Path) -> None:
    """Nothing is asked, written or kept."""
    place = filled(home)
    result = erase(entity="nobody")
    assert (result.exit_code, result.stdout) == (0, "m: nothing is kept about it.\n\nn: nothing is kept about it.\n")
    assert not (place.settings.state / "receipts").exists()
    assert place.streams.length("predictions") == QUESTIONS


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--entity", ""], "--entity is empty"), (["--entity", ANN, "--model", "mm"], 'there is no model "mm"')],
)
def test_what_is_wrong_is_said_in_a_line(home: Path, options: list[str], told: str) -> None:
    """Status 2, nothing done."""
    result = CliRunner().invoke(main, ["erase", *options, "--yes"])
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_it_asks_before_it_erases(home: Path) -> None:
    """With how much there is; whoever says no has changed nothing."""
    place = filled(home)
    result = erase(answer="n\n")
    assert result.exit_code == 1
    assert f"Erases {ANNS} predictions of m for good" in result.stderr
    assert place.streams.length("predictions") == QUESTIONS
    assert forgetting.asked(place.streams) == {}


def test_another_key_than_that_of_serving_is_refused(home: Path) -> None:
    """Under it nothing would be found, and a receipt would lie."""
    place = filled(home)
    facts = ServingFacts(
        at=time.time(), address="a", pid=1, version=0, revision=0, provider="cpu", entity_key="00000000"
    )
    place.streams.set_fact("serving:a", facts)
    result = erase("--yes")
    assert result.exit_code == 2
    assert "TILTYARD_ENTITY_KEY" in result.stderr
    assert place.streams.length("predictions") == QUESTIONS


def test_what_is_not_reached_is_named(home: Path) -> None:
    """A frozen learner's public revision, left checkpoints, reports, questions asked meanwhile."""
    place = filled(home)
    (place.settings.checkpoint_folder / "m" / "learners" / "old").mkdir(parents=True)
    (place.settings.report_folder / "m").mkdir(parents=True)
    (place.settings.report_folder / "m" / "1.html").write_text("<html>")
    with learned(place) as worker:
        trainer = worker.trainers["linear"]
        trainer.state.version = 2
        until(lambda: place.releases.manifest(2))
        place.streams.set_publishing("linear", "frozen")
        until(lambda: place.streams.fact("learner:linear", LearnerFacts).frozen)  # type: ignore[union-attr]  # is there
        result = erase("--model", "m", "--yes", "--json")
    remains = " ".join(receipts_of(result)["m"]["remains"])
    assert "of linear" in remains
    assert "it is frozen" in remains
    assert "configured no more: old" in remains
    assert "Drift reports" in remains
    assert "Copies that others keep" in remains


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """A server as `tiltyard up` starts it, with its file in the state folder."""
    folder, port = tmp_path / "state" / "valkey", free_port()
    folder.mkdir(parents=True)
    with (tmp_path / "valkey.log").open("wb") as log:
        process = subprocess.Popen(valkey.command(folder, port), stdout=log, stderr=log)
    monkeypatch.setenv("TILTYARD_REDIS_URL", f"redis://127.0.0.1:{port}/0")
    client = streams.connect(f"redis://127.0.0.1:{port}/0")
    try:
        until(lambda: _answers(client))
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(10)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def test_with_real_processes_no_file_of_the_state_folder_holds_it(
    home: Path, embedded: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The learn run, its learners in processes of their own, and Redis's own file; questions go on meanwhile."""
    monkeypatch.setenv("TILTYARD_CONFIG", str(home / "tiltyard.toml"))
    place, over = filled(home), threading.Event()
    learn = threading.Thread(target=run, args=(place, _heard, lambda: not over.is_set()))
    learn.start()
    try:
        until(lambda: _learned(place) == 2 * QUESTIONS, timeout_s=120)
        until(lambda: place.log.offsets_of(masked(place)), timeout_s=60)
        parts = {Path(name).parts[0] for name in holding(place.settings.state)}
        assert parts >= {"valkey", "log", "journal"}
        result = erase("--model", "m", "--yes", "--json")
        bob = Prediction(1, 0, (0.4, 0.6), (0.5, "a"), place.schema.fingerprint, "b" * 32)
        assert events.entry_id(place.streams.append(bob))
    finally:
        over.set()
        learn.join()
    assert result.exit_code == 0, result.output
    receipt = receipts_of(result)["m"]
    assert receipt["status"] == "complete"
    assert receipt["redis"] == "the append-only file was rewritten"
    assert holding(place.settings.state) == []
    assert _learned(place) == 2 * (QUESTIONS - ANNS)


def _heard(decisions: object) -> None:
    """Nobody decides here."""


def _learned(place: Place) -> int:
    return sum(one.learned for one in place.streams.facts_of("learner", LearnerFacts).values())
