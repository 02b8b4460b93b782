"""Versions in a real MLflow."""

import socket
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from contracts.releases import Board
from registry.versions import Registry, Unavailable, UnknownVersion
from tests.registry.conftest import release


def test_a_release_comes_back_byte_for_byte(registry, model):
    """The graph's bytes and the manifest, now with its version; the pickled estimator beside it."""
    fresh = release(model, 7)
    version = registry.register(
        fresh.onnx, fresh.manifest, params={"depth": 3}, metrics={"accuracy": 0.9}, estimator={"weights": [1, 2]}
    )
    found = registry.load_release(version)
    assert version == 1
    assert found.onnx == fresh.onnx
    assert found.manifest == msgspec.structs.replace(fresh.manifest, version=1)
    found.verify(fresh.manifest.schema)
    assert registry.load_estimator(version) == {"weights": [1, 2]}


def test_lineage_is_there_for_people_who_look_in_mlflow(registry, model):
    """Params, metrics and tags stand with the run, tags also with the version."""
    fresh = release(model, 1)
    tags = {"training_set": "predictions@12, labels@9", "code": "abc123", "seed": 4}
    metrics = {"loss": 0.25, "undefined": float("nan")}
    version = registry.register(fresh.onnx, fresh.manifest, params={"depth": 3}, metrics=metrics, tags=tags)
    assert registry.tags(version)["training_set"] == "predictions@12, labels@9"
    assert registry.tags(version)["seed"] == "4"
    assert registry.tags(version)["tiltyard.onnx_sha256"] == fresh.manifest.onnx_sha256
    run = registry._mlflow.get_run(registry._mlflow.get_model_version(model, str(version)).run_id)
    assert (run.data.params, run.data.metrics) == ({"depth": "3"}, {"loss": 0.25})
    assert run.info.status == "FINISHED"


def test_mlflow_itself_can_load_and_run_the_model(registry, model):
    """The run holds an ordinary MLflow model, with its signature."""
    import mlflow.pyfunc

    fresh = release(model, 1)
    registry.register(fresh.onnx, fresh.manifest)
    run = registry._mlflow.get_model_version(model, "1").run_id
    loaded = mlflow.pyfunc.load_model(registry._mlflow.download_artifacts(run, "model"))
    assert [column.name for column in loaded.metadata.signature.inputs] == ["numeric", "categorical"]
    asked = {"numeric": np.array([[2.0]]), "categorical": np.array([["a"]], dtype=object)}
    assert loaded.predict(asked)["scores"] == pytest.approx(np.array([[2 / 3, 1 / 3]]))


def test_registering_under_a_key_happens_once(registry, model):
    """A flow that was killed after registering finds its version."""
    fresh = release(model, 1)
    assert registry.register(fresh.onnx, fresh.manifest, key="it's run-7") == 1
    assert registry.register(fresh.onnx, fresh.manifest, key="it's run-7") == 1
    assert registry.register(fresh.onnx, fresh.manifest, key="run-8") == 2


def test_a_graph_that_is_not_the_manifests_is_refused(registry, model):
    """Before MLflow hears of it."""
    with pytest.raises(ValueError, match="sha256"):
        registry.register(release(model, 1).onnx, release(model, 2).manifest)
    assert registry.aliases() == {}


def test_aliases_follow_the_board_and_leave_others_alone(registry, registered):
    """Champion, previous and challengers, whatever they were before; a person's own alias stays."""
    registered(3)
    registry._mlflow.set_registered_model_alias(registry.model, "reviewed", "2")
    registry.set_roles(Board(champion=1, challengers=(2, 3)))
    assert registry.aliases() == {"champion": 1, "challenger-2": 2, "challenger-3": 3, "reviewed": 2}
    registry.set_roles(Board(champion=3, challengers=(1,), previous=1))
    assert registry.aliases() == {"champion": 3, "challenger-1": 1, "previous": 1, "reviewed": 2}
    registry.set_roles(Board(champion=0))
    assert registry.aliases() == {"reviewed": 2}
    registry.set_champion(2)
    assert registry.champion() == 2


def test_unknown_versions_are_named(registry, registered):
    """What is not in MLflow, or was not made by Tiltyard, says so."""
    registered(1)
    for attempt in (registry.load_release, registry.set_champion, registry.tags):
        with pytest.raises(UnknownVersion, match="version 9"):
            attempt(9)
    run = registry._mlflow.create_run(registry._experiment(registry._mlflow)).info.run_id
    registry._mlflow.log_text(run, "not ours", "model/MLmodel")
    registry._mlflow.create_model_version(registry.model, f"runs:/{run}/model", run)
    with pytest.raises(UnknownVersion, match="no ONNX graph with a manifest"):
        registry.load_release(2)


def test_an_mlflow_that_is_not_there_is_said_within_seconds(model):
    """The address is in the error, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="TILTYARD_MLFLOW_URL") as caught:
            Registry(address, model).check()
        assert not Registry(address, model).prepare()
    assert caught.value.address == address
    assert time.monotonic() - begun < 40


def test_pages_are_kept_with_a_version_in_place_of_those_before(registry, registered):
    """A drift report, say."""
    registered(1)
    registry.attach(1, "<p>all well</p>", "drift/2026-11-22.html")
    registry.attach(1, "<p>moved</p>", "drift/2026-11-22.html")
    run = registry._mlflow.get_model_version(registry.model, "1").run_id
    assert [item.path for item in registry._mlflow.list_artifacts(run, "drift")] == ["drift/2026-11-22.html"]
    kept = registry._mlflow.download_artifacts(run, "drift/2026-11-22.html")
    assert Path(kept).read_text() == "<p>moved</p>"
    with pytest.raises(UnknownVersion, match="version 7"):
        registry.attach(7, "", "drift/x.html")


def test_artifacts_that_cannot_be_written_are_said_to_be(registry, registered):
    """A page is not worth more than what it tells of: the caller goes on."""
    registered(1)
    run = registry._mlflow.get_model_version(registry.model, "1").run_id
    registry._mlflow.log_text(run, "a file where a folder should be", "drift")
    with pytest.raises(Unavailable, match="no artifact can be written"):
        registry.attach(1, "<p>", "drift/x.html")


def test_the_page_of_a_version_has_an_address_only_on_a_server():
    """A SQLite file has no pages."""
    assert Registry("http://mlflow:5000/", "m").page_url(3) == "http://mlflow:5000/#/models/m/versions/3"
    assert Registry("sqlite:///x.db", "m").page_url(3) is None
