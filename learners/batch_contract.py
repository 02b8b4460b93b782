"""What every batch learner must keep, as `online_contract` has it for online ones."""

import pickle
import time
from collections.abc import Callable

import numpy as np

from learners import batch, elsewhere
from learners.batch_zoo import table
from learners.case import Case, valid
from learners.parity import BATCH_TOLERANCE, require_parity
from learners.promise import Broken, require


def fits(case: Case) -> str:
    """It can be fitted on the rows, missing values and all."""
    try:
        fitted = case.fitted
    except batch.CannotFit as error:
        raise Broken(error.reason) from None
    name = next(iter(fitted.metrics))
    return (
        f"{fitted.fitted_rows} rows; on the newest {fitted.held_out_rows}, {name} {fitted.metrics[name]:.3g} "
        f"where the {'mean' if case.data.schema.label.is_regression else 'majority'} has "
        f"{fitted.metrics[f'baseline_{name}']:.3g}"
    )


def inputs_unchanged(case: Case) -> str:
    """Scoring does not write into the table that it is given."""
    frame = table(case.data.schema, case.asked)
    before = frame.copy(deep=True)
    case.fitted.pipeline.predict(frame)
    require(frame.equals(before), "scoring changed its table")
    return f"{len(frame)} rows as they were"


def scores_are_valid(case: Case) -> str:
    """One finite value, or a probability for each class; also for missing values and for what was never seen."""
    valid(case.fitted.scores(case.asked), case.data, "fitted")
    return f"{len(case.asked)} rows"


def same_rows_same_scores(case: Case) -> str:
    """Fitted twice with one seed, it scores alike to the last bit."""
    same = np.array_equal(case.fitted.scores(case.asked), case.fit().scores(case.asked))
    require(same, "fitted again on the same rows, it scores otherwise: give it the seed as random_state")
    return "fitted twice"


def same_scores_restored(case: Case) -> str:
    """A pickle of it scores alike to the last bit."""
    try:
        stored = pickle.dumps(case.fitted.pipeline)
        restored = pickle.loads(stored)
    except Exception as error:
        raise Broken(f"it cannot be stored: {type(error).__name__}: {error}") from error
    frame = table(case.data.schema, case.asked)
    same = np.array_equal(restored.predict(frame), case.fitted.pipeline.predict(frame))
    require(same, "restored, it answers otherwise")
    return f"stored in {len(stored):,} bytes"


def same_scores_in_every_process(case: Case) -> str:
    """Processes with different PYTHONHASHSEED come to equal scores."""
    return elsewhere.require_equal(case.learner, case.data)


def exports_exactly(case: Case) -> str:
    """Its ONNX graph answers what scikit-learn answers, and no label flips."""
    graph, name = batch.export(case.fitted), type(case.fitted.pipeline).__name__
    found = require_parity(name, graph, case.fitted.scores, case.data.schema, case.asked, BATCH_TOLERANCE)
    return f"max difference {found.max_abs_difference:.1g}, 0 flips, on {found.rows} rows"


def cost(case: Case) -> str:
    """Not a check: what a fit and a score cost."""
    began = time.perf_counter()
    fitted = case.fit()
    fit_s, began = time.perf_counter() - began, time.perf_counter()
    fitted.scores(case.asked)
    score_s = (time.perf_counter() - began) / len(case.asked)
    return f"fit {fit_s:.2f} s on {fitted.fitted_rows} rows, score {1e6 * score_s:.0f} us"


CHECKS: dict[str, Callable[[Case], str]] = {
    "it can be fitted": fits,
    "inputs stay as they were": inputs_unchanged,
    "scores are valid": scores_are_valid,
    "equal rows give equal scores": same_rows_same_scores,
    "a restored one scores alike": same_scores_restored,
    "equal scores in every process": same_scores_in_every_process,
    "the ONNX graph is exact": exports_exactly,
    "cost": cost,
}
