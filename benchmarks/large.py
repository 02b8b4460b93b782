"""Does storing a large learner stall learning? A linear learner of more than 100 MB, grown by millions of categories.

The trainer does what it does in production: what costs more than 20 ms is stored, and hashed, in a forked child. It
first learns what makes it large, as fast as it can, and then 500 labels a second, in frames of 25 as the learn loop
writes them. A step learns one frame; no label waits for longer than the longest step. Steps that begin a save fork.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import redis

from benchmarks._head import head
from benchmarks.learn import _server
from contracts import streams
from contracts.config import parse
from contracts.journal import Example, Journal
from contracts.settings import Settings
from flows.aside import collect_garbage_seldom
from flows.place import Place, open_place
from flows.trainer import Saved, Trainer, resident_mb
from flows.trainers import IDLE_S

CATEGORIES = 8  # of each row, none of which comes twice
GROWN, FRAME = 600_000, 25
PER_S, FOR_S = 500, 120.0
CONFIG = f"""
[models.m]
label = {{task = "binary", classes = [false, true]}}
features = {{{", ".join(f'c{i} = "category"' for i in range(CATEGORIES))}}}
learners = {{one = {{algorithm = "linear", memory_mb = 16_384}}}}
gate = {{bootstrap_labels = 1_000_000_000}}
"""


def main() -> None:
    print(f"Storing a large learner beside learning\n{head()}\n")
    with tempfile.TemporaryDirectory() as name, _server(Path(name)) as url:
        place = _place(Path(name), streams.connect(url))
        examples = _examples()
        with contextlib.closing(Journal(place.journal_folder)) as journal:
            _append(journal, examples, GROWN)
            collect_garbage_seldom()
            with contextlib.closing(Trainer(place, "one")) as trainer:
                _grow(trainer)
                _measure(trainer, journal, examples)


def _place(folder: Path, client: redis.Redis) -> Place:
    return open_place("m", parse(CONFIG).model("m"), Settings(state=folder), client)


def _examples() -> Iterator[Example]:
    n = 0
    while True:
        n += 1
        yield Example(n, n, str(n % 3 == 0).lower(), tuple(f"{n:x}.{i}" for i in range(CATEGORIES)))


def _append(journal: Journal, examples: Iterator[Example], count: int) -> None:
    for _ in range(0, count, FRAME):
        journal.append(list(islice(examples, FRAME)))


def _grow(trainer: Trainer) -> None:
    began = time.perf_counter()
    while trainer.state.position < GROWN or trainer._saving is not None:
        trainer.step()
    took_s = time.perf_counter() - began
    print(
        f"grew by {GROWN:,} labels with {CATEGORIES * GROWN:,} categories in {took_s:.0f} s, {resident_mb():,.0f} MiB"
    )


def _measure(trainer: Trainer, journal: Journal, examples: Iterator[Example]) -> None:
    took_s: dict[str, list[float]] = {"that begin a save": [], "beside a save": [], "between saves": []}
    saves, began, frames = list[Saved](), time.perf_counter(), 0
    while (now := time.perf_counter()) < began + FOR_S:
        if now < began + frames * FRAME / PER_S:
            time.sleep(IDLE_S)
        else:
            _append(journal, examples, FRAME)
            frames += 1
        before, saved, at = trainer._saving, trainer.saved, time.perf_counter()
        learned = trainer.step()
        step_s = time.perf_counter() - at
        if trainer.saved is not saved:
            saves.append(trainer.saved)
        begins = trainer._saving is not before and trainer._saving is not None
        if learned or begins:
            name = "that begin a save" if begins else "between saves" if before is None else "beside a save"
            took_s[name].append(step_s)
    largest = max(saves, key=lambda save: save.bytes)
    print(f"learned {frames * FRAME:,} more at {PER_S}/s; {len(saves)} saves, the largest {largest.bytes / 1e6:.0f} MB")
    print(f"a save: {np.median([save.checkpoint_s for save in saves]):.1f} s to store\n")
    print(f"{'steps':<20}{'count':>8}{'p50 ms':>10}{'p99 ms':>10}{'longest':>10}")
    for name, steps_s in took_s.items():
        if steps_s:
            p50, p99, longest = 1e3 * np.quantile(steps_s, [0.5, 0.99, 1.0])
            print(f"{name:<20}{len(steps_s):>8,}{p50:>10.1f}{p99:>10.1f}{longest:>10.1f}")


if __name__ == "__main__":
    main()
