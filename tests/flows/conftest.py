"""A gate's scene for each test, over one MLflow store; and one in which a winner asks a person."""

from pathlib import Path

import pytest
import redis

from tests.flows.gate_scene import Scene, place_of

PERSON = 'approval = "person"\n'


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrating a fresh store takes seconds, so tests share one, each under a model name of its own."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    mlflow_folder: Path,
    tmp_path: Path,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    """MLflow on SQLite keeps artifacts below the current folder; nobody serves, so nobody is waited for."""
    monkeypatch.chdir(mlflow_folder)
    monkeypatch.setattr("flows.handover.SERVED_WITHIN_S", 0.0)
    name = "m" + "".join(c for c in request.node.nodeid.lower() if c.isalnum())[-50:]
    return Scene(place_of(name, tmp_path, mlflow_folder, client)).open()


@pytest.fixture
def asking(scene: Scene) -> Scene:
    """Version 2 has won, and a person is to say so."""
    asking = scene.ruled(PERSON)
    asking.look(v2=(90, 20))
    return asking
