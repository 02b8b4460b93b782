"""Exactness, cost and speed of every exported learner: `python -m benchmarks.export [ROWS]`.

Each learner learns a stream (real ones that lie beside the project, River's generators with drifting concepts, mixed
ones with categories: tests/learners/streams.py), is exported, and answers the same rows through onnxruntime (one
thread) and by itself. Publishing is measured by revisions, each 25 labels after the last one. A second table shows the
cost of publishing against what a model has learned.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table

from benchmarks._head import head
from contracts.config import Learner
from contracts.schema import Value
from learners import batch_zoo
from learners.batch import export, fit
from learners.catalogue import build_online
from learners.export import graph, revision, to_onnx
from learners.online import OnlineLearner
from learners.parity import compare
from tests.learners.streams import LONG, SHARED, Stream, learners, long
from tests.learners.test_exactness import WITH_TEXTS, builders
from tests.learners.test_export_anomalies import SCORERS, scores, unlabelled

ZOO = ("Agrawal", "RandomRBFDrift", "FriedmanDrift")
GROWING = ("elec2", "nycflights13_delay15", "bike_sharing_hourly_reg")
REVISIONS, LABELS = 20, 25


class Scorer(OnlineLearner):
    """An anomaly scorer, which learns without labels and answers `score_one`."""

    def learn_one(self, row: Sequence[Value], label: str | float) -> None:
        """Learn the row alone."""
        self.model.learn_one(self.schema.as_dict(row))

    def score_many(self, rows: Sequence[Sequence[Value]]) -> np.ndarray:
        """float64[n, 1]: its scores."""
        return scores(self.model, self.schema, rows)


@dataclass(frozen=True)
class Cost:
    """What revisions cost at one point of training."""

    export_ms: float
    """Of a graph from nothing."""
    publish_ms: float
    """Median of revisions, each from the one before it."""
    new_graphs: int
    """How many of the revisions had another structure."""
    kilobytes: float
    weights_kilobytes: float


def main(rows: int = 5_000) -> None:
    """Print both tables; `rows` bounds each stream."""
    title = f"{head()}, onnxruntime {onnxruntime.__version__}"
    table = _table(f"Exported learners: {title}", "learner", "stream", "rows", "max diff", "flips", "export ms")
    for column in ("publish ms", "new graphs", "kB", "weights kB", "ORT us/row", "itself us/row", "ratio"):
        table.add_column(column, justify="right")
    present = [data for name in LONG if (data := long(name, rows)) is not None]
    for data in present:
        for name, online in _online(data).items():
            table.add_row(name, data.name, *_measured(online, unlabelled(data) if name in SCORERS else data))
            print(f"{name} on {data.name}", file=sys.stderr)
        if data.name in SHARED:
            for learner in learners("batch", data.schema.label.task, data.name in WITH_TEXTS):
                table.add_row(f"batch {learner.algorithm}", data.name, *_fitted(learner, data))
    Console(width=190).print(table)
    Console(width=170).print(_growth(f"Cost of publishing against size: {title}", 4 * rows))


def _table(title: str, first: str, second: str, *others: str) -> Table:
    table = Table(title=title)
    table.add_column(first, no_wrap=True)
    table.add_column(second, no_wrap=True)
    for column in others:
        table.add_column(column, justify="right")
    return table


def _online(data: Stream) -> dict[str, OnlineLearner]:
    """Every learner of the catalogue, forests of ten trees; and the rest of River's on its generators."""
    found = {one.algorithm: _of_catalogue(one, data) for one in _catalogue(data)}
    if data.name in ZOO:
        for name, build in builders(data.name).items():
            if not name.startswith("catalogue"):
                found[name] = OnlineLearner(name, build(data.schema), data.schema)
        for name in ("HalfSpaceTrees", "OneClassSVM"):
            found[name] = Scorer(name, SCORERS[name].clone(), unlabelled(data).schema)
    return found


def _catalogue(data: Stream) -> list[Learner]:
    return learners("online", data.schema.label.task, data.name in WITH_TEXTS)


def _of_catalogue(learner: Learner, data: Stream) -> OnlineLearner:
    forest = learner.algorithm == "adaptive_random_forest"
    params: dict[str, Any] = {"n_models": 10} if forest else {}
    return build_online(Learner(algorithm=learner.algorithm, params=params), data.schema)


def _measured(online: OnlineLearner, data: Stream) -> list[str]:
    pairs = list(data)
    for row, label in pairs[: -REVISIONS * LABELS]:
        online.learn_one(row, label)
    cost = _cost(online, pairs[-REVISIONS * LABELS :])
    x, model = data.schema.as_dict(data.rows[0]), online.model
    ask = model.predict_one if data.schema.label.is_regression else model.predict_proba_one
    ask = model.score_one if isinstance(online, Scorer) else ask
    onnx_bytes = to_onnx(online.model, data.schema).SerializeToString()
    compared, speeds = _answers(onnx_bytes, online.score_many, data, lambda: ask(x), 500)
    return [*compared, *_told(cost), *speeds]


def _fitted(learner: Any, data: Stream) -> list[str]:
    fitted = fit(learner, data.schema, data.rows, data.labels, 0, 0.2, lambda _: None)
    one = batch_zoo.table(data.schema, data.rows[:1])
    ask = fitted.pipeline.predict if data.schema.label.is_regression else fitted.pipeline.predict_proba
    export_s, onnx_bytes = _timed(lambda: export(fitted), repeat=3)
    compared, speeds = _answers(onnx_bytes, fitted.scores, data, lambda: ask(one), 10)
    return [*compared, f"{export_s * 1e3:.1f}", "", "", f"{len(onnx_bytes) / 1e3:.1f}", "", *speeds]


def _answers(
    onnx_bytes: bytes, predict: Any, data: Stream, ask: Callable[[], Any], repeat: int
) -> tuple[list[str], list[str]]:
    """Rows, difference and flips; and the latencies of one row."""
    session, inputs = graph.session(onnx_bytes), data.schema.tensors(data.rows[:1])
    found = compare(predict(data.rows), graph.run(session, data.schema, data.rows))
    ort_s, _ = _timed(lambda: session.run(None, inputs), repeat=2000)
    own_s, _ = _timed(ask, repeat)
    return (
        [f"{found.rows}", f"{found.max_abs_difference:.1e}", f"{found.flips}"],
        [f"{ort_s * 1e6:.1f}", f"{own_s * 1e6:.1f}", f"{own_s / ort_s:.1f}"],
    )


def _cost(online: OnlineLearner, pairs: list[Any]) -> Cost:
    """Learns the pairs, a revision after every few."""
    export_s, _ = _timed(lambda: to_onnx(online.model, online.schema).SerializeToString(), repeat=3)
    latest, seconds, fresh = revision(online.model, online.schema), [], 0
    for at in range(0, len(pairs), LABELS):
        for row, label in pairs[at : at + LABELS]:
            online.learn_one(row, label)
        before, start = latest, time.perf_counter()
        latest = revision(online.model, online.schema, before)
        seconds.append(time.perf_counter() - start)
        fresh += latest.graph_sha256 != before.graph_sha256
    weights = sum(value.nbytes for value in latest.weights.values())
    return Cost(export_s * 1e3, median(seconds) * 1e3, fresh, len(latest.onnx) / 1e3, weights / 1e3)


def _told(cost: Cost) -> list[str]:
    sizes = [f"{cost.kilobytes:.1f}", f"{cost.weights_kilobytes:.1f}"]
    return [f"{cost.export_ms:.2f}", f"{cost.publish_ms:.2f}", f"{cost.new_graphs} of {REVISIONS}", *sizes]


def _growth(title: str, rows: int) -> Table:
    """Each learner of the catalogue at four points of longer streams."""
    table = _table(title, "learner", "stream", "labels", "export ms", "publish ms", "new graphs", "kB", "weights kB")
    for data in (data for name in GROWING if (data := long(name, rows)) is not None):
        for learner in _catalogue(data):
            online, pairs, learned = _of_catalogue(learner, data), list(data), 0
            for end in (rows // 20, rows // 4, rows // 2, len(pairs)):
                for row, label in pairs[learned : end - REVISIONS * LABELS]:
                    online.learn_one(row, label)
                cost = _cost(online, pairs[end - REVISIONS * LABELS : end])
                learned = end
                table.add_row(learner.algorithm, data.name, f"{end}", *_told(cost))
            print(f"{learner.algorithm} grown on {data.name}", file=sys.stderr)
    return table


def _timed(call: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """Median seconds of a call, and its last answer."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - start)
    return median(seconds), answer


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
