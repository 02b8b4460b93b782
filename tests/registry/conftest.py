"""A real MLflow on SQLite and a real ledger for one model, by a name of its own in each test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from onnx import TensorProto, helper, numpy_helper

from contracts.log import Log
from contracts.releases import Golden, Manifest, Release, sha256
from contracts.schema import Feature, Label, Schema
from contracts.streams import Streams
from registry.ledger import Ledger
from registry.promotion import Roles
from registry.versions import Registry
from tests.conftest import free_port

SCHEMA = Schema((Feature("x", "float"), Feature("kind", "category")), Label("binary", ("no", "yes")))
SLOTS = 3


def graph(seed: float) -> bytes:
    """ONNX bytes with a model's signature: constant scores that tell one seed from another."""
    constant = numpy_helper.from_array(np.array([[1 - seed, seed]]), "scores_of_all")
    inputs = [
        helper.make_tensor_value_info("numeric", TensorProto.DOUBLE, [None, 1]),
        helper.make_tensor_value_info("categorical", TensorProto.STRING, [None, 1]),
    ]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.DOUBLE, [None, 2])]
    nodes = [
        helper.make_node("ReduceSum", ["numeric", "columns"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "none"], ["zero"]),
        helper.make_node("Add", ["zero", "scores_of_all"], ["scores"]),
    ]
    columns = numpy_helper.from_array(np.array([1]), "columns")
    weights = [constant, columns, numpy_helper.from_array(np.array([[0.0]]), "none")]
    made = helper.make_model(
        helper.make_graph(nodes, "constant", inputs, outputs, weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    return bytes(made.SerializeToString())


def release(model: str, version: int, kind: str = "batch", revision: int = 0) -> Release:
    onnx = graph(1 / (2 + version))
    manifest = Manifest(
        model=model,
        version=version,
        kind=kind,  # type: ignore[arg-type]
        learner="constant",
        revision=revision,
        schema=SCHEMA.fingerprint,
        onnx_sha256=sha256(onnx),
        created_at=1_763_800_000.0,
        golden=Golden(((0.5, "a"),), ((1 - 1 / (2 + version), 1 / (2 + version)),)),
    )
    return Release(manifest, onnx)


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrating a fresh store takes seconds, so tests share one, each under a model name of its own."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    return "m" + "".join(c for c in request.node.nodeid.lower() if c.isalnum())[-50:]


@pytest.fixture
def registry(mlflow_folder: Path, model: str) -> Iterator[Registry]:
    """MLflow on SQLite keeps artifacts below the current folder."""
    before = Path.cwd()
    os.chdir(mlflow_folder)
    yield Registry(f"sqlite:///{mlflow_folder / 'store.db'}", model)
    os.chdir(before)


@pytest.fixture
def ledger(client: redis.Redis, tmp_path: Path, model: str) -> Ledger:
    return Ledger(Log(tmp_path / "log", model, SCHEMA), Streams(client, model))


@pytest.fixture
def roles(registry: Registry, ledger: Ledger) -> Roles:
    return Roles(registry, ledger, SLOTS)


@pytest.fixture
def registered(registry: Registry, model: str) -> Callable[[int], Release]:
    """Registers versions 1 to n, and gives back the release of one."""
    made: list[int] = []

    def upto(version: int) -> Release:
        while len(made) < version:
            fresh = release(model, len(made) + 1)
            made.append(registry.register(fresh.onnx, fresh.manifest))
        return registry.load_release(version)

    return upto


@pytest.fixture
def away(model, ledger, monkeypatch) -> Roles:
    """The same model where MLflow does not answer."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return Roles(Registry(f"http://127.0.0.1:{free_port()}", model), ledger, SLOTS)


@pytest.fixture
def opened(roles, registered, model):
    """A champion (1) that came by bootstrap over the prior, and a challenger (2)."""
    roles.open_with_prior(release(model, 0, kind="prior"), "bootstrap")
    for version in (1, 2):
        roles.enrol(registered(version), "retrained", cause="retrain")
    roles.bootstrap(1, "200 labels learned", cause="learn")
    return roles
