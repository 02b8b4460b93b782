"""What every online learner must keep.

Each check answers in a few words what it found, and raises Broken where the learner does not keep it.
"""

import copy
import math
import pickle
import time
from collections.abc import Callable
from typing import Any

from learners import elsewhere, state
from learners.case import Case, Row, valid
from learners.export import to_onnx
from learners.online import OnlineLearner, target
from learners.parity import ONLINE_TOLERANCE, require_parity
from learners.promise import Broken, require
from learners.synthetic import Examples, strangers


def can_be_built(case: Case) -> str:
    """Its builder gives it."""
    return f"a {type(case.fresh().model).__name__}"


def inputs_unchanged(case: Case) -> str:
    """Neither learning nor scoring writes into a row or into the dictionary that River is given."""
    rows, schema, model = case.data.rows[:50], case.data.schema, case.fresh().model
    ask = model.predict_one if schema.label.is_regression else model.predict_proba_one
    before = copy.deepcopy(rows)
    for row, label in zip(rows, case.data.labels, strict=False):
        x = schema.as_dict(row)
        expected = dict(x)
        _call(ask, x)
        require(x == expected, f"scoring changed its features from {expected} to {x}")
        _call(model.learn_one, x, target(schema.label, label))
        require(x == expected, f"learning changed its features from {expected} to {x}")
    require(rows == before, "it changed a row")
    return f"{len(rows)} rows as they were"


def asking_changes_nothing(case: Case) -> str:
    """Scoring leaves the state as it was, also before the first label and for what was never seen."""
    for seen in (0, 100):
        online = case.trained(seen)
        before = online.state_hash()
        online.score_many(case.asked[-50:])
        require(online.state_hash() == before, f"scoring changed its state after {online.learned} labels")
    return "same state after scoring"


def scores_are_valid(case: Case) -> str:
    """One finite value, or a probability for each class: never negative, together 1; also before the first label."""
    for seen in (0, 1, 300):
        online = case.trained(seen)
        valid(online.score_many(case.asked), case.data, f"after {online.learned} labels")
    return f"{len(case.asked)} rows before and after learning"


def survives_strangers(case: Case) -> str:
    """Missing optional features and categories never seen are learned and scored, also as the very first row."""
    rows = strangers(case.data.schema)
    for seen in (0, 300):
        online = case.trained(seen)
        block = Examples(case.data.schema, *_filled(rows, case))
        online.learn(*block.pairs)
        valid(online.score_many([*rows, *case.asked[:5]]), case.data, f"after {online.learned} labels")
    return f"{len(rows)} such rows learned and scored"


def _filled(rows: list[Row], case: Case) -> tuple[list[Row], list[str | float]]:
    """The rows with labels, filled up to a mini-batch."""
    count = max(len(rows), case.learner.mini_batch or 1)
    repeated = (rows * math.ceil(count / len(rows)))[:count]
    return repeated, (case.data.labels * math.ceil(count / len(case)))[:count]


def resumes_as_if_undisturbed(case: Case) -> str:
    """Half the labels, a pickle, and the other half give the state and the scores of all at once, to the last bit."""
    half, end = len(case) // 2, len(case)
    undisturbed = case.trained(half)
    try:
        stored = pickle.dumps(undisturbed)
        restored: OnlineLearner = pickle.loads(stored)
    except Exception as error:
        raise Broken(f"it cannot be stored: {type(error).__name__}: {error}") from error
    require(restored.learned == undisturbed.learned, "stored, it forgot how much it had learned")
    require(restored.state_hash() == undisturbed.state_hash(), "restored, its state differs from what was stored")
    for online in (undisturbed, restored):
        online.learn(*case.part(half, end).pairs)
    same = bool((undisturbed.score_many(case.asked) == restored.score_many(case.asked)).all())
    require(same, "restored, it learns on to other scores")
    require(restored.state_hash() == undisturbed.state_hash(), "restored, it learns on to another state")
    return f"stored after {half} labels in {len(stored):,} bytes"


def same_labels_same_state(case: Case) -> str:
    """Two built alike have equal states after equal labels, and different ones after others."""
    first = case.fresh()
    begin = first.state_hash()
    first.learn(*case.part(0, len(case) // 2).pairs)
    second = case.fresh()
    require(
        second.state_hash() == begin, "built again, it does not start anew: it shares what it learned, or is random"
    )
    second.learn(*case.part(0, len(case) // 2).pairs)
    require(first.state_hash() == second.state_hash(), "equal labels led to different states: give it the seed")
    second.learn(*case.part(len(case) // 2, len(case)).pairs)
    learned = state.digest(first.model) != state.digest(second.model)  # without the count of labels
    require(learned, "more labels left its state as it was: it does not learn")
    return f"equal after {first.learned} labels"


def same_state_in_every_process(case: Case) -> str:
    """Processes with different PYTHONHASHSEED come to equal states and scores."""
    return elsewhere.require_equal(case.learner, case.part(0, 400))


def exports_exactly(case: Case) -> str:
    """At many points of training its ONNX graph answers what River answers, and no label flips."""
    worst, online, seen = 0.0, case.fresh(), 0
    points = sorted({0, 1, 2, 10, 60, len(case) // 3, len(case)})
    for point in points:
        online.learn(*case.part(seen, point).pairs)
        seen = point
        graph = to_onnx(online.model, case.data.schema).SerializeToString()
        found = require_parity(
            type(online.model).__name__, graph, online.score_many, case.data.schema, case.asked, ONLINE_TOLERANCE
        )
        worst = max(worst, found.max_abs_difference)
    return f"max difference {worst:.1g}, 0 flips, on {len(case.asked)} rows at {len(points)} points of training"


def cost(case: Case) -> str:
    """Not a check: what a label and a score cost, and how much larger the state gets."""
    half, online = len(case) // 2, case.trained(len(case) // 2)
    small, more = len(state.dumps(online.model)), case.part(half, len(case))
    learning = _seconds(lambda: online.learn(*more.pairs)) / max(1, len(more.rows))
    scoring = _seconds(lambda: online.score_many(case.asked)) / len(case.asked)
    grown = (len(state.dumps(online.model)) - small) / max(1, len(more.rows)) * 1000
    return f"learn {1e6 * learning:.0f} us, score {1e6 * scoring:.0f} us, state {grown / 1000:+.1f} kB per 1,000 labels"


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _call(function: Callable[..., Any], *arguments: Any) -> None:
    try:
        function(*arguments)
    except Exception as error:
        raise Broken(f"{type(error).__name__}: {error}") from error


CHECKS: dict[str, Callable[[Case], str]] = {
    "it can be built": can_be_built,
    "inputs stay as they were": inputs_unchanged,
    "asking changes nothing": asking_changes_nothing,
    "scores are valid": scores_are_valid,
    "missing and new values are survived": survives_strangers,
    "a restored state goes on as if undisturbed": resumes_as_if_undisturbed,
    "equal labels give equal states": same_labels_same_state,
    "equal states in every process": same_state_in_every_process,
    "the ONNX graph is exact": exports_exactly,
    "cost": cost,
}
