"""Does a graph answer what its model answers? Measured through onnxruntime, on real rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from contracts import releases
from contracts.schema import Schema, Value
from learners.export import Revision, graph
from learners.export.frame import NotExportable

ONLINE_TOLERANCE = 1e-9
BATCH_TOLERANCE = 1e-5

Predict = Callable[[Sequence[Sequence[Value]]], np.ndarray]


@dataclass(frozen=True)
class Parity:
    """What a comparison found. Differences of values are relative to the value where that exceeds 1."""

    rows: int
    max_abs_difference: float
    flips: int
    """Rows whose most probable class differs."""


def parity(onnx_bytes: bytes, predict: Predict, schema: Schema, rows: Sequence[Sequence[Value]]) -> Parity:
    """How far the graph is from `predict`, which answers float64[n, k], on rows in schema order."""
    return compare(predict(rows), graph.run(graph.session(onnx_bytes), schema, rows))


def require_parity(
    name: str,
    onnx_bytes: bytes,
    predict: Predict,
    schema: Schema,
    rows: Sequence[Sequence[Value]],
    tolerance: float = BATCH_TOLERANCE,
) -> Parity:
    """The parity, where it is good enough to serve. Raises NotExportable where it is not."""
    found = parity(onnx_bytes, predict, schema, rows)
    if not found.max_abs_difference <= tolerance or found.flips:  # a NaN is beyond every tolerance
        raise NotExportable(
            name,
            f"on {found.rows} rows its graph differs by up to {found.max_abs_difference:.3g} (tolerance {tolerance:g}) "
            f"and flips {found.flips} labels",
        )
    return found


class Checker:
    """Compares revision after revision with what their model answered; a session is kept while the graph stays."""

    def __init__(self, schema: Schema):
        self._schema, self._graph = schema, ""
        self._session: Any = None

    def has(self, revision: Revision) -> bool:
        """Whether its graph is the one at hand: else a session is built, in milliseconds instead of a tenth of one."""
        return revision.graph_sha256 == self._graph

    def fault(
        self, revision: Revision, rows: Sequence[Sequence[Value]], scores: Sequence[Sequence[float]], tolerance: float
    ) -> str | None:
        """What is wrong with the graph, given the model's scores of rows in schema order; None where nothing is."""
        try:
            if not self.has(revision):
                self._session, self._graph = graph.session(revision.onnx), revision.graph_sha256
            answers = self._session.run(["scores"], {**self._schema.tensors(rows), **revision.weights})[0]
        except Exception as error:  # noqa: BLE001  # onnxruntime raises many types, none of them public
            self._graph = ""
            return f"ONNX Runtime cannot run it: {error}"
        found = compare(np.array(scores, np.float64), np.asarray(answers, np.float64))
        if found.max_abs_difference <= tolerance and not found.flips:
            return None
        return f"of {found.rows} rows, {found.flips} get another label, and scores differ by up to " + (
            f"{found.max_abs_difference:.3g}, more than {tolerance:g}"
        )


def compare(expected: np.ndarray, found: np.ndarray) -> Parity:
    """The parity of two score arrays float64[n, k]."""
    if not len(expected):
        return Parity(0, 0.0, 0)
    differences = np.abs(expected - found)
    if expected.shape[1] == 1:
        differences = differences / np.maximum(1.0, np.abs(expected))
        return Parity(len(expected), float(differences.max()), 0)
    return Parity(len(expected), float(differences.max()), releases.flips(expected, found))
