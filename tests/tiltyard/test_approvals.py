"""`tiltyard status`, `approve` and `refuse`, where a person is to say who answers."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.flows.conftest import mlflow_folder, scene  # noqa: F401  # fixtures
from tests.flows.gate_scene import CONFIG, Scene
from tests.tiltyard.test_propose import done, refused
from tiltyard.cli import main
from tiltyard.person import person

PERSON = 'approval = "person"\n'


@pytest.fixture
def asking(scene: Scene, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:  # noqa: F811
    """Version 2 has won and asks; the command line finds the instance."""
    (tmp_path / "tiltyard.toml").write_text(CONFIG.format(name=scene.place.name) + PERSON)
    for variable, value in (
        ("STATE", str(scene.place.settings.state)),
        ("CONFIG", str(tmp_path / "tiltyard.toml")),
        ("MLFLOW_URL", scene.place.settings.mlflow_url),
        ("REDIS_URL", redis_url),
    ):
        monkeypatch.setenv(f"TILTYARD_{variable}", value)
    asking = scene.ruled(PERSON)
    asking.look(v2=(90, 20))
    return asking


def requests(name: str) -> list[str]:
    return json.loads(done("status", "--json"))["models"][name]["requests"]


def test_status_shows_who_asks_with_the_commands_until_it_is_answered(asking: Scene) -> None:
    """For programs and for people; approved, it answers, in the name of whoever ran it."""
    name = asking.place.name
    (told,) = requests(name)
    assert told.startswith("Version 2 asks to answer instead of 1: 7.0 points fewer mistakes")
    assert f"`tiltyard approve 2 --model {name}` lets it" in told
    shown = " ".join(CliRunner(env={"COLUMNS": "500"}).invoke(main, ["status"]).stdout.split())
    assert "! Version 2 asks to answer instead of 1" in shown
    assert "Version 2 answers instead of 1" in done("approve", "2", "--reason", "checked")
    assert requests(name) == []
    approved, promoted = asking.lines("approved", "promoted")
    assert approved.cause == promoted.cause == person()
    assert approved.reason.endswith("instead of 1. checked")
    assert "answers already" in done("approve", "2")


def test_a_refusal_needs_a_reason_and_holds(asking: Scene) -> None:
    """It then asks no more; what does not ask is said not to."""
    assert "--reason is empty" in refused("refuse", "2", "--reason", " ")
    assert "version 3 does not ask for approval; `tiltyard status` shows what does" in refused(
        "refuse", "3", "--reason", "no"
    )
    assert "Version 2 is refused as long as 1 answers" in done("refuse", "2", "--reason", "not before Christmas")
    assert requests(asking.place.name) == []
    asking.look()
    assert requests(asking.place.name) == []
    assert 'version 2 cannot be approved, its verdict is "ready"' in refused("approve", "2")
    assert [line.kind for line in asking.lines("asked", "declined", "approved")] == ["asked", "declined"]


def test_status_says_that_a_version_was_deleted_from_mlflow(asking: Scene) -> None:
    """Serving goes on, and whoever looks is told."""
    asking.place.registry._mlflow.delete_model_version(asking.place.name, "1")
    asking.place.roles.reconcile("gate")
    told = json.loads(done("status", "--json"))["models"][asking.place.name]
    assert told["champion"] == 1
    assert told["warnings"][0].startswith("Version 1 was deleted from MLflow while it answers.")
