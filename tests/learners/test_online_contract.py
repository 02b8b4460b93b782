"""What every online learner of the catalogue keeps, on every stream it fits."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from contracts.config import Learner
from learners.catalogue import build_online
from learners.export import graph, to_onnx
from learners.online import OnlineLearner
from learners.parity import ONLINE_TOLERANCE, compare, parity
from tests.learners.streams import Stream, case_id, cases, stream

LONG = {("adaptive_random_forest", "Bananas"), ("adaptive_random_forest", "ImageSegments")}


def _case(learner: Learner, name: str) -> Any:
    return pytest.param(learner, name, marks=[pytest.mark.soak] if (learner.algorithm, name) in LONG else [])


every_case = pytest.mark.parametrize(("learner", "name"), [_case(*case) for case in cases("online")], ids=case_id)


def trained(learner: Learner, stream: Stream, rows: int) -> OnlineLearner:
    """The learner after the stream's first rows."""
    online = build_online(learner, stream.schema)
    for row, label in zip(stream.rows[:rows], stream.labels, strict=False):
        online.learn_one(row, label)
    return online


@every_case
def test_the_graph_answers_what_river_answers_at_every_point_of_training(learner: Learner, name: str) -> None:
    """From before the first label to the last, scores differ by rounding only and no label flips."""
    data = stream(name)
    points = {0, 1, 2, 10, 60, len(data.rows) // 3, len(data.rows)}
    sample = data.rows[:: max(1, len(data.rows) // 400)]
    online = build_online(learner, data.schema)
    for seen, (row, label) in enumerate([*data, (data.rows[0], data.labels[0])]):
        if seen in points:
            onnx_bytes = to_onnx(online.model, data.schema).SerializeToString()
            found = parity(onnx_bytes, online.score_many, data.schema, sample)
            assert found.max_abs_difference <= ONLINE_TOLERANCE
            assert found.flips == 0
        online.learn_one(row, label)


@every_case
def test_scores_are_finite_and_probabilities_sum_to_one(learner: Learner, name: str) -> None:
    """A score is a probability for each class, or one finite value."""
    data = stream(name)
    scores = trained(learner, data, 300).score_many(data.rows)
    assert scores.shape == (len(data.rows), data.schema.label.width)
    assert np.isfinite(scores).all()
    if not data.schema.label.is_regression:
        assert (scores >= 0).all()
        assert np.allclose(scores.sum(axis=1), 1)


@every_case
def test_asking_changes_nothing(learner: Learner, name: str) -> None:
    """Scoring leaves the state as it was, also before the first label and for features never seen."""
    data = stream(name)
    for seen in (0, 100):
        online = trained(learner, data, seen)
        before = online.state_hash()
        online.score_many(data.rows[-50:])
        assert online.state_hash() == before


@every_case
def test_rows_are_left_as_they_were(learner: Learner, name: str) -> None:
    """Learning and scoring do not write into their inputs."""
    data = stream(name)
    rows: Any = [list(row) for row in data.rows[:50]]
    expected = copy.deepcopy(rows)
    online = build_online(learner, data.schema)
    for row, label in zip(rows, data.labels, strict=False):
        online.scores_one(row)
        online.learn_one(row, label)
    assert rows == expected


@every_case
def test_a_learner_restored_from_its_pickle_goes_on_as_if_nothing_had_happened(learner: Learner, name: str) -> None:
    """Same state hash, same scores to the last bit, same state after learning on."""
    data = stream(name)
    half, end = len(data.rows) // 4, len(data.rows) // 2
    undisturbed = trained(learner, data, half)
    restored = pickle.loads(pickle.dumps(undisturbed))
    assert restored.learned == half
    assert restored.state_hash() == undisturbed.state_hash()
    for row, label in list(data)[half:end]:
        assert restored.scores_one(row) == undisturbed.scores_one(row)
        undisturbed.learn_one(row, label)
        restored.learn_one(row, label)
    assert restored.state_hash() == undisturbed.state_hash()


@every_case
def test_two_learners_of_the_same_labels_are_equal_and_of_others_are_not(learner: Learner, name: str) -> None:
    """The state hash tells equal states from different ones."""
    data = stream(name)
    first, second = trained(learner, data, 120), trained(learner, data, 120)
    assert first.state_hash() == second.state_hash()
    second.learn_one(data.rows[120], data.labels[120])
    assert first.state_hash() != second.state_hash()


@every_case
def test_weights_overridden_in_an_old_session_answer_as_a_new_one(learner: Learner, name: str) -> None:
    """Where no category or split is new, an earlier export's session with later weights answers as the later model."""
    from learners.export import weights

    data = stream(name)
    online = trained(learner, data, 300)
    for row, label in list(data)[250:350]:
        old, before = to_onnx(online.model, data.schema), weights(online.model, data.schema)
        online.learn_one(row, label)
        after = weights(online.model, data.schema)
        if {key: value.shape for key, value in before.items()} == {key: value.shape for key, value in after.items()}:
            break
    else:
        pytest.fail("every label changed a shape")
    session = graph.session(old.SerializeToString())
    rows = data.rows[:50]
    (scores,) = session.run(["scores"], {**data.schema.tensors(rows), **after})
    found = compare(online.score_many(rows), scores)
    assert (found.max_abs_difference <= ONLINE_TOLERANCE, found.flips) == (True, 0)
