"""Predictions per second on one core, with everything on, beside the plain things, all in one run.

The server has a core of its own; load and Valkey share another. Ten features, a hundred boosted trees. Rounds go
through all rows in turn, so that a busy minute hits them alike; each figure is the median of its rounds.

MLServer is measured when BENCH_MLSERVER names a Python that has `mlserver`, `onnxruntime` and `numpy`
(`python -m venv V && V/bin/pip install mlserver onnxruntime`).
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import onnxruntime
import redis

from benchmarks import _load
from benchmarks._head import head
from benchmarks._load import Load
from benchmarks._servers import LOAD_CORE, free_port, running, running_valkey
from contracts.config import Config, Learner, parse
from contracts.releases import Board, Golden, Manifest, Release, Releases, sha256
from contracts.settings import Settings
from learners import batch

NAMES = [f"x{i}" for i in range(10)]
TOML = f"""
[models.bench]
features = {{ {", ".join(f'{name} = "float"' for name in NAMES)} }}
label = {{ task = "binary", classes = [false, true] }}
learners.trees = {{ algorithm = "hist_gradient_boosting", kind = "batch" }}
"""


class Place(NamedTuple):
    """What all rows share."""

    folder: Path
    config: Config
    onnx: Path
    body: str
    connections: int
    seconds: float


class Row(NamedTuple):
    """A way to answer: its name, and a context that starts it and gives its predict URL."""

    name: str
    start: Callable[[], contextlib.AbstractContextManager[str]]


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.predict", description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{head()}, load by {_load.name()}")
        config = parse(TOML)
        (Path(folder) / "tiltyard.toml").write_text(TOML)
        onnx, rows = _trees(config)
        (Path(folder) / "bench.onnx").write_bytes(onnx)
        body = json.dumps({"features": dict(zip(NAMES, map(float, rows[0]), strict=True))})
        bare = _bare(onnx, rows)
        for connections in arguments.connections:
            place = Place(Path(folder), config, Path(folder) / "bench.onnx", body, connections, arguments.seconds)
            _table(place, onnx, bare, arguments.rounds)


def _trees(config: Config) -> tuple[bytes, np.ndarray]:
    """A hundred boosted trees as the retrain flow exports them, and their rows."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(5000, len(NAMES)))
    labels = ["true" if row[0] * row[1] + row[2] > random.normal() / 2 else "false" for row in rows]
    learner = Learner(algorithm="hist_gradient_boosting", kind="batch", params={"max_iter": 100})
    schema = config.models["bench"].schema
    fitted = batch.fit(learner, schema, [tuple(map(float, row)) for row in rows], labels, 0, 0.2, lambda _: None)
    return batch.export(fitted), rows


def _bare(onnx: bytes, rows: np.ndarray) -> float:
    """session.run of one row per second, nothing else."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    row, n = {"numeric": rows[:1]}, 20_000
    began = time.perf_counter()
    for _ in range(n):
        session.run(["scores"], row)
    return n / (time.perf_counter() - began)


def _table(place: Place, onnx: bytes, bare: float, rounds: int) -> None:
    rows = [
        Row("raw ASGI, nothing logged", lambda: _asgi(place, None)),
        Row("raw ASGI + redis-py, everysec", lambda: _asgi(place, "everysec")),
        Row("Tiltyard, everysec", lambda: _tiltyard(place, onnx, "everysec")),
        Row("raw ASGI + redis-py, always", lambda: _asgi(place, "always")),
        Row("Tiltyard, always", lambda: _tiltyard(place, onnx, "always")),
        Row("Tiltyard, Redis away", lambda: _tiltyard(place, onnx, None)),
    ]
    if peer := os.environ.get("BENCH_MLSERVER"):
        rows.append(Row("MLServer, same graph", lambda: _mlserver(place, Path(peer))))
    measured: dict[str, list[Load]] = {row.name: [] for row in rows}
    for _ in range(rounds):
        for row in rows:
            with row.start() as url:
                body = place.body if "MLServer" not in row.name else _v2(place.body)
                _load.run(url, body, place.connections, 1, LOAD_CORE)
                measured[row.name].append(_load.run(url, body, place.connections, place.seconds, LOAD_CORE))
    _print(place, bare, measured)


def _print(place: Place, bare: float, measured: dict[str, list[Load]]) -> None:
    plain = median(load.per_s for load in measured["raw ASGI, nothing logged"])
    rounds = len(next(iter(measured.values())))
    print(f"\n{place.connections} connections, median of {rounds} rounds of {place.seconds:.0f} s")
    print(f"{'':32}{'per s':>8}{'of raw ASGI':>13}{'p50 us':>9}{'p99 us':>9}{'p99.9 us':>10}{'not 200':>9}")
    print(f"{'bare session.run, no network':32}{bare:8.0f}{bare / plain:13.2f}")
    for name, loads in measured.items():
        per_s = median(load.per_s for load in loads)
        p50, p99, p999 = (median(getattr(load, at) for load in loads) for at in ("p50_us", "p99_us", "p999_us"))
        bad = sum(load.errors for load in loads)
        print(f"{name:32}{per_s:8.0f}{per_s / plain:13.2f}{p50:9.0f}{p99:9.0f}{p999:10.0f}{bad:9d}")
    if not os.environ.get("BENCH_MLSERVER"):
        print("MLServer skipped: BENCH_MLSERVER names no Python that has it")


@contextlib.contextmanager
def _asgi(place: Place, fsync: str | None) -> Iterator[str]:
    with _logging(place, fsync) as url:
        port = free_port()
        logged = ["--redis", url] if url else []
        arguments = ["--port", str(port), "--onnx", str(place.onnx), *logged, "--names", *NAMES]
        with running([sys.executable, "-m", "benchmarks._asgi", *arguments], port):
            yield f"http://127.0.0.1:{port}/"


def _logging(place: Place, fsync: str | None) -> contextlib.AbstractContextManager[str | None]:
    return running_valkey(place.folder, fsync) if fsync else contextlib.nullcontext()


@contextlib.contextmanager
def _tiltyard(place: Place, onnx: bytes, fsync: str | None) -> Iterator[str]:
    """`python -m serving` as it is; without `fsync`, Valkey is stopped once serving has its champion."""
    with (
        running_valkey(place.folder, fsync or "everysec") as url,
        tempfile.TemporaryDirectory(dir=place.folder) as state,
    ):
        _publish(place, onnx, url)
        port = free_port()
        settings = Settings(state=Path(state), config=place.folder / "tiltyard.toml", redis_url=url)
        with running([sys.executable, "-m", "serving", "--port", str(port)], port, settings.environment()):
            if fsync is None:
                with contextlib.suppress(redis.ConnectionError):
                    redis.Redis.from_url(url).shutdown(nosave=True)
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/models/bench/predict"


@contextlib.contextmanager
def _mlserver(place: Place, python: Path) -> Iterator[str]:
    """MLServer around the same graph with a runtime that decodes, scores and encodes, and no more."""
    folder, port = place.folder / "mlserver", free_port()
    folder.mkdir(exist_ok=True)
    (folder / "runtime.py").write_text(Path(__file__).with_name("_mlserver.py").read_text())
    settings = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps({**settings, "debug": False, "host": "127.0.0.1"}))
    model = {"name": "bench", "implementation": "runtime.Graph", "parameters": {"uri": str(place.onnx)}}
    (folder / "model-settings.json").write_text(json.dumps(model))
    with running([str(python.with_name("mlserver")), "start", str(folder)], port, {"PYTHONPATH": str(folder)}):
        yield f"http://127.0.0.1:{port}/v2/models/bench/infer"


def _v2(body: str) -> str:
    row = list(json.loads(body)["features"].values())
    return json.dumps({"inputs": [{"name": "numeric", "shape": [1, len(row)], "datatype": "FP64", "data": row}]})


def _publish(place: Place, onnx: bytes, url: str) -> None:
    client, schema = redis.Redis.from_url(url), place.config.models["bench"].schema
    manifest = Manifest(
        model="bench", version=1, kind="batch", learner="trees", revision=0, schema=schema.fingerprint,
        onnx_sha256=sha256(onnx), created_at=time.time(), golden=Golden(),
    )  # fmt: skip
    Releases(client, "bench").publish(Release(manifest, onnx))
    Releases(client, "bench").set_board(Board(1))


if __name__ == "__main__":
    main()
