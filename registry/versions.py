"""Versions and aliases in MLflow, for one model: the registered model of the same name.

Aliases: `champion` answers, `previous` is the retired champion under probation, `challenger-N` shadows as version N.
"""

import contextlib
import logging
import math
import os
import pickle
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from contracts.releases import Board, Manifest, Release, sha256

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

REQUIREMENTS = ["onnxruntime", "numpy"]  # named, since MLflow guesses them by importing the model anew: 11 s
_KEY = "tiltyard.key"
_ADOPTED = "tiltyard.release_run"
_CHALLENGER = "challenger-"
_NOT_OURS = "has no ONNX graph with a manifest; let Tiltyard make them with `tiltyard propose {version}`"


class Unavailable(Exception):
    """MLflow does not answer; nothing was changed by the call that raised this."""

    def __init__(self, address: str, reason: str):
        super().__init__(f"MLflow at {address} does not answer: {reason}. Start it, or set TILTYARD_MLFLOW_URL")
        self.address, self.reason = address, reason


class UnknownVersion(Exception):
    """MLflow has no such version, or not what Tiltyard needs of it."""

    def __init__(self, model: str, version: int | None, reason: str):
        super().__init__(f"version {version} of {model}: {reason}")
        self.model, self.version, self.reason = model, version, reason


class Registry:
    """One model in MLflow. Nothing is opened before the first call."""

    def __init__(self, address: str, model: str):
        self.address, self.model = address, model
        self._is_prepared = False

    @cached_property
    def _mlflow(self) -> "MlflowClient":
        # Read when mlflow is first imported or called; whoever set them otherwise keeps their choice.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # that is for what commands answer
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seven by default: minutes until Unavailable
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mlflow warns of its own type hints while it is imported
            import mlflow  # seconds and 170 MB: paid by those who call, not by those who import this module
            import mlflow.onnx
            import mlflow.pyfunc  # else loaded lazily, outside this block

        return mlflow.MlflowClient(self.address, self.address)

    @contextlib.contextmanager
    def _asking(self, version: int | None = None) -> Iterator["MlflowClient"]:
        client = self._mlflow
        from mlflow.exceptions import MlflowException

        try:
            yield client
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise UnknownVersion(self.model, version, "MLflow does not know it") from error
            if error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"):
                raise Unavailable(self.address, str(error).splitlines()[0][:200]) from error
            raise

    def prepare(self) -> bool:
        """Imports MLflow and opens its store, which takes seconds the first time; False where it does not answer.

        To be called before taking a lease that such a wait could outlast.
        """
        if not self._is_prepared:
            with contextlib.suppress(Unavailable):
                self.check()
                self._is_prepared = True
        return self._is_prepared

    def check(self) -> None:
        """Raises Unavailable when MLflow does not answer."""
        with self._asking() as client:
            client.search_registered_models(max_results=1)

    def register(
        self,
        onnx: bytes,
        manifest: Manifest,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, Any] | None = None,
        estimator: Any = None,
        key: str = "",
    ) -> int:
        """The number of a new version with this graph; `manifest.version` is ignored and its sha256 checked.

        One MLflow run holds the graph, the manifest, the pickled `estimator`, params, finite metrics and tags. With a
        `key`, the version registered under that key is returned instead: a flow that was killed may run again. Raises
        Unavailable, or ValueError when the graph is not the manifest's.
        """
        if sha256(onnx) != manifest.onnx_sha256:
            raise ValueError("the ONNX bytes differ from the manifest's sha256")
        found = self._registered(key) if key else None
        if found is not None:
            return found
        labels = _labels(manifest) | {name: str(value) for name, value in (tags or {}).items()}
        with self._asking() as client:
            run = self._log_run(client, Release(manifest, onnx), labels, params or {}, metrics or {}, estimator)
            self._create_model(client)
            if key:
                labels |= {_KEY: key}
            made = client.create_model_version(self.model, f"runs:/{run}/model", run, tags=labels)
        log.info("registered model=%s version=%s learner=%s", self.model, made.version, manifest.learner)
        return int(made.version)

    def adopt(self, release: Release) -> None:
        """Keeps a release for a version that another tool registered, in a run of its own that the version's tag names.

        The version's own artifacts stay as they are. Raises UnknownVersion or Unavailable.
        """
        version = release.manifest.version
        with self._asking(version) as client:
            labels = _labels(release.manifest)
            run = self._log_run(client, release, labels, {}, {}, None)
            for name, value in (labels | {_ADOPTED: run}).items():
                client.set_model_version_tag(self.model, str(version), name, value)
        log.info("adopted model=%s version=%s", self.model, version)

    def is_adopted(self, version: int) -> bool:
        """Whether another tool registered it. Raises UnknownVersion or Unavailable."""
        return _ADOPTED in self.tags(version)

    def download(self, version: int, folder: Path) -> Path:
        """A version's artifacts, a file or a folder, whoever registered it. Raises UnknownVersion or Unavailable."""
        with self._asking(version) as client:
            import mlflow.artifacts
            from mlflow.exceptions import MlflowException

            uri = client.get_model_version_download_uri(self.model, str(version))
            try:
                found = mlflow.artifacts.download_artifacts(
                    artifact_uri=uri, dst_path=str(folder), tracking_uri=self.address
                )
            except (MlflowException, OSError) as error:
                reason = f"its artifacts at {uri} cannot be fetched: {' '.join(str(error).split())[:200]}"
                raise UnknownVersion(self.model, version, reason) from error
        return Path(found)

    def load_release(self, version: int) -> Release:
        """The graph and manifest of a version. Raises UnknownVersion or Unavailable."""
        with self._asking(version) as client, tempfile.TemporaryDirectory() as folder:
            run = self._run(client, version)
            held = {item.path for item in client.list_artifacts(run, "model")}
            if not {"model/model.onnx", "model/manifest.json"} <= held:
                raise UnknownVersion(self.model, version, _NOT_OURS.format(version=version))
            path = Path(client.download_artifacts(run, "model", folder))
            onnx = (path / "model.onnx").read_bytes()
            manifest = msgspec.json.decode((path / "manifest.json").read_bytes(), type=Manifest)
        return Release(msgspec.structs.replace(manifest, model=self.model, version=version), onnx)

    def load_estimator(self, version: int) -> Any:
        """The pickled estimator of a version, or None. Unpickling runs code: load only what your own flows wrote."""
        with self._asking(version) as client, tempfile.TemporaryDirectory() as folder:
            run = self._run(client, version)
            if "model/estimator.pkl" not in {item.path for item in client.list_artifacts(run, "model")}:
                return None
            return pickle.loads(Path(client.download_artifacts(run, "model/estimator.pkl", folder)).read_bytes())

    def attach(self, version: int, text: str, path: str) -> None:
        """Keeps a page (a report, say) with a version's run, in place of one of the same path.

        Raises UnknownVersion or Unavailable.
        """
        with self._asking(version) as client:
            run = self._run(client, version)
            from mlflow.exceptions import MlflowException

            try:
                client.log_text(run, text, path)
            except (MlflowException, OSError) as error:  # another machine's disk, or a bucket
                reason = f"no artifact can be written: {' '.join(str(error).split())[:200]}"
                raise Unavailable(self.address, reason) from error

    def aliases(self) -> dict[str, int]:
        """Version by alias; empty before the first version."""
        try:
            with self._asking() as client:
                found: dict[str, Any] = client.get_registered_model(self.model).aliases
        except UnknownVersion:
            return {}
        return {alias: int(version) for alias, version in found.items()}

    def champion(self) -> int | None:
        return self.aliases().get("champion")

    def set_champion(self, version: int) -> None:
        """Raises UnknownVersion or Unavailable."""
        with self._asking(version) as client:
            client.set_registered_model_alias(self.model, "champion", str(version))

    def set_roles(self, board: Board) -> frozenset[int]:
        """Makes the aliases say what the board says, touching only those that differ; gives the versions that are gone.

        The prior (version 0) is no registered model and takes no alias, and nor does a version that MLflow no longer
        has. Raises Unavailable.
        """
        wanted, held, gone = _wanted(board), self.aliases(), set()
        ours = {alias for alias in held if alias in ("champion", "previous") or alias.startswith(_CHALLENGER)}
        for alias, version in wanted.items():
            if held.get(alias) != version:
                try:
                    with self._asking(version) as client:
                        client.set_registered_model_alias(self.model, alias, str(version))
                except UnknownVersion:
                    gone.add(version)  # the other aliases must be set all the same
        for alias in ours - wanted.keys():
            with self._asking() as client:
                client.delete_registered_model_alias(self.model, alias)
        return frozenset(gone)

    def tag(self, version: int | None, name: str, value: str) -> None:
        """Tags a version, or the model itself where that is None. Raises UnknownVersion or Unavailable."""
        with self._asking(version) as client:
            if version is None:
                self._create_model(client)
                client.set_registered_model_tag(self.model, name, value)
            else:
                client.set_model_version_tag(self.model, str(version), name, value)

    def tags(self, version: int | None) -> dict[str, str]:
        """Tags of a version, or of the model itself where that is None; there, empty before the first version."""
        with self._asking(version) as client:
            if version is not None:
                return dict(client.get_model_version(self.model, str(version)).tags)
            models = client.search_registered_models(f"name = '{self.model}'")
            return dict(models[0].tags) if models else {}

    def page_url(self, version: int) -> str | None:
        """The version's page in MLflow, where MLflow is a server."""
        if not self.address.startswith("http"):
            return None
        return f"{self.address.rstrip('/')}/#/models/{self.model}/versions/{version}"

    def _registered(self, key: str) -> int | None:
        with self._asking() as client:
            # Compared here: a key may hold any character, and a filter has no way to quote some of them.
            versions = client.search_model_versions(f"name = '{self.model}'", max_results=1000)
            return next((int(found.version) for found in versions if found.tags.get(_KEY) == key), None)

    def _run(self, client: "MlflowClient", version: int) -> str:
        found = client.get_model_version(self.model, str(version))
        run = found.tags.get(_ADOPTED) or found.run_id
        if not run:
            raise UnknownVersion(self.model, version, _NOT_OURS.format(version=version))
        return str(run)

    def _log_run(
        self,
        client: "MlflowClient",
        release: Release,
        labels: Mapping[str, str],
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        estimator: Any,
    ) -> str:
        manifest = release.manifest
        with tempfile.TemporaryDirectory() as folder:
            _write_model(Path(folder), release.onnx, manifest, estimator)
            made = client.create_run(self._experiment(client), tags=dict(labels), run_name=manifest.learner)
            run = str(made.info.run_id)
            for name, value in params.items():
                client.log_param(run, name, value)
            for name, number in metrics.items():
                if math.isfinite(number):
                    client.log_metric(run, name, number)
            client.log_artifacts(run, folder, "model")
            client.set_terminated(run)
        return run

    def _experiment(self, client: "MlflowClient") -> str:
        found = client.get_experiment_by_name(self.model)
        if found is None:
            with _unless_there():
                return client.create_experiment(self.model)
            found = client.get_experiment_by_name(self.model)
        assert found is not None
        return found.experiment_id

    def _create_model(self, client: "MlflowClient") -> None:
        with _unless_there():
            client.create_registered_model(self.model)


@contextlib.contextmanager
def _unless_there() -> Iterator[None]:
    """Lets a creation fail because somebody else was first."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _wanted(board: Board) -> dict[str, int]:
    wanted = {f"{_CHALLENGER}{version}": version for version in board.challengers if version}
    if board.champion:
        wanted["champion"] = board.champion
    if board.previous:
        wanted["previous"] = board.previous
    return wanted


def _labels(manifest: Manifest) -> dict[str, str]:
    """What a person looks for in MLflow's tables."""
    return {
        "tiltyard.kind": manifest.kind,
        "tiltyard.learner": manifest.learner,
        "tiltyard.schema": manifest.schema,
        "tiltyard.onnx_sha256": manifest.onnx_sha256,
        "tiltyard.since": manifest.since,
    }


def _write_model(folder: Path, onnx: bytes, manifest: Manifest, estimator: Any) -> None:
    """An MLflow model folder that `mlflow models serve` understands, with the manifest beside the graph."""
    import mlflow.onnx
    from mlflow.models import ModelSignature
    from onnx import load_from_string

    graph = load_from_string(onnx)
    inputs, outputs = _tensors(graph.graph.input), _tensors(graph.graph.output)
    folder.rmdir()  # MLflow wants to make it
    mlflow.onnx.save_model(
        graph,
        str(folder),
        pip_requirements=REQUIREMENTS,
        signature=ModelSignature(inputs, outputs),
        save_as_external_data=False,
    )
    (folder / "model.onnx").write_bytes(onnx)  # MLflow encodes anew, and the manifest's hash is of these bytes
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    if estimator is not None:
        (folder / "estimator.pkl").write_bytes(pickle.dumps(estimator))


def _tensors(described: Any) -> Any:
    """MLflow's schema of ONNX inputs or outputs."""
    from mlflow.types import Schema, TensorSpec
    from onnx import helper

    return Schema(
        [
            TensorSpec(
                helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
                [dimension.dim_value or -1 for dimension in value.type.tensor_type.shape.dim],
                value.name,
            )
            for value in described
        ]
    )
