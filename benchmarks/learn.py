"""Labels learned per second by the whole loop, beside the bare River loop with the same learner in the same run.

The loop does what `learn` does in production: reads feedback from a server with ``appendfsync always``, joins it with
predictions and shadow scores, learns, weighs the pair, checkpoints each second, and writes the Delta log.
"""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from river.datasets import synth

from benchmarks._head import head
from contracts import events, streams
from contracts.config import parse
from contracts.events import Feedback, Prediction, Shadow
from contracts.releases import Board
from contracts.settings import Settings
from flows.learning import Loop
from flows.place import Place, open_place
from learners.catalogue import build_online
from tests.conftest import free_port
from tiltyard import valkey

LABELS = 20_000
START_MS = 1_700_000_000_000
ALGORITHMS = ("linear", "hoeffding_tree")
Row = tuple[tuple[float, ...], str]


def main() -> None:
    print(f"Labels learned per second, {LABELS:,} of Agrawal's stream\n{head()}\n")
    rows = [(tuple(map(float, x.values())), str(bool(y)).lower()) for x, y in synth.Agrawal(seed=1).take(LABELS)]
    print(f"{'learner':<20}{'bare River':>12}{'the loop':>12}{'ratio':>8}")
    for algorithm in ALGORITHMS:
        with tempfile.TemporaryDirectory() as folder, _server(Path(folder)) as client:
            place = _place(Path(folder), client, algorithm, len(rows[0][0]))
            _fill(place, rows)
            bare, whole = _bare(place, rows), _whole(place)
            print(f"{algorithm:<20}{bare:>12,.0f}{whole:>12,.0f}{whole / bare:>8.2f}")


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[redis.Redis]:
    port = free_port()
    (folder / "valkey").mkdir()
    process = subprocess.Popen(valkey.command(folder / "valkey", port), stdout=subprocess.DEVNULL)
    client = streams.connect(f"redis://127.0.0.1:{port}/0")
    try:
        while True:
            with contextlib.suppress(redis.RedisError):
                client.ping()
                break
            time.sleep(0.05)
        yield client
    finally:
        process.kill()
        process.wait()


def _place(folder: Path, client: redis.Redis, algorithm: str, width: int) -> Place:
    features = ", ".join(f'x{i} = "float"' for i in range(width))
    text = (
        f'[models.m]\nlabel = {{task = "binary", classes = [false, true]}}\nfeatures = {{{features}}}\n'
        f'learners = {{one = {{algorithm = "{algorithm}"}}}}\ngate = {{maturity = "5s"}}\n'
    )
    return open_place("m", parse(text).models["m"], Settings(state=folder), client)


def _fill(place: Place, rows: list[Row]) -> None:
    """Predictions 10 ms apart, each with a challenger's scores and a label two seconds later."""
    pipeline = place.client.pipeline(transaction=False)
    for n, (row, label) in enumerate(rows):
        id_ = f"{START_MS + 10 * n}-0"
        prediction = Prediction(1, 0, (0.4, 0.6), row, place.schema.fingerprint)
        for name, event, at in (
            ("predictions", prediction, id_),
            ("shadows", Shadow({2: (0, (0.3, 0.7))}), id_),
            ("feedback", Feedback(id_, label), f"{START_MS + 10 * n + 2000}-0"),
        ):
            pipeline.xadd(place.streams.key(name), {"e": events.encode(event)}, id=at)
    pipeline.execute()
    place.releases.set_board(Board(1, (2,)))


def _bare(place: Place, rows: list[Row]) -> float:
    model = build_online(place.model.learners["one"], place.schema).model
    pairs = [(place.schema.as_dict(row), label == "true") for row, label in rows]
    began = time.perf_counter()
    for x, y in pairs:
        model.learn_one(x, y)
    return len(rows) / (time.perf_counter() - began)


def _whole(place: Place) -> float:
    loop = Loop(place)
    began = time.perf_counter()
    while loop.state.counts.feedback < LABELS:
        loop.step(block_ms=1)
    loop.close()
    return LABELS / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
