"""Labels learned per second by the whole loop, beside the bare River loop with the same learner in the same run.

Both processes do what they do in production. The loop reads feedback from a server with ``appendfsync always``, joins
it with predictions and shadow scores, weighs the pair, writes the journal, a checkpoint each second, and the Delta log.
The trainer follows the journal, learns, and stores its state several times a second. The time is that from the start
of both to the last label learned and stored.
"""

import contextlib
import multiprocessing
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from river.datasets import synth

from benchmarks._head import head
from contracts import events, streams
from contracts.config import parse
from contracts.events import Feedback, Prediction, Shadow
from contracts.releases import Board
from contracts.settings import Settings
from flows.aside import collect_garbage_seldom
from flows.learning import Loop
from flows.place import Place, open_place
from flows.trainer import Trainer
from flows.trainers import IDLE_S
from learners.catalogue import build_online
from tests.conftest import free_port
from tiltyard import valkey

LABELS = {"linear": 200_000, "naive_bayes": 200_000, "hoeffding_tree": 150_000, "adaptive_random_forest": 10_000}
WIDTH = 9
START_MS = 1_700_000_000_000
Row = tuple[tuple[float, ...], str]


def main() -> None:
    print(f"Labels of Agrawal's stream learned per second\n{head()}\n")
    print(f"{'learner':<24}{'labels':>8}{'bare River':>12}{'joined':>12}{'learned':>12}{'ratio':>8}")
    for algorithm, count in LABELS.items():
        rows = [(tuple(map(float, x.values())), str(bool(y)).lower()) for x, y in synth.Agrawal(seed=1).take(count)]
        with tempfile.TemporaryDirectory() as name, _server(Path(name)) as url:
            place = _place(Path(name), streams.connect(url), algorithm, WIDTH)
            _fill(place, rows)
            bare = _bare(place, rows)
            joined, learned = _whole(Path(name), url, algorithm)
            print(
                f"{algorithm:<24}{count:>8,}{bare:>12,.0f}{joined:>12,.0f}{learned:>12,.0f}{learned / bare:>8.2f}",
                flush=True,
            )


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[str]:
    port = free_port()
    (folder / "valkey").mkdir()
    process = subprocess.Popen(valkey.command(folder / "valkey", port), stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    client = streams.connect(url)
    try:
        while True:
            with contextlib.suppress(redis.RedisError):
                client.ping()
                break
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


def _place(folder: Path, client: redis.Redis, algorithm: str, width: int) -> Place:
    features = ", ".join(f'x{i} = "float"' for i in range(width))
    text = (
        f'[models.m]\nlabel = {{task = "binary", classes = [false, true]}}\nfeatures = {{{features}}}\n'
        f'learners = {{one = {{algorithm = "{algorithm}"}}}}\n'
        'gate = {maturity = "5s", bootstrap_labels = 1_000_000}\n'
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


def _whole(folder: Path, url: str, algorithm: str) -> tuple[float, float]:
    """(labels per second joined, labels per second learned and stored) by both processes side by side."""
    context = multiprocessing.get_context("spawn")
    ready, over, count = context.Barrier(3), context.Queue(), LABELS[algorithm]
    work = (_join, _train)
    processes = [context.Process(target=one, args=(folder, url, algorithm, ready, over)) for one in work]
    for process in processes:
        process.start()
    ready.wait()
    began = time.perf_counter()
    ended = dict(over.get() for _ in processes)
    for process in processes:
        process.join()
    return count / (ended["joined"] - began), count / (ended["learned"] - began)


def _join(folder: Path, url: str, algorithm: str, ready: Any, over: Any) -> None:
    collect_garbage_seldom()
    loop = Loop(_place(folder, streams.connect(url), algorithm, WIDTH))
    ready.wait()
    while loop.state.counts.feedback < LABELS[algorithm]:
        loop.step(block_ms=1)
    loop.save()
    over.put(("joined", time.perf_counter()))
    loop.close()


def _train(folder: Path, url: str, algorithm: str, ready: Any, over: Any) -> None:
    collect_garbage_seldom()
    trainer = Trainer(_place(folder, streams.connect(url), algorithm, WIDTH), "one")
    ready.wait()
    while trainer.state.position < LABELS[algorithm]:
        if not trainer.step():
            time.sleep(IDLE_S)
    trainer.close()
    over.put(("learned", time.perf_counter()))


if __name__ == "__main__":
    main()
