"""Prequential accuracy, learner by learner: River's own progressive validation, and Tiltyard's whole path beside it.

Each question is answered before its label is known; labels come so many rows later. River's side is its own
`simulate_qa` around the bare estimator, and `evaluate.progressive_val_score` must give the same figure. Ours are the
scores that the shadow scorer wrote down: questions and labels go through the streams of a real Valkey, the learn loop
joins them into the journal, each learner's trainer learns, stores and publishes every label before the next question,
and the newest published revision answers through onnxruntime. Nothing is held back by the safeguard on changes: a
revision that moves far is published at the second try. Questions before the first label are answered by the prior.

`python -m benchmarks.prequential [--rows N] [--forest-rows N] [--delays N,N] [STREAM ...]`: names or CSV files with a
column `label`; without any, the real streams that lie beside the project.
"""

import argparse
import contextlib
import logging
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import redis
from river import evaluate, metrics
from river.stream import simulate_qa

from benchmarks._head import head
from benchmarks._servers import running_valkey
from contracts import config, events, streams
from contracts.config import Learner
from contracts.events import Feedback, Prediction, Shadow
from contracts.releases import PRIOR_VERSION, Board
from contracts.schema import Schema
from contracts.settings import Settings
from data import infer
from data import streams as sources
from flows.aside import Inline
from flows.learning import Loop
from flows.place import Place, open_place
from flows.trainer import Trainer
from learners.catalogue import build_online
from learners.online import class_scores, target
from serving.shadow import Scorer
from tests.learners.streams import FOLDER, Stream

NAME = "m"
HORIZON_S = 86_400.0
QUICK, FOREST = ("linear", "naive_bayes", "hoeffding_tree"), "adaptive_random_forest"
SHARED = {
    "elec2": (5_000, 1_500),
    "nycflights13_delay15": (5_000, 900),
    "acs_employment_ma_2015_2018": (5_000, 1_500),
    "bike_sharing_hourly_reg": (5_000, 1_500),
    "nab_machine_temperature_system_failure": (5_000, 5_000),
    "nab_nyc_taxi": (7_000, 7_000),
}
"""Real streams, and how many of their rows, for a forest in the second place: the taxis' first anomaly is row 5,840."""
Scores = tuple[float, ...]


@dataclass
class Answers:
    """One learner's scores of every row, in order."""

    scores: list[Scores] = field(default_factory=list)
    counted: list[bool] = field(default_factory=list)
    """Whether River counts the row: before its first label a tree has no opinion. River's side only."""
    seconds: float = 0.0
    progressive: float = 0.0
    """River's own figure, of `evaluate.progressive_val_score`."""


@dataclass(frozen=True)
class Compared:
    """River's figure (accuracy or mean absolute error) and ours, over the rows that River counts."""

    river: float
    ours: float
    right: tuple[int, int]
    """Rows whose label was found, River's and ours; (0, 0) for values."""
    ties: int
    """Rows with two best classes: serving answers the first one, `progressive_val_score` whichever River saw first."""
    difference: float
    """Largest one of any score of any row; relative to a value beyond 1."""
    flips: int


def read(source: str | Path, rows: int) -> Stream:
    """The first rows of a named stream, or of a CSV file with a column `label`."""
    found = sources.stream(source, "label")
    pairs = list(islice(found, rows))
    schema = found.schema
    return Stream(found.name, schema, [schema.decode(x) for x, _ in pairs], [schema.label.decode(y) for _, y in pairs])


def fitting(schema: Schema) -> dict[str, Learner]:
    """The quick learners of the catalogue that fit, each by its name."""
    found = {name: Learner(algorithm=name) for name in QUICK}
    if schema.categorical_at or schema.label.is_regression:
        del found["naive_bayes"]
    return found


def forest(trees: int) -> Learner:
    return Learner(algorithm=FOREST, params={"n_models": trees})


# River's side


def of_river(learner: Learner, data: Stream, delay: int) -> Answers:
    """What the bare estimator answers, without anything of ours but the name of its parts."""
    model, label, answers = build_online(learner, data.schema).model, data.schema.label, Answers()
    began = time.perf_counter()
    for _, x, y in simulate_qa(_pairs(data), None, delay):
        if y is not None:
            model.learn_one(x, y)
            continue
        found = model.predict_one(x) if label.is_regression else model.predict_proba_one(x)
        answers.counted.append(found is not None and found != {})
        answers.scores.append((float(found),) if label.is_regression else class_scores(found, label))
    answers.seconds = time.perf_counter() - began
    metric = metrics.MAE() if label.is_regression else metrics.Accuracy()
    fresh = build_online(learner, data.schema).model
    answers.progressive = evaluate.progressive_val_score(_pairs(data), fresh, metric, delay=delay).get()
    return answers


def _pairs(data: Stream) -> Any:
    return [(data.schema.as_dict(row), target(data.schema.label, label)) for row, label in data]


# Our side


def of_tiltyard(
    folder: Path, client: redis.Redis, learners: Mapping[str, Learner], data: Stream, delay: int
) -> dict[str, Answers]:
    """What each learner's newest published revision answered; the prior, where nothing was published yet.

    `seconds` is the time of the learner's own trainer.
    """
    place = _place(folder, client, learners, data.schema)
    versions = {name: version for version, name in enumerate(learners, 1)}
    place.releases.set_board(Board(PRIOR_VERSION, tuple(versions.values())))
    answers = {name: Answers() for name in learners}
    asked: list[str] = []
    with contextlib.closing(Loop(place)) as loop, contextlib.ExitStack() as open_trainers:
        trainers = {
            name: open_trainers.enter_context(_trainer(place, name, version)) for name, version in versions.items()
        }
        scorer, given, prior = Scorer(client, NAME, data.schema), 0, data.schema.label.prior_scores
        questions: Any = data  # typed for dictionaries, of which only the order counts
        for i, row, label in simulate_qa(questions, None, delay, copy=False):
            if label is not None:
                place.streams.add_feedback(Feedback(asked[i], label), HORIZON_S)
                given += 1
                continue
            _learn(loop, trainers, answers, given)
            asked.append(place.streams.append(Prediction(PRIOR_VERSION, 0, prior, row, data.schema.fingerprint)))
            scorer.step()
            if len(asked) == len(data.rows):
                break  # nothing is asked after the labels that are left
    for _, fields in place.streams.scan("shadows", streams.START):
        shadow = events.decode(Shadow, fields)
        for name, version in versions.items():
            answers[name].scores.append(shadow.scores.get(version, (0, prior))[1])
    return answers


def _place(folder: Path, client: redis.Redis, learners: Mapping[str, Learner], schema: Schema) -> Place:
    tables = {
        name: {"algorithm": one.algorithm, "seed": one.seed, "params": one.params} for name, one in learners.items()
    }
    rules = {"safeguards": {"anchor_rows": 1, "max_change": 1.0, "hold": "0s"}}
    text = infer.model_table(NAME, schema, learners=tables) + "\n" + infer.tables(NAME, rules)
    return open_place(NAME, config.parse(text).model(NAME), Settings(state=folder), client)


@contextlib.contextmanager
def _trainer(place: Place, name: str, version: int) -> Iterator[Trainer]:
    """A trainer whose version is enrolled, as after its registration, and that stores and publishes at each step."""
    trainer = Trainer(place, name, Inline)
    trainer.state.version, trainer.save_every_s, trainer.save_share = version, 0.0, 1e9
    trainer.recent = deque(maxlen=1)  # golden rows: every row is compared here
    with contextlib.closing(trainer):
        yield trainer


def _learn(loop: Loop, trainers: Mapping[str, Trainer], answers: Mapping[str, Answers], labels: int) -> None:
    """Until every label that was given is joined, and learned and published by each trainer."""
    while loop.state.counts.feedback < labels:
        loop.step(block_ms=1)
    for name, trainer in trainers.items():
        began = time.perf_counter()
        while labels and trainer.state.published_learned < labels:
            trainer.step()
            if trainer.benched is not None:
                raise RuntimeError(f"{name} was benched: {trainer.benched}")
        answers[name].seconds += time.perf_counter() - began


# Beside each other


def compare(river: Answers, ours: Answers, data: Stream) -> Compared:
    """Figures over the rows that River counts, scores and labels over all rows."""
    label, counted = data.schema.label, np.array(river.counted)
    expected, found = np.array(river.scores), np.array(ours.scores)
    differences = np.abs(expected - found)
    if label.is_regression:
        truth = np.array(data.labels, np.float64)
        errors = [np.abs(one[:, 0] - truth)[counted] for one in (expected, found)]
        largest = float((differences / np.maximum(1.0, np.abs(expected))).max())
        return Compared(float(errors[0].mean()), float(errors[1].mean()), (0, 0), 0, largest, 0)
    columns = np.array([label.index(str(one)) for one in data.labels])
    # The first of equal scores wins, here as in serving.
    right = [(one.argmax(1) == columns)[counted] for one in (expected, found)]
    flips = int((expected.argmax(1) != found.argmax(1)).sum())
    hits = int(right[0].sum()), int(right[1].sum())
    best = np.sort(expected, axis=1)
    ties = int(((best[:, -1] == best[:, -2]) & counted).sum())
    return Compared(float(right[0].mean()), float(right[1].mean()), hits, ties, float(differences.max()), flips)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.prequential")
    parser.add_argument("streams", nargs="*", help="names, or CSV files with a column label")
    parser.add_argument("--rows", type=int, help="of each stream; 0: forests alone")
    parser.add_argument("--forest-rows", type=int, help="0: no forests")
    parser.add_argument("--delays", default="0,500")
    chosen = parser.parse_args()
    delays = [int(delay) for delay in chosen.delays.split(",")]
    for told in ("serving", "flows"):  # of versions before their first revision, and of revisions held for a moment
        logging.getLogger(told).setLevel(logging.ERROR)
    print(f"Prequential accuracy (values: mean absolute error)\n{head()}\n")
    print(
        f"{'stream':<40}{'rows':>6}  {'learner':<23}{'delay':>5}{'progressive_val':>16}{'ties':>5}{'River':>12}"
        f"{'ours':>12}{'max diff':>9}{'flips':>6}{'River s':>8}{'ours s':>8}"
    )
    for source, usual in _chosen(chosen.streams):
        rows, forest_rows = (
            given if given is not None else by_default
            for given, by_default in zip((chosen.rows, chosen.forest_rows), usual, strict=True)
        )
        if rows:
            data = read(source, rows)
            _print(data, fitting(data.schema), delays)
        if forest_rows:
            _print(read(source, forest_rows), {FOREST: forest(5)}, delays)


def _chosen(named: Sequence[str]) -> Iterator[tuple[str | Path, tuple[int, int]]]:
    if named:
        yield from ((one, (5_000, 1_500)) for one in named)
        return
    for name, rows in SHARED.items():
        path = FOLDER / f"{name}.csv.gz"
        if path.exists():
            yield path, rows
        else:
            print(f"{name} is not here", file=sys.stderr)


def _print(data: Stream, learners: Mapping[str, Learner], delays: Sequence[int]) -> None:
    for delay in delays:
        with memory_folder() as folder, running_valkey(folder, "no") as url:
            ours = of_tiltyard(folder, streams.connect(url), learners, data, delay)
        for name, learner in learners.items():
            river = of_river(learner, data, delay)
            found = compare(river, ours[name], data)
            print(
                f"{data.name.removesuffix('.csv.gz'):<40}{len(data.rows):>6}  {name:<23}{delay:>5}"
                f"{river.progressive:>16.6f}{found.ties:>5}{found.river:>12.6f}{found.ours:>12.6f}"
                f"{found.difference:>9.1e}{found.flips:>6}{river.seconds:>8.1f}{ours[name].seconds:>8.1f}",
                flush=True,
            )


@contextlib.contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder in memory, where the system has one: each label is a checkpoint here, and disks take 5 ms to sync."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


if __name__ == "__main__":
    main()
