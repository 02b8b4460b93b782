"""Exactness, cost and speed of every exported learner: `python -m benchmarks.export [ROWS]`.

Each learner learns a real stream (of River's, or one that lies beside the project), is exported, and answers the same
rows through onnxruntime (one thread) and by itself. Bundled and mixed streams come from tests/learners/streams.py.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import onnxruntime
from rich.console import Console
from rich.table import Table

from benchmarks._head import head
from learners import batch_zoo
from learners.batch import export, fit
from learners.catalogue import build_online
from learners.export import graph, to_onnx
from learners.parity import parity
from tests.learners.streams import SHARED, STREAMS, Stream, learners, shared, stream

SHARED = ("elec2", "nycflights13_delay15", "bike_sharing_hourly_reg")


def main(rows: int = 20_000) -> None:
    """Print one table; `rows` bounds each stream."""
    table = Table(title=f"{head()}, onnxruntime {onnxruntime.__version__}")
    for column in ("learner", "stream"):
        table.add_column(column)
    for column in ("rows", "max diff", "flips", "export ms", "kB", "ORT us/row", "itself us/row", "ratio"):
        table.add_column(column, justify="right")
    present = [name for name in SHARED if (FOLDER / f"{name}.csv.gz").exists()]
    for name in [*STREAMS, *present]:
        data = shared(name, rows) if name in SHARED else stream(name)
        for kind in ("online", "batch"):
            for learner in learners(kind, data.schema.label.task, bool(data.schema.categorical_names)):
                table.add_row(f"{kind} {learner.algorithm}", name, *_measured(learner, data))
                print(f"{kind} {learner.algorithm} on {name}", file=sys.stderr)
    Console(width=160).print(table)


def _measured(learner: Any, data: Stream) -> list[str]:
    if "n_models" in learner.params:  # the tests' forests are small
        learner = msgspec.structs.replace(learner, params={**learner.params, "n_models": 10})
    predict, one, to_bytes = _online(learner, data) if learner.kind == "online" else _batch(learner, data)
    export_s, onnx_bytes = _timed(to_bytes, repeat=5)
    found = parity(onnx_bytes, predict, data.schema, data.rows)
    session, inputs = graph.session(onnx_bytes), data.schema.tensors(data.rows[:1])
    ort_s, _ = _timed(lambda: session.run(None, inputs), repeat=2000)
    own_s, _ = _timed(one, repeat=500 if learner.kind == "online" else 10)
    figures = [f"{found.rows}", f"{found.max_abs_difference:.1e}", f"{found.flips}", f"{export_s * 1e3:.2f}"]
    speeds = [f"{ort_s * 1e6:.1f}", f"{own_s * 1e6:.1f}", f"{own_s / ort_s:.1f}"]
    return [*figures, f"{len(onnx_bytes) / 1e3:.1f}", *speeds]


def _online(learner: Any, data: Stream) -> tuple[Any, Callable[[], Any], Callable[[], bytes]]:
    online = build_online(learner, data.schema)
    for row, label in data:
        online.learn_one(row, label)
    x, regression = data.schema.as_dict(data.rows[0]), data.schema.label.is_regression
    ask = online.model.predict_one if regression else online.model.predict_proba_one
    return online.score_many, lambda: ask(x), lambda: to_onnx(online.model, data.schema).SerializeToString()


def _batch(learner: Any, data: Stream) -> tuple[Any, Callable[[], Any], Callable[[], bytes]]:
    fitted = fit(learner, data.schema, data.rows, data.labels, 0, 0.2, lambda _: None)
    one = batch_zoo.table(data.schema, data.rows[:1])
    ask = fitted.pipeline.predict if data.schema.label.is_regression else fitted.pipeline.predict_proba
    return fitted.scores, lambda: ask(one), lambda: export(fitted)


def _timed(call: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """Median seconds of a call, and its last answer."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[repeat // 2], answer


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
