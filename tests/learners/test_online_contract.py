"""What every online learner of the catalogue keeps, on every stream it fits."""

from functools import cache
from typing import Any

import pytest

from contracts.config import Learner
from learners.case import Case
from learners.contract import CHECKS, look
from learners.synthetic import Examples
from tests.learners.streams import case_id, cases, stream

LONG = {("adaptive_random_forest", "Bananas"), ("adaptive_random_forest", "ImageSegments")}


def _case(learner: Learner, name: str) -> Any:
    return pytest.param(learner, name, marks=[pytest.mark.soak] if (learner.algorithm, name) in LONG else [])


ELSEWHERE = {"equal states in every process", "cost"}  # test_state tries all at once; cost refuses nothing
BAYES = Learner(algorithm="naive_bayes", mini_batch=50)

every_case = pytest.mark.parametrize(("learner", "name"), [_case(*case) for case in cases("online")], ids=case_id)


@cache
def examples(name: str) -> Examples:
    """A stream as the contract takes it."""
    data = stream(name)
    return Examples(data.schema, list(data.rows), list(data.labels))


@every_case
@pytest.mark.parametrize("check", [name for name in CHECKS["online"] if name not in ELSEWHERE])
def test_every_learner_keeps_the_contract(learner: Learner, name: str, check: str) -> None:
    """What `learners.online_contract` asks of every learner, on every stream that it fits."""
    found = look(Case(learner, examples(name)), check)
    assert found.ok, found.told


@pytest.mark.parametrize("learner", [Learner(algorithm="linear", mini_batch=50), BAYES], ids=case_id)
@pytest.mark.parametrize("check", [name for name in CHECKS["online"] if name not in ELSEWHERE])
def test_a_learner_of_mini_batches_keeps_it_too(learner: Learner, check: str) -> None:
    """Scores, storage and export, with a block for a label."""
    found = look(Case(learner, examples("Phishing")), check)
    assert found.ok, found.told
