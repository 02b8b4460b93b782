"""`tiltyard ask-labels`: the questions whose labels would decide most, for a person who can tell the truth."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console

from contracts import config, streams
from contracts.config import Config
from contracts.quantities import ConfigError
from contracts.streams import Streams
from serving import disagreements, page_words
from serving.disagreements import Queue, Wanted
from tiltyard import instance
from tiltyard.report import table

_HEADER = ("prediction", "asked", "counts if labelled by", "features", "answers")


def show(state: Path | None, model: str | None, count: int, as_json: bool) -> None:
    """Prints up to `count` questions of each model that predicts classes, or of one model.

    Raises ConfigError or redis.RedisError.
    """
    chosen, now = instance.find(state), time.time()
    known = config.load(chosen.config)
    with streams.connect(chosen.redis_url, timeout_s=5) as client:
        found = [
            disagreements.queue(Streams(client, name), known.model(name), count, now) for name in _names(known, model)
        ]
    if as_json:
        print(json.dumps([msgspec.to_builtins(queue, str_keys=True) for queue in found]))
        return
    console = Console()
    for queue in found:
        console.print(_told(queue), highlight=False, markup=False)
        if queue.items:
            console.print(table(_HEADER, (_row(one, now) for one in queue.items)))
            console.print(
                f"Label them at {chosen.serving_url}/models/{queue.model}/page#{queue.model}-labels", highlight=False
            )


def _names(known: Config, model: str | None) -> list[str]:
    if model is None:
        return [name for name, one in known.models.items() if not one.label.is_regression]
    if known.model(model).label.is_regression:
        raise ConfigError(f"{model} predicts values, on which versions always differ: every label counts alike")
    return [model]


def _told(queue: Queue) -> str:
    examined = page_words.count(queue.examined)
    if not queue.items:
        return f"{queue.model}: no disagreement waits for a label (newest {examined} questions looked through)"
    return f"{queue.model}: {page_words.waiting(queue.waiting)} for a label that still counts (of {examined} questions)"


def _row(one: Wanted, now: float) -> tuple[str, ...]:
    by = "matured: audited only" if one.counts_until is None else page_words.clock(one.counts_until, now)
    return (
        one.prediction_id,
        page_words.clock(one.asked_at, now),
        by,
        ", ".join(_features(one)),
        " or ".join(one.answers),
    )


def _features(one: Wanted) -> Iterator[str]:
    for name, value in one.features.items():
        if value is not None:
            yield f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"
