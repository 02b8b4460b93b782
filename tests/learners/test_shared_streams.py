"""Exactness of fitted pipelines on real streams that lie beside the project, where they do."""

import pytest

from contracts.config import Learner
from learners.batch import export, fit
from learners.parity import BATCH_TOLERANCE, parity
from tests.learners.streams import SHARED, case_id, learners, shared

CASES = [
    (learner, name)
    for name, task in SHARED.items()
    if not name.startswith("acs")
    for learner in learners("batch", task, name.startswith("nyc"))
]


@pytest.mark.parametrize(("learner", "name"), CASES, ids=case_id)
def test_real_rows_are_answered_exactly(learner: Learner, name: str) -> None:
    """Missing values and thousands of tail numbers: rounding only, and no label flips."""
    data = shared(name, 5000)
    if data is None:
        pytest.skip(f"{name} is not here")
    model = fit(learner, data.schema, data.rows, data.labels, 0, 0.2, lambda _: None)
    found = parity(export(model), model.scores, data.schema, data.rows[::2])
    assert found.max_abs_difference <= BATCH_TOLERANCE
    assert found.flips == 0
