"""Building one's own learner when the configuration is read, so that what can never serve is refused at once."""

from contracts.config import Learner
from contracts.quantities import ConfigError
from contracts.schema import Schema
from learners import batch, catalogue
from learners.export import NotExportable, to_onnx
from learners.online import LearnerFailed, OnlineLearner
from learners.synthetic import examples

_ROWS = 60


def refuse_unfit(learner: Learner, schema: Schema) -> None:
    """Raises ConfigError where the learner cannot be built, has no exact ONNX graph, or learns no mini-batches.

    It is tried on a few generated rows, since some estimators have parts only once they have learned. If those rows are
    not for it, `tiltyard check-learner --log` has real ones.
    """
    try:
        if learner.kind == "batch":
            _try_batch(learner, schema)
        else:
            _try_online(catalogue.build_online(learner, schema), schema)
    except NotExportable as error:
        raise ConfigError(f"learner: {error}") from None


def _try_online(online: OnlineLearner, schema: Schema) -> None:
    to_onnx(online.model, schema)
    try:
        online.learn(*examples(schema, online.mini_batch or _ROWS).pairs)
        online.scores_one(examples(schema, 1).rows[0])
    except LearnerFailed as error:
        if online.mini_batch is not None:
            raise ConfigError(f"mini_batch: {error.reason}; leave mini_batch out") from None
        return
    to_onnx(online.model, schema)


def _try_batch(learner: Learner, schema: Schema) -> None:
    catalogue.build_batch(learner, schema)
    data = examples(schema, 5 * _ROWS)
    try:
        fitted = batch.fit(learner, schema, data.rows, data.labels, learner.seed, 0.2, lambda _: None)
    except batch.CannotFit:
        return
    batch.export(fitted)
