"""What the gate chooses on real streams, and what the user got by it beside every fixed choice.

Each question is scored by every version before any label of it is known; labels come `DELAY` questions later, online
learners learn each, the batch learner is refitted every so many labels, and the gate looks after each hundred with
the default policy. Everything but the wire is what runs in production: learners, evidence, verdicts, the watch on a
promoted champion. Fixed choices: the first fit for ever, the newest fit, each online learner alone.

`python -m benchmarks.choices [--rows N] [STREAM ...]`: names or CSV files with a column `label`; without any, the real
streams that lie beside the project.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._head import head
from contracts import events
from contracts.config import Learner
from contracts.gate_rules import Gate
from contracts.releases import Board
from contracts.schema import Schema
from data import streams as sources
from learners import batch
from learners.catalogue import build_online
from registry.guards import judge
from registry.matured import Matured
from registry.tenure import Record
from tests.learners.streams import FOLDER

STREAMS = {
    "elec2": (45_312, 1_800.0),
    "acs_employment_ma_2015_2018": (60_000, 450.0),
    "nycflights13_delay15": (40_000, 96.0),
    "bike_sharing_hourly_reg": (17_379, 3_600.0),
}
"""Rows, and seconds from one to the next: a comparison ends after 30 days."""
ONLINE = {1: "linear", 2: "hoeffding_tree"}
BATCH = "hist_gradient_boosting"
DELAY, LOOK, REFIT, WINDOW, FIRST_FIT, BOOTSTRAP = 100, 100, 2_000, 20_000, 1_000, 200
START_S = 1_600_000_000
DECIDED = ("retire", "give_up", "inconclusive")


@dataclass
class Run:
    """One stream on its way."""

    schema: Schema
    step_s: float
    rules: Gate
    learners: dict[int, Any]
    record: Record
    board: Board = Board()  # noqa: RUF009  # a frozen struct
    fitted: dict[int, Any] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    barred: set[int] = field(default_factory=set)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.choices")
    parser.add_argument("--rows", type=int)
    parser.add_argument("streams", nargs="*")
    chosen = parser.parse_args()
    names = chosen.streams or [str(FOLDER / f"{name}.csv.gz") for name in STREAMS]
    print(f"What the gate chose, and what it was worth\n{head()}\n")
    for name in names:
        known = Path(name).name.removesuffix(".csv.gz")
        rows, step_s = STREAMS.get(known, (20_000, 60.0))
        play(name, known, chosen.rows or rows, step_s)


def play(source: str, name: str, count: int, step_s: float) -> None:
    found = sources.stream(source, "label")
    pairs = list(islice(found, count))
    schema = found.schema
    rows, labels = [schema.decode(x) for x, _ in pairs], [schema.label.decode(y) for _, y in pairs]
    began = time.perf_counter()
    run = Run(
        schema,
        step_s,
        Gate(),
        {version: build_online(Learner(algorithm=learner), schema) for version, learner in ONLINE.items()},
        Record(Gate(), "absolute" if schema.label.is_regression else "zero_one"),
    )
    answers = _go(run, rows, labels)
    print(f"{name}: {len(rows):,} rows in {time.perf_counter() - began:.0f} s")
    for line in run.told:
        print(f"  {line}")
    worth = {choice: _quality(schema, scores, labels, FIRST_FIT + DELAY) for choice, scores in answers.items()}
    what, best = ("mean absolute error", min) if schema.label.is_regression else ("accuracy", max)
    fixed = {choice: figure for choice, figure in worth.items() if choice != "the gate"}
    hindsight = best(fixed, key=lambda choice: fixed[choice])
    for choice, figure in worth.items():
        print(
            f"  {choice:<34}{figure:10.4f} {what}{'   (best fixed choice in hindsight)' if choice == hindsight else ''}"
        )
    print(flush=True)


def _go(run: Run, rows: Sequence[Any], labels: Sequence[Any]) -> dict[str, np.ndarray]:
    """Scores float64[n, k] of the gate's choice and of every fixed one."""
    names = ["the gate", *ONLINE.values(), "first fit for ever", "newest fit"]
    answers = {name: np.tile(np.array(run.schema.label.prior_scores), (len(rows), 1)) for name in names}
    waiting: list[Matured] = []
    for begin in range(0, len(rows), LOOK):
        block = range(begin, min(begin + LOOK, len(rows)))
        fitted = {version: one.scores([rows[i] for i in block]) for version, one in run.fitted.items()}
        for at, i in enumerate(block):
            scores = {version: learner.scores_one(rows[i]) for version, learner in run.learners.items()}
            for version, learner in ONLINE.items():
                answers[learner][i] = scores[version]
            scores |= {version: tuple(of[at].tolist()) for version, of in fitted.items()}
            if fitted:
                answers["first fit for ever"][i], answers["newest fit"][i] = fitted[3][at], fitted[max(fitted)][at]
            if run.board.champion is not None:
                answers["the gate"][i] = scores[run.board.champion]
                waiting.append(_asked(run, i, scores, labels[i]))
            if i >= DELAY:
                for learner in run.learners.values():
                    learner.learn_one(rows[i - DELAY], labels[i - DELAY])
        matured = [one for one in waiting if one.offset < events.span(_at(run, block[-1] - DELAY + 1))]
        waiting = waiting[len(matured) :]
        run.record.add(matured)
        _decide(run, block[-1] + 1)
        _refit(run, rows, labels, block[-1] + 1 - DELAY)
    return answers


def _at(run: Run, i: int) -> float:
    """Epoch seconds at which row i is asked."""
    return START_S + i * run.step_s


def _asked(run: Run, i: int, scores: dict[int, tuple[float, ...]], label: Any) -> Matured:
    champion = run.board.champion
    assert champion is not None
    shadows = {version: (0, scores[version]) for version in run.board.challengers}
    column = label if run.schema.label.is_regression else float(run.schema.label.index(label))
    return Matured(events.span(_at(run, i)), champion, scores[champion], shadows, column)


def _decide(run: Run, asked: int) -> None:
    """The promote flow, without its processes."""
    if run.board.champion is None:
        if asked >= BOOTSTRAP + DELAY:
            _crown(run, asked, 1, None, "the first learner with enough labels")
        return
    watch = run.record.watch_facts()
    if watch.alarmed_at is not None and run.board.previous is not None:
        run.barred.add(run.board.champion)
        _crown(run, asked, run.board.previous, None, f"rolled back after {watch.alarmed_at:,} pairs")
        return
    facts = run.record.comparison_facts(run.board.challengers, {}, _at(run, asked))
    verdicts = {one.challenger: judge(one, run.rules, _at(run, asked)) for one in facts}
    others = {version: one for version, one in verdicts.items() if version != run.board.previous}
    if winners := [version for version, one in others.items() if one.decision == "promote"]:
        best = max(winners, key=lambda version: verdicts[version].lower)
        _crown(run, asked, best, run.board.champion, verdicts[best].reason)
        return
    for version, verdict in others.items():
        if verdict.decision in DECIDED and version not in ONLINE:
            run.told.append(f"row {asked:>6,}: {_name(version)} left the shadow: {verdict.reason}")
            rest = tuple(other for other in run.board.challengers if other != version)
            run.board = Board(run.board.champion, rest, run.board.previous)


def _crown(run: Run, asked: int, version: int, previous: int | None, reason: str) -> None:
    run.told.append(f"row {asked:>6,}: {_name(version)} answers: {reason}")
    others = {*ONLINE, *run.board.challengers, run.board.champion} - {version, None} - run.barred
    run.board = Board(version, tuple(sorted(one for one in others if one is not None)), previous)
    run.record.begin(run.board, events.span(_at(run, asked)) - 1)


def _refit(run: Run, rows: Sequence[Any], labels: Sequence[Any], known: int) -> None:
    """A new fit each `REFIT` labels; it becomes a challenger unless the one before it is still being compared."""
    if known < FIRST_FIT or (known - FIRST_FIT) % REFIT:
        return
    window = slice(max(0, known - WINDOW), known)
    learner = Learner(algorithm=BATCH, kind="batch")
    version = 3 + (known - FIRST_FIT) // REFIT
    run.fitted[version] = batch.fit(learner, run.schema, rows[window], labels[window], 0, 1e-9, lambda text: None)
    for old in sorted(run.fitted)[1:-1]:
        if old not in run.board.versions:
            del run.fitted[old]
    is_free = not any(other not in ONLINE and other != run.board.previous for other in run.board.challengers)
    if is_free and run.board.champion is not None:
        run.board = Board(run.board.champion, (*run.board.challengers, version), run.board.previous)
        run.record.begin(run.board, run.record.since)


def _name(version: int) -> str:
    return ONLINE.get(version) or f"{BATCH}, fit {version - 2}"


def _quality(schema: Schema, scores: np.ndarray, labels: Sequence[Any], since: int) -> float:
    if schema.label.is_regression:
        return float(np.abs(scores[since:, 0] - np.array(labels[since:], float)).mean())
    truth = np.array([schema.label.index(label) for label in labels[since:]])
    return float((scores[since:].argmax(axis=1) == truth).mean())


if __name__ == "__main__":
    main()
