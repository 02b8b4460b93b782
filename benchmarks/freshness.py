"""From the 202 of a label to the first answer by a revision that has learned it, with everything running.

A server with ``appendfsync always``, the HTTP server, the shadow scorer, the learn run with a trainer, and a client
that asks and labels at a steady rate: all on this machine, all real, without Prefect. A label
counts as answered for with the first answer whose revision is noted as having learned through its id.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import redis

from benchmarks._head import head
from contracts import config, events, streams
from contracts.releases import PRIOR_VERSION
from contracts.settings import Settings
from flows.bootstrap import open_with_prior
from flows.learn import run
from flows.place import Place, open_place
from tests.conftest import free_port
from tests.serving import harness
from tiltyard import valkey

WIDTH, CONNECTIONS = 10, 16
LEARNERS = {"linear": '{algorithm = "linear"}', "forest of 10": '{algorithm = "adaptive_random_forest"}'}
CONFIG = """
[models.m]
label = {{task = "binary", classes = [false, true]}}
features = {{{features}}}
learners = {{one = {learner}}}
gate = {{maturity = "5s", bootstrap_labels = 200}}
"""


@dataclass
class Seen:
    """What the client saw, in seconds of its clock."""

    labelled: list[tuple[float, str]] = field(default_factory=list)
    """When a 202 came, and the feedback's id."""
    answers: list[tuple[float, int, int]] = field(default_factory=list)
    """When an answer came, by which version and revision."""
    failed: int = 0


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.freshness", description=__doc__)
    parser.add_argument("--rate", type=float, default=500, help="labels, and questions, per second")
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    print(f"Seconds from a label's 202 to the first answer that knows it\n{head()}\n")
    print(
        f"{'learner':<16}{'asked/s':>9}{'labels/s':>10}{'revisions':>11}{'p50':>8}{'p90':>8}{'p99':>8}{'max':>8}{'failed':>8}"
    )
    for name, learner in LEARNERS.items():
        with tempfile.TemporaryDirectory() as folder:
            _row(Path(folder), name, learner, arguments.rate, arguments.seconds)


def _row(folder: Path, name: str, learner: str, rate: float, duration_s: float) -> None:
    with _running(folder, learner) as (place, port):
        warm = asyncio.run(_drive(port, rate / 4, 5))  # enough labels for a first revision
        harness.until(lambda: place.releases.board().champion != PRIOR_VERSION, timeout_s=120)
        seen = asyncio.run(_drive(port, rate, duration_s))
        tail = asyncio.run(_drive(port, rate, 15, labels=False))  # the last labels get their answer too
        seen.answers += tail.answers
        delays, revisions = _delays(place, seen)
    asked = (len(seen.answers) - len(tail.answers)) / duration_s
    shown = "".join(f"{delay:>8.2f}" for delay in (*np.quantile(delays, [0.5, 0.9, 0.99]), max(delays)))
    failed = seen.failed + tail.failed + warm.failed
    print(
        f"{name:<16}{asked:>9.0f}{len(seen.labelled) / duration_s:>10.0f}{revisions:>11}{shown}{failed:>8}", flush=True
    )


def _delays(place: Place, seen: Seen) -> tuple[list[float], int]:
    """Seconds for each label, and how many revisions answered."""
    version = seen.answers[-1][1]
    entries = cast(Any, place.client.xrange(place.streams.key(f"revisions:{version}")))
    noted = [(events.offset(id_.decode()), int(fields[b"revision"])) for id_, fields in entries]
    first_answer: dict[int, float] = {}
    for at, by, revision in seen.answers:
        if by == version:
            first_answer.setdefault(revision, at)
    known = sorted(first_answer.items())
    delays = []
    for at, id_ in seen.labelled:
        revision = next(revision for through, revision in noted if through >= events.offset(id_))
        delays.append(min(seen_at for one, seen_at in known if one >= revision) - at)
    return delays, len(first_answer)


@contextmanager
def _running(folder: Path, learner: str) -> Iterator[tuple[Place, int]]:
    """Everything but Prefect."""
    features = ", ".join(f'x{i} = "float"' for i in range(WIDTH))
    (folder / "tiltyard.toml").write_text(CONFIG.format(features=features, learner=learner))
    (folder / "valkey").mkdir()
    port = free_port()
    settings = Settings(
        state=folder / "state",
        config=folder / "tiltyard.toml",
        redis_url=f"redis://127.0.0.1:{port}/0",
        mlflow_url=f"sqlite:///{folder}/mlflow.db",
    )
    with ExitStack() as stack:
        _until_it_ends(stack, subprocess.Popen(valkey.command(folder / "valkey", port), stdout=subprocess.DEVNULL))
        client = streams.connect(settings.redis_url)
        harness.until(lambda: _answers(client))
        os.chdir(folder)  # where MLflow without a server puts artifacts
        place = open_place("m", config.load(settings.config).model("m"), settings)
        open_with_prior(place)
        place.registry.prepare()
        server = stack.enter_context(harness.serving(settings))
        environment = {**os.environ, **settings.environment()}
        _until_it_ends(stack, subprocess.Popen([sys.executable, "-m", "serving.shadow"], env=environment))
        learning = multiprocessing.get_context("spawn").Process(target=_learn, args=(settings,))
        learning.start()
        stack.callback(learning.join)
        stack.callback(learning.terminate)
        yield place, server.port


def _learn(settings: Settings) -> None:
    place = open_place("m", config.load(settings.config).model("m"), settings)
    run(place, lambda decided: None)


def _until_it_ends(stack: ExitStack, process: "subprocess.Popen[bytes]") -> None:
    stack.callback(process.wait)
    stack.callback(process.terminate)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


async def _drive(port: int, rate: float, duration_s: float, labels: bool = True) -> Seen:
    """Questions at a steady rate over some connections; each gets its label a second later."""
    seen, stop = Seen(), time.perf_counter() + duration_s
    await asyncio.gather(*(_client(port, rate / CONNECTIONS, stop, n, labels, seen) for n in range(CONNECTIONS)))
    return seen


async def _client(port: int, rate: float, stop: float, seed: int, labels: bool, seen: Seen) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    rng, waiting = random.Random(seed), list[tuple[float, str, bool]]()
    due = time.perf_counter() + rng.random() / rate
    while due < stop or waiting:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        due += 1 / rate
        if due < stop:
            row = [rng.gauss(0, 1) for _ in range(WIDTH)]
            status, answer = await _post(
                reader, writer, "predict", {"features": {f"x{i}": x for i, x in enumerate(row)}}
            )
            now = time.perf_counter()
            seen.failed += status != 200
            seen.answers.append((now, answer["version"], answer["revision"]))
            if labels:
                waiting.append((now + 1, answer["prediction_id"], (row[0] + row[1] > 0) != (rng.random() < 0.1)))
        while waiting and (waiting[0][0] <= time.perf_counter() or due >= stop):
            _, id_, label = waiting.pop(0)
            status, answer = await _post(reader, writer, "feedback", {"prediction_id": id_, "label": label})
            seen.failed += status != 202
            seen.labelled.append((time.perf_counter(), answer["feedback_id"]))
    writer.close()
    await writer.wait_closed()


async def _post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str, body: object
) -> tuple[int, dict[str, Any]]:
    data = json.dumps(body).encode()
    fields = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(f"POST /models/m/{what} HTTP/1.1\r\n{fields}".encode() + data)
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
    length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length"))
    return int(lines[0].split()[1]), json.loads(await reader.readexactly(length))


if __name__ == "__main__":
    main()
