"""River models as ONNX graphs that answer what River answers, computed in double.

>>> from river import linear_model, preprocessing
>>> model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
>>> onnx_model = to_onnx(model, schema)  # doctest: +SKIP

Missing numbers and categories act as absent keys do in River, unseen categories likewise; a class that was never seen
has probability 0, and a model that has no opinion yet answers equal probabilities, or 0. Differences are those of the
order of summation: below 1e-12 of the sum's largest term.
"""

# River takes seconds to import, and a graph without a model of its own needs none of it: it is imported at need.

from typing import Any

import numpy as np
import onnx

from contracts.schema import Schema
from learners.export.frame import Frame, NotExportable
from learners.export.graph import Graph

__all__ = ["NotExportable", "supported", "to_onnx", "weights"]


def to_onnx(model: Any, schema: Schema) -> onnx.ModelProto:
    """The graph of a River estimator, or of a pipeline that ends in one, with the schema's signature.

    A binary label is learned as bool (whether it is the second class), other classes as their text. Weights are
    overridable initializers. Raises NotExportable, naming the part that has no exact equivalent.
    """
    from learners.export import estimators

    graph = Graph(schema)
    return graph.finish(estimators.emit(model, Frame.of_inputs(graph), alone=True), type(model).__name__)


def weights(model: Any, schema: Schema) -> dict[str, np.ndarray]:
    """What learning changes in the graph of `to_onnx`, by initializer name.

    A session of an earlier export accepts them as inputs where all shapes are equal and no category or split is new.
    """
    from learners.export import estimators

    graph = Graph(schema)
    estimators.emit(model, Frame.of_inputs(graph), alone=True)
    return graph.weights


def supported() -> tuple[str, ...]:
    """Names of the estimators that have an exact equivalent."""
    from learners.export import estimators

    return estimators.supported()
