"""Tiny releases, and a real serving process to ask."""

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import redis
from onnx import TensorProto, helper, numpy_helper

from contracts.config import Config, parse
from contracts.releases import Board, Golden, Manifest, Release, Releases
from contracts.schema import Schema
from contracts.settings import Settings
from tests.conftest import free_port

TOML = """
[models.fruit]
features = { a = "float", b = "float" }
label = { task = "binary", classes = [false, true] }
learners.linear = { algorithm = "linear" }

[models.price]
features = { size = "float?", rooms = "int", new = "bool", town = "category?" }
label = { task = "regression" }
learners.linear = { algorithm = "linear" }
"""
CONFIG: Config = parse(TOML)
FRUIT: Schema = CONFIG.models["fruit"].schema
PRICE: Schema = CONFIG.models["price"].schema
GOOD = b'{"features":{"a":1,"b":2}}'


def constant(scores: Sequence[float], width: int = 2) -> bytes:
    """A graph that answers every row alike: [1, k] is repeated once per row of `numeric`."""
    nodes = [
        helper.make_node("Shape", ["numeric"], ["rows"], start=0, end=1),
        helper.make_node("Concat", ["rows", "k"], ["shape"], axis=0),
        helper.make_node("Expand", ["answer", "shape"], ["scores"]),
    ]
    fixed = {"k": np.array([len(scores)]), "answer": np.array([scores], np.float64)}
    return graph(nodes, fixed, width, len(scores))


def linear(weights: Sequence[float], bias: float = 0.0, width: int = 2) -> bytes:
    """Probabilities (1 - p, p) with p = 1 / (1 + exp(-(weights . x + bias)))."""
    nodes = [
        helper.make_node("MatMul", ["numeric", "weights"], ["dot"]),
        helper.make_node("Add", ["dot", "bias"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["scores"], axis=1),
    ]
    fixed = {"weights": np.array(weights, np.float64).reshape(-1, 1), "bias": np.array([bias]), "one": np.array([1.0])}
    return graph(nodes, fixed, width, 2)


def graph(nodes: list[onnx.NodeProto], fixed: dict[str, np.ndarray], width: int, k: int) -> bytes:
    double = TensorProto.DOUBLE
    made = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("numeric", double, [None, width])],
        [helper.make_tensor_value_info("scores", double, [None, k])],
        [numpy_helper.from_array(value, name) for name, value in fixed.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(made, opset_imports=opset, ir_version=9).SerializeToString()


def release(
    onnx_bytes: bytes, version: int = 1, revision: int = 0, schema: Schema = FRUIT, model: str = "fruit", **more: Any
) -> Release:
    manifest = Manifest(
        model=model,
        version=version,
        kind="online",
        learner="linear",
        revision=revision,
        schema=schema.fingerprint,
        onnx_sha256=hashlib.sha256(onnx_bytes).hexdigest(),
        created_at=1.0,
        **more,
    )
    return Release(manifest, onnx_bytes)


FRUIT_RELEASE = release(constant((0.25, 0.75)))
PRICE_RELEASE = release(constant((12.5,), width=3), schema=PRICE, model="price")


def crown(client: redis.Redis, made: Release, challengers: tuple[int, ...] = ()) -> None:
    """Publishes a release and puts it on the board as champion."""
    published = Releases(client, made.manifest.model)
    published.publish(made)
    published.set_board(Board(made.manifest.version, challengers))


def crown_all(client: redis.Redis) -> None:
    """A champion for every model of TOML: fruit answers (0.25, 0.75), price 12.5."""
    crown(client, FRUIT_RELEASE)
    crown(client, PRICE_RELEASE)


def golden(rows: Sequence[Any], scores: Sequence[Any], tolerance: float = 1e-5) -> Golden:
    return Golden(tuple(map(tuple, rows)), tuple(map(tuple, scores)), tolerance)


def settings(folder: Path, redis_url: str) -> Settings:
    config = folder / "tiltyard.toml"
    config.write_text(TOML)
    return Settings(state=folder / "state", config=config, redis_url=redis_url)


class Server:
    """A `python -m serving` process."""

    def __init__(self, where: Settings, port: int, process: "subprocess.Popen[bytes]"):
        self.where, self.port, self.process = where, port, process

    def connect(self, timeout_s: float = 10) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)

    def ask(self, method: str, path: str, body: bytes | dict[str, Any] | None = None) -> tuple[int, Any]:
        """Status and decoded body of one request on its own connection."""
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        with self.connect() as line:
            line.sendall(request(method, path, body, b"connection: close\r\n"))
            return Replies(line).next()

    def predict(self, model: str = "fruit", **features: Any) -> tuple[int, Any]:
        return self.ask("POST", f"/models/{model}/predict", {"features": features or {"a": 1, "b": 2}})

    def wait(self, path: str = "/readyz", status: int = 200, timeout_s: float = 20) -> Any:
        """The body, once the path answers with the status."""
        return until(lambda: self._now(path, status), timeout_s)

    def _now(self, path: str, status: int) -> Any:
        if self.process.poll() is not None:
            raise AssertionError(f"the server left with {self.process.returncode}")
        try:
            got, body = self.ask("GET", path)
        except OSError:
            return None
        return body if got == status else None

    def metric(self, line: str) -> float:
        """The value of one sample, named as it is printed."""
        _, text = self.ask("GET", "/metrics")
        (value,) = [row.rsplit(" ", 1)[1] for row in text.splitlines() if row.startswith(f"tiltyard_{line} ")]
        return float(value)


def request(method: str, path: str, body: bytes | None = None, headers: bytes = b"") -> bytes:
    """An HTTP/1.1 request as bytes, with its Content-Length where it has a body."""
    length = b"" if body is None else b"content-length: %d\r\n" % len(body)
    return f"{method} {path} HTTP/1.1\r\nhost: x\r\n".encode() + length + headers + b"\r\n" + (body or b"")


class Replies:
    """Reads responses off a socket, one after the other."""

    def __init__(self, line: socket.socket):
        self.line, self.buffer = line, b""
        self.headers: dict[bytes, bytes] = {}

    def next(self, bodiless: bool = False) -> tuple[int, Any]:
        """Status and body: decoded JSON, or text. Raises EOFError when the connection ends."""
        while b"\r\n\r\n" not in self.buffer:
            self._read()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        if status == 100 or bodiless:
            return status, None
        length = int(self.headers.get(b"content-length", b"0"))
        while len(self.buffer) < length:
            self._read()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return status, json.loads(body) if self.headers.get(b"content-type") == b"application/json" else body.decode()

    def _read(self) -> None:
        data = self.line.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data


def until(found: Any, timeout_s: float = 20) -> Any:
    """The first true value of a function. Raises AssertionError after the time-out."""
    deadline = time.monotonic() + timeout_s
    while not (value := found()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


@contextlib.contextmanager
def serving(where: Settings, ready: bool = True) -> Iterator[Server]:
    """A server on a free port; it is stopped by SIGTERM and must then leave by itself."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "--port", str(port)], env={**os.environ, **where.environment()}
    )
    server = Server(where, port, process)
    try:
        server.wait("/readyz" if ready else "/healthz")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@contextlib.contextmanager
def shadowing(where: Settings, *arguments: str, stderr: int | None = None) -> "Iterator[subprocess.Popen[bytes]]":
    """A `python -m serving.shadow` process."""
    command = [sys.executable, "-m", "serving.shadow", *arguments]
    process = subprocess.Popen(command, env={**os.environ, **where.environment()}, stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
