"""How long the page takes with many questions behind it, and what finding disagreements among them costs.

One model with a champion and three challengers, curves as long as they get, and streams of so many questions, on 3 % of
which one challenger differs. Readings are waited out between answers, so that each answer pays for its own. Beside it
the plain thing: the same server saying that it does not know a model.

Usage: python -m benchmarks.page [QUESTIONS ...]
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import redis

from benchmarks._head import head
from contracts import events, streams
from contracts.events import Prediction, Shadow
from contracts.streams import Streams
from serving import disagreements
from tests.conftest import free_port
from tests.serving import scene
from tiltyard.valkey import binary

ROUNDS, PAUSE_S, BATCH = 15, 2.05, 5_000
MODEL = scene.configuration().model("phishing")
YES, NO = (0.1, 0.9), (0.9, 0.1)


def fill(kept: Streams, questions: int) -> None:
    """One question a millisecond, up to now."""
    kept.client.delete(kept.key("predictions"), kept.key("shadows"))
    asked = {events.FIELD: events.encode(Prediction(3, 0, YES, (54.2, 12, True, "ovh"), MODEL.schema.fingerprint))}
    shadows = [{events.FIELD: events.encode(Shadow({2: (0, YES), 1: (0, YES), 4: (0, last)}))} for last in (YES, NO)]
    first, dice = int(time.time() * 1000) - questions, np.random.default_rng(1)
    for start in range(0, questions, BATCH):
        pipeline = kept.client.pipeline(transaction=False)
        for i, differs in enumerate(dice.random(min(BATCH, questions - start)) < 0.03, start):
            pipeline.xadd(kept.key("predictions"), asked, id=f"{first + i}-0")  # type: ignore[arg-type]
            pipeline.xadd(kept.key("shadows"), shadows[int(differs)], id=f"{first + i}-0")  # type: ignore[arg-type]
        pipeline.execute()


def took(call: Callable[[], object], pause_s: float = 0.0) -> str:
    """Median and longest of some rounds, in ms."""
    call()
    found = []
    for _ in range(ROUNDS):
        time.sleep(pause_s)
        began = time.perf_counter()
        call()
        found.append(1e3 * (time.perf_counter() - began))
    return f"{np.median(found):8.1f} {max(found):8.1f}"


def fetched(url: str) -> str:
    return scene.get(url)[1]


def measure(client: redis.Redis, url: str, questions: int) -> None:
    kept = Streams(client, "phishing")
    scene.play(client)
    fill(kept, questions)
    rows = {
        "a page's disagreements": lambda: disagreements.lately(kept, MODEL, time.time()),
        "a queue of 20": lambda: disagreements.queue(kept, MODEL, 20, time.time()),
    }
    for name, call in rows.items():
        print(f"{questions:>9,}  {name:<24}{took(call)}", flush=True)
    with scene.serving(url) as address:
        for name, path in (("the page", "/"), ("its renewal", "/fragment"), ("the plain thing", "/models/nobody/page")):
            told = took(partial(fetched, f"{address}{path}"), PAUSE_S)
            print(f"{questions:>9,}  {name:<24}{told}", flush=True)


def main() -> None:
    chosen = [int(number) for number in sys.argv[1:]] or [1_000, 1_000_000]
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        quiet = ("--save", "", "--dir", folder, "--loglevel", "warning")
        server = subprocess.Popen([str(binary()), "--port", str(port), *quiet], stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            url = f"redis://127.0.0.1:{port}/0"
            print(f"{head()}\n\nquestions  {'':<24}{'median ms':>8} {'max ms':>8}")
            for questions in chosen:
                with streams.connect(url) as client:
                    client.flushall()
                    measure(client, url, questions)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
