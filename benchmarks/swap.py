"""What live weights cost the answers: revisions swapped into a serving process under load, beside the same without.

The server has a core of its own; load, Valkey and the publisher share another. A revision is published each time the
server looks for one, no faster: what it could not take would only be work for the core of the load. Each round with
swaps stands beside one in which the same revisions are published as often for a version that nobody asks, in turns
before and after it: all that differs is what the server does with them. Figures are medians of rounds, the ratio that
of pairs. Revisions are states of a real learner in turn, and every answer of every round must carry the score that the
learner itself gave in the state of that revision.
"""

import argparse
import contextlib
import itertools
import json
import random
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import numpy as np
import psutil
import redis

from benchmarks import _load
from benchmarks._head import head
from benchmarks._load import Load
from benchmarks._servers import LOAD_CORE, free_port, pin, running, running_valkey
from contracts import weights
from contracts.config import Learner, parse
from contracts.releases import Board, Golden, Manifest, Release, Releases, sha256
from contracts.settings import Settings
from learners import catalogue, export

NAMES = [f"x{i}" for i in range(10)]
TOML = f"""
[models.bench]
features = {{ {", ".join(f'{name} = "float"' for name in NAMES)} }}
label = {{ task = "binary", classes = [false, true] }}
learners.linear = {{ algorithm = "linear" }}
"""
SCHEMA = parse(TOML).models["bench"].schema
SERVED, UNSERVED = 1, 2
STATES = 20

# Serving looks for revisions ten times a second. Looking more often is no setting: it is there to hurt.
_SERVE = (
    "import sys, serving.state; serving.state._POLL_S = float(sys.argv.pop(1)); import serving.__main__ as m; m.main()"
)


class Row(NamedTuple):
    """One table line: which learner, learned how far, whether each revision has a graph of its own, and how often."""

    name: str
    algorithm: str
    learned: int
    rebuilt: bool
    look_s: float
    rounds: int
    swaps: int
    """At least so many: rounds are added until they were swapped in."""


class State(NamedTuple):
    """A learner at one point: what is published of it, and its score of the question that is asked."""

    release: Release
    score: float


class Round(NamedTuple):
    load: Load
    swaps: int
    rss_kib: float
    wrong: int


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.swap", description=__doc__)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3, help="of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=12, help="with swaps, and as many without (default: %(default)s)")
    parser.add_argument("--swaps", type=int, default=10_000, help="of the endurance row (default: %(default)s)")
    arguments = parser.parse_args()
    if move := pin(LOAD_CORE):
        move()
    rows = [
        Row("linear, weights", "linear", 2000, False, 0.1, arguments.rounds, 0),
        Row("linear, weights, 100 looks/s", "linear", 2000, False, 0.01, arguments.rounds, arguments.swaps),
        Row("tree, new graph each", "hoeffding_tree", 20_000, True, 0.1, arguments.rounds, 0),
        Row("forest of 10, new graph each", "adaptive_random_forest", 5000, True, 0.1, arguments.rounds, 0),
    ]
    print(f"{head()}, load by {_load.name()}, {arguments.connections} connections")
    print(f"rounds of {arguments.seconds:.0f} s, each beside one without swaps; appendfsync everysec\n")
    print(
        f"{'':30}{'KiB':>6}{'swaps':>7}{'/s':>6}{'p50 us':>8}{'without':>8}{'p99 us':>8}{'without':>8}"
        f"{'ratio (quartiles)':>19}{'not 200':>9}{'wrong':>7}{'RSS MiB':>9}{'KiB/1000':>10}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            _measure(row, Path(folder), arguments.connections, arguments.seconds)


def _measure(row: Row, folder: Path, connections: int, seconds: float) -> None:
    question = tuple(float(x) for x in np.random.default_rng(1).normal(size=len(NAMES)))
    states = _states(row, question)
    with _serving(row, folder, states[0]) as (url, process, client):
        body = json.dumps({"features": dict(zip(NAMES, question, strict=True))})
        place = _Place(url, body, connections, seconds, process, client, states, itertools.count(1))
        place.round(row.look_s, SERVED, 2.0)  # warm-up
        pairs: list[tuple[Round, Round]] = []
        while len(pairs) < row.rounds or sum(swapped.swaps for _, swapped in pairs) < row.swaps:
            order = (UNSERVED, SERVED) if len(pairs) % 2 else (SERVED, UNSERVED)
            rounds = {version: place.round(row.look_s, version) for version in order}
            pairs.append((rounds[UNSERVED], rounds[SERVED]))
    _print(row, states, pairs, seconds)


def _print(row: Row, states: list[State], pairs: list[tuple[Round, Round]], seconds: float) -> None:
    still, swapped = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    p50, p99, p50_still, p99_still = (
        median(getattr(one.load, at) for one in rounds) for rounds in (swapped, still) for at in ("p50_us", "p99_us")
    )
    low, ratio, high = np.percentile([one.load.p99_us / other.load.p99_us for other, one in pairs], [25, 50, 75])
    release, swaps = states[0].release, sum(one.swaps for one in swapped)
    size = len(release.onnx if row.rebuilt else release.weights) / 1024
    not_200, wrong = (sum(one.load.errors for one in still + swapped), sum(one.wrong for one in still + swapped))
    print(
        f"{row.name:30}{size:6.1f}{swaps:7d}{swaps / seconds / len(pairs):6.1f}{p50:8.0f}{p50_still:8.0f}"
        f"{p99:8.0f}{p99_still:8.0f}{ratio:7.2f} ({low:.2f}-{high:.2f}){not_200:9d}{wrong:7d}"
        f"{swapped[-1].rss_kib / 1024:9.1f}{_slope(swapped):>10}",
        flush=True,
    )


def _slope(rounds: list[Round]) -> str:
    """KiB of resident memory per 1,000 swaps: least squares over the ends of rounds, from the first 1,000 on."""
    swaps = np.cumsum([one.swaps for one in rounds])
    warm = swaps > 1000
    if warm.sum() < 3:
        return "-"
    return f"{np.polyfit(swaps[warm] / 1000, np.array([one.rss_kib for one in rounds])[warm], 1)[0]:.1f}"


class _Place:
    """A server under load, and the publisher beside it."""

    def __init__(
        self, url: str, body: str, connections: int, seconds: float, process: psutil.Process, client: redis.Redis,
        states: list[State], numbers: Iterator[int],
    ):  # fmt: skip
        self.url, self.body, self.connections, self.seconds = url, body, connections, seconds
        self.process, self.releases, self.states, self.numbers = process, Releases(client, "bench"), states, numbers

    def round(self, every_s: float, version: int, seconds: float | None = None) -> Round:
        """One load, with revisions of a version published beside it."""
        before, answers, done = self._reloads(), set[str](), threading.Event()
        publisher = threading.Thread(target=self._publish, args=(version, every_s, done))
        publisher.start()
        load = _load.run(
            f"{self.url}/models/bench/predict", self.body, self.connections, seconds or self.seconds, LOAD_CORE, answers
        )
        done.set()
        publisher.join()
        swaps = self._reloads() - before
        return Round(load, swaps, self.process.memory_info().rss / 1024, self._wrong(answers))

    def _publish(self, version: int, every_s: float, done: threading.Event) -> None:
        while not done.wait(every_s):
            number = next(self.numbers)
            release = self.states[number % len(self.states)].release
            manifest = msgspec.structs.replace(release.manifest, version=version, revision=number)
            self.releases.publish(msgspec.structs.replace(release, manifest=manifest))

    def _wrong(self, answers: set[str]) -> int:
        """How many different answers do not carry the score of their revision's state."""
        found = [json.loads("{" + text) for text in answers]
        expected = [self.states[answer["revision"] % len(self.states)].score for answer in found]
        scores = [answer["probabilities"]["true"] for answer in found]
        return sum(abs(score - right) > 1e-9 for score, right in zip(scores, expected, strict=True))

    def _reloads(self) -> int:
        sample = 'tiltyard_reloads_total{model="bench"} '
        with urllib.request.urlopen(f"{self.url}/metrics") as reply:
            lines = reply.read().decode().splitlines()
        return next(int(line.removeprefix(sample)) for line in lines if line.startswith(sample))


@contextlib.contextmanager
def _serving(row: Row, folder: Path, first: State) -> Iterator[tuple[str, psutil.Process, redis.Redis]]:
    with running_valkey(folder, "everysec") as redis_url, tempfile.TemporaryDirectory(dir=folder) as state:
        client = redis.Redis.from_url(redis_url)
        published = Releases(client, "bench")
        published.publish(first.release)
        published.set_board(Board(SERVED))
        config, port = Path(state) / "tiltyard.toml", free_port()
        config.write_text(TOML)
        settings = Settings(state=Path(state), config=config, redis_url=redis_url)
        command = [sys.executable, "-c", _SERVE, str(row.look_s), "--port", str(port)]
        with running(command, port, settings.environment()) as process:
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid), client


def _states(row: Row, question: tuple[float, ...]) -> list[State]:
    """A learner at some labels in a row: over one graph, or each with the graph that it would be exported with then."""
    learner = catalogue.build_online(Learner(algorithm=row.algorithm), SCHEMA)
    rng, made = random.Random(0), list[State]()
    previous: export.Revision | None = None
    drawn = [tuple(rng.gauss(0, 1) for _ in NAMES) for _ in range(19)]
    while len(made) < STATES:
        x = tuple(rng.gauss(0, 1) for _ in NAMES)
        learner.learn_one(x, "true" if x[0] * x[1] + x[2] > rng.gauss(0, 0.5) else "false")
        if learner.learned < row.learned or (row.rebuilt and learner.learned % 50):
            continue
        now = export.revision(learner.model, SCHEMA, None if row.rebuilt else previous)
        if not row.rebuilt and previous is not None and now.onnx is not previous.onnx:
            made.clear()  # its structure changed: begin again from here
        previous, rows = now, (question, *drawn)
        golden = Golden(rows, tuple(learner.scores_one(row) for row in rows), 1e-9)
        packed = weights.pack(now.weights)
        manifest = Manifest(
            model="bench", version=SERVED, kind="online", learner=row.algorithm, revision=0,
            schema=SCHEMA.fingerprint, onnx_sha256=sha256(now.onnx), weights_sha256=sha256(packed),
            created_at=time.time(), golden=golden,
        )  # fmt: skip
        made.append(State(Release(manifest, now.onnx, packed), golden.scores[0][1]))
    return made


if __name__ == "__main__":
    main()
