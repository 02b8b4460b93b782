"""River models as ONNX graphs that answer what River answers, computed in double.

>>> from river import linear_model, preprocessing
>>> model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
>>> onnx_model = to_onnx(model, schema)  # doctest: +SKIP

Of models that answer a label alone in River, a OneVsOneClassifier and an OutputCodeClassifier give it probability 1,
and a VotingClassifier answers the shares of the sums that it chooses from. An anomaly scorer answers `score_one`: give
it a schema whose label is a regression, since that is one number.

Missing numbers and categories act as absent keys do in River, unseen categories likewise; a class that was never seen
has probability 0, and a model that has no opinion yet answers equal probabilities, or 0. Differences are those of the
order of summation: below 1e-12 of the sum's largest term.

A model that goes on learning is exported in revisions, whose graph stays as long as only its weights change:

>>> first = revision(model, schema)  # doctest: +SKIP
>>> second = revision(model, schema, first)  # doctest: +SKIP
>>> session.run(["scores"], {**inputs, **second.weights})  # of first.onnx, where graph_sha256 is equal # doctest: +SKIP
"""

# River takes seconds to import, and a graph without a model of its own needs none of it: it is imported at need.

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from contracts.schema import Schema
from learners.export.frame import Frame, NotExportable
from learners.export.graph import Graph, structure_sha256
from learners.export.memo import Memo

__all__ = ["NotExportable", "Revision", "revision", "supported", "to_onnx"]


def to_onnx(model: Any, schema: Schema) -> onnx.ModelProto:
    """The graph of a River estimator, or of a pipeline that ends in one, with the schema's signature.

    A binary label is learned as bool (whether it is the second class), other classes as their text. Weights are
    overridable initializers. Raises NotExportable, naming the part that has no exact equivalent.
    """
    graph = Graph(schema)
    return graph.finish(_emit(model, graph), type(model).__name__)


@dataclass(frozen=True)
class Revision:
    """One state of a model: a graph that may be older, and the weights with which it answers as the model does."""

    onnx: bytes
    """The graph as it was when its structure last changed, with the weights of then: it stands alone."""
    weights: dict[str, np.ndarray]
    """The newest value float64 of every overridable initializer; tables among them may have more or fewer rows."""
    graph_sha256: str
    """Of the structure: revisions with an equal one may exchange weights."""
    memo: Memo = field(default_factory=Memo, repr=False, compare=False)
    """Makes the next export cheaper, and nothing else."""


def revision(model: Any, schema: Schema, previous: Revision | None = None) -> Revision:
    """The model as it is now; `onnx` is that of the previous revision while the structure is that one's.

    Raises NotExportable.
    """
    graph = Graph(schema, None if previous is None else previous.memo)
    structure = graph.structure(_emit(model, graph), type(model).__name__)
    digest = structure_sha256(structure)
    if previous is not None and digest == previous.graph_sha256:
        return Revision(previous.onnx, graph.weights, digest, graph.memo)
    onnx.checker.check_model(structure)
    return Revision(graph.filled(structure).SerializeToString(), graph.weights, digest, graph.memo)


def supported() -> tuple[str, ...]:
    """Names of the estimators that have an exact equivalent."""
    from learners.export import estimators

    return estimators.supported()


def _emit(model: Any, graph: Graph) -> str:
    from learners.export import estimators

    return estimators.emit(model, Frame.of_inputs(graph), alone=True)
