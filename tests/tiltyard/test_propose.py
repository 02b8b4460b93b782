"""`tiltyard propose`: versions that other tools registered in a real MLflow."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import mlflow.onnx
import numpy as np
import onnx
import pytest
import redis
from click.testing import CliRunner
from onnx import numpy_helper

from contracts import config, settings
from contracts.releases import Board
from flows.bootstrap import open_with_prior
from flows.place import Place, open_place
from serving.model import Served
from tests.registry.conftest import graph, release
from tests.tiltyard.commands import done, refused
from tiltyard.cli import main

CONFIG = """
[models.{name}]
label = {{task = "binary", classes = ["no", "yes"]}}
features = {{x = "float", kind = "category"}}
[models.{name}.learners]
linear = {{algorithm = "linear"}}
[models.{name}.gate]
slots = 2
"""


@pytest.fixture(scope="module")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrating a fresh store takes seconds, so tests share one, each under a model name of its own."""
    return tmp_path_factory.mktemp("mlflow")


@dataclass
class World:
    """An instance in which the prior answers, and its MLflow."""

    place: Place

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.place.settings.mlflow_url, self.place.settings.mlflow_url)

    def logged(self, onnx_bytes: bytes, **tags: str) -> int:
        """A version as `mlflow.onnx.log_model` makes it."""
        mlflow.set_tracking_uri(self.place.settings.mlflow_url)
        try:
            with mlflow.start_run():
                mlflow.onnx.log_model(
                    onnx.load_from_string(onnx_bytes), name="model", registered_model_name=self.place.name,
                    pip_requirements=["onnxruntime"],
                )  # fmt: skip
        finally:
            mlflow.set_tracking_uri(None)
        version = max(int(one.version) for one in self.client.search_model_versions(f"name='{self.place.name}'"))
        for name, value in tags.items():
            self.client.set_model_version_tag(self.place.name, str(version), f"tiltyard.{name}", value)
        return version

    def plain(self, onnx_bytes: bytes, folder: Path) -> int:
        """A version that is a plain file in a run's artifacts."""
        (folder / "churn.onnx").write_bytes(onnx_bytes)
        run = self.client.create_run("0").info.run_id
        self.client.log_artifact(run, str(folder / "churn.onnx"), "plain")
        self.place.registry.tag(None, "owner", "ann")  # makes the registered model
        made = self.client.create_model_version(self.place.name, f"runs:/{run}/plain/churn.onnx", run)
        return int(made.version)

    def kinds(self) -> list[tuple[str, int | None]]:
        return [(line.kind, line.version) for line in self.place.roles.ledger.read()]


@pytest.fixture
def world(
    request: pytest.FixtureRequest,
    mlflow_folder: Path,
    tmp_path: Path,
    redis_url: str,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """MLflow on SQLite keeps artifacts below the current folder."""
    name = "m" + "".join(c for c in request.node.nodeid.lower() if c.isalnum())[-50:]
    (tmp_path / "tiltyard.toml").write_text(CONFIG.format(name=name))
    for variable, value in (
        ("STATE", str(tmp_path / "state")),
        ("CONFIG", str(tmp_path / "tiltyard.toml")),
        ("REDIS_URL", redis_url),
        ("MLFLOW_URL", f"sqlite:///{mlflow_folder}/store.db"),
    ):
        monkeypatch.setenv(f"TILTYARD_{variable}", value)
    monkeypatch.chdir(mlflow_folder)
    chosen = settings.from_environment()
    place = open_place(name, config.load(chosen.config).model(name), chosen, client)
    place.registry.prepare()
    open_with_prior(place)
    return World(place)


def test_a_version_logged_by_another_tool_becomes_a_challenger(world: World) -> None:
    """As `mlflow.onnx.log_model` leaves it, with large tensors beside it: served as it is, and restored from MLflow."""
    model = onnx.load_from_string(graph(0.3))
    model.graph.initializer.append(numpy_helper.from_array(np.arange(5_000, dtype=np.float64), "large"))
    version = world.logged(model.SerializeToString(), classes='["no", "yes"]')
    assert f"Version {version} of {world.place.name} shadows the champion" in done(
        "propose", "1", "--reason", "boosted"
    )
    board = world.place.releases.board()
    assert (board.champion, board.challengers) == (0, (1,))
    line = world.place.roles.ledger.read()[-1]
    assert (line.kind, line.version, line.numbers["learner"]) == ("enrolled", 1, "proposed-1")
    assert line.reason == f"{line.cause} proposes version 1. boosted"
    assert world.place.registry.aliases() == {"challenger-1": 1}
    world.place.client.flushall()
    world.place.roles.reconcile("test")
    found = world.place.releases.fetch(1)
    assert found is not None
    assert len(found.manifest.golden.rows) >= 16
    assert Served(found, world.place.schema).score([(0.5, "a")]) == [pytest.approx((0.7, 0.3))]


def test_a_plain_file_becomes_a_challenger_once(world: World, tmp_path: Path) -> None:
    """Proposed again, nothing is decided anew; the gate can then compare it as any other."""
    version = world.plain(graph(0.4), tmp_path)
    first = done("propose", str(version))
    before, runs = world.kinds(), len(world.client.search_runs(["0"]))
    assert done("propose", str(version)) == first
    assert world.kinds() == before == [("prior", 0), ("enrolled", 1)]
    assert len(world.client.search_runs(["0"])) == runs


def test_the_first_champion_may_be_proposed(world: World) -> None:
    """Only where the prior answers; a second one is told to let evidence decide."""
    world.logged(graph(0.3))
    world.logged(graph(0.4))
    assert "version 1 of" in done("propose", "1", "--first", "--reason", "it served before").lower()
    assert world.place.releases.board().champion == 1
    assert world.place.registry.champion() == 1
    done("propose", "1", "--first")
    assert "version 1 of" in refused("propose", "2", "--first")
    assert "answers already" in refused("propose", "1")
    assert world.kinds() == [("prior", 0), ("bootstrap", 1)]
    assert "shadows the champion" in done("propose", "2")


def test_what_does_not_fit_is_refused_with_what_differs_and_entered_once(world: World) -> None:
    """Another order of classes, scores that are no probabilities, no graph at all; nothing is enrolled."""
    world.logged(graph(0.3), classes='["yes", "no"]')
    for _ in range(2):
        assert "this model's are no, yes: the same in another order" in refused("propose", "1")
    world.logged(graph(3.0))
    assert "no probabilities, which add up to 1" not in refused("propose", "9")
    assert "are -2, 3: no probabilities" in refused("propose", "2")
    assert world.kinds() == [("prior", 0), ("refused", 1), ("refused", 2)]
    line = world.place.roles.ledger.read()[1]
    assert line.reason.startswith("Not enrolled: version 1 does not fit: its columns are the classes yes, no")
    assert world.place.releases.board().challengers == ()
    assert not world.place.registry.is_adopted(1)


def test_a_version_that_mlflow_does_not_have_is_said_to_be(world: World) -> None:
    """And one that was deleted."""
    world.logged(graph(0.3))
    world.client.delete_model_version(world.place.name, "1")
    assert "MLflow does not know it" in refused("propose", "1")
    assert "MLflow does not know it" in refused("propose", "7")


def test_beyond_the_slots_a_proposal_waits_or_opens_a_budget(world: World) -> None:
    """Which the ledger says; enrolments by the flows open one by themselves, as before."""
    for share in (0.3, 0.4, 0.45):
        world.logged(graph(share))
    done("propose", "1")
    done("propose", "2")
    assert "version 3 waits: 2 challengers have shared this tenure's alpha, and gate.slots is 2" in refused(
        "propose", "3"
    )
    assert world.place.releases.board().challengers == (1, 2)
    assert world.kinds()[-1] == ("refused", 3)
    done("propose", "3", "--new-budget")
    budget, enrolled = world.place.roles.ledger.read()[-2:]
    assert (budget.kind, budget.numbers) == ("budget", {"budget": 2, "slots": 2, "used": 2})
    assert (enrolled.kind, enrolled.version) == ("enrolled", 3)


def test_a_barred_version_is_not_proposed_again(world: World) -> None:
    """Rolled back is rolled back, as challenger and as first champion."""
    world.logged(graph(0.3))
    world.logged(graph(0.4))
    done("propose", "1", "--first")
    done("propose", "2")
    world.place.roles.promote(2, "better", cause="test")
    world.place.roles.roll_back(2, "worse", cause="test")
    for command in (("propose", "2"), ("propose", "2", "--first")):
        assert "version 2 was rolled back and is barred" in refused(*command)
    assert world.kinds()[-1] == ("refused", 2)


def test_a_version_that_tiltyard_made_may_be_proposed_again(world: World) -> None:
    """One that had retired, say; under another schema it is refused."""
    fresh = release(world.place.name, 1)
    world.place.registry.register(fresh.onnx, fresh.manifest)
    assert "shadows the champion" in done("propose", "1")
    world.place.roles.retire(1, "done", cause="test")
    assert "shadows the champion" in done("propose", "1")
    config_path = world.place.settings.config
    config_path.write_text(config_path.read_text().replace('kind = "category"', 'sort = "category"'))
    world.place.roles.retire(1, "done", cause="test")
    assert "built for schema" in refused("propose", "1")


def test_a_hand_made_version_is_made_ready_anew_for_a_changed_schema(world: World) -> None:
    """Its graph still fits, though the model's features were renamed."""
    world.logged(graph(0.3))
    done("propose", "1")
    world.place.roles.retire(1, "done", cause="test")
    config_path = world.place.settings.config
    config_path.write_text(config_path.read_text().replace('kind = "category"', 'sort = "category"'))
    assert "shadows the champion" in done("propose", "1")
    changed = config.load(config_path).model(world.place.name).schema
    found = world.place.releases.manifest(1)
    assert found is not None
    assert found.schema == changed.fingerprint


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["adopt", "tags", "_write", "_finish"])
def test_a_proposal_killed_anywhere_is_finished_by_a_second_one(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before it is kept in MLflow, before and after its ledger line: afterwards all agree, and it joined once."""
    from registry.promotion import Roles
    from registry.versions import Registry

    def killed(*_: object, **__: object) -> None:
        raise Killed

    world.logged(graph(0.3))
    owner: Callable[..., object] = Registry if step in ("adopt", "tags") else Roles
    with monkeypatch.context() as patched:
        patched.setattr(owner, step, killed)
        with pytest.raises(Killed):
            CliRunner().invoke(main, ["propose", "1"], catch_exceptions=False)
    done("propose", "1")
    assert world.kinds() == [("prior", 0), ("enrolled", 1)]
    assert world.place.releases.board() == Board(0, (1,), None, world.place.releases.board().since)
    assert world.place.registry.aliases() == {"challenger-1": 1}
    assert json.loads(done("verify-ledger", "--json"))[world.place.name]["holds"]
