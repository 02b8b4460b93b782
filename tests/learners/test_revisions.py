"""Revisions of a model that goes on learning: an old graph with new weights answers as a new export."""

import pickle
from typing import Any

import numpy as np
import onnx
import pytest
from river import linear_model

from contracts.config import Learner
from learners import zoo
from learners.catalogue import build_online
from learners.export import Revision, graph, revision, to_onnx
from learners.online import OnlineLearner
from learners.parity import ONLINE_TOLERANCE, compare
from tests.learners.streams import Stream, case_id, cases, mixed, stream
from tests.learners.test_ensembles import EAGER, head

LONG = {("adaptive_random_forest", "Bananas"), ("adaptive_random_forest", "ImageSegments")}


def _case(learner: Learner, name: str) -> Any:
    return pytest.param(learner, name, marks=[pytest.mark.soak] if (learner.algorithm, name) in LONG else [])


def revisions(online: OnlineLearner, data: Stream, every: int) -> list[tuple[Revision, np.ndarray]]:
    """Each revision with the learner's own scores of the sample, after every so many labels."""
    found: list[tuple[Revision, np.ndarray]] = []
    for i, (row, label) in enumerate(data):
        if i % every == 0:
            latest = revision(online.model, data.schema, found[-1][0] if found else None)
            found.append((latest, online.score_many(sample(data))))
        online.learn_one(row, label)
    return found


def sample(data: Stream) -> list[Any]:
    """Some of the rows, old and new."""
    return data.rows[:: max(1, len(data.rows) // 40)]


def answers(session: Any, latest: Revision, data: Stream) -> np.ndarray:
    """The scores of the sample by a session of some revision's graph, with this one's weights."""
    (scores,) = session.run(["scores"], {**data.schema.tensors(sample(data)), **latest.weights})
    return np.asarray(scores)


@pytest.mark.parametrize(("learner", "name"), [_case(*case) for case in cases("online")], ids=case_id)
def test_new_weights_in_the_session_of_an_old_graph_answer_as_a_new_export(learner: Learner, name: str) -> None:
    """To the last bit, and as River: the session lives as long as the structure, whatever the tables' sizes."""
    data = head(stream(name), 700)
    found = revisions(build_online(learner, data.schema), data, every=23)
    session, held = None, ""
    for latest, expected in found:
        if latest.graph_sha256 != held:
            session, held = graph.session(latest.onnx), latest.graph_sha256
        old = answers(session, latest, data)
        compared = compare(expected, old)
        assert (compared.max_abs_difference <= ONLINE_TOLERANCE, compared.flips) == (True, 0)
        own = graph.session(latest.onnx)
        assert np.array_equal(answers(own, latest, data), old)


@pytest.mark.parametrize(("learner", "name"), [_case(*case) for case in cases("online")], ids=case_id)
def test_a_revision_does_not_depend_on_those_before_it(learner: Learner, name: str) -> None:
    """What is taken over from the last export saves time and changes nothing: a fresh export gives the same bytes."""
    data = head(stream(name), 400)
    online = build_online(learner, data.schema)
    latest: Revision | None = None
    for i, (row, label) in enumerate(data):
        if i % 20 == 0:
            before, latest = latest, revision(online.model, data.schema, latest)
            fresh = revision(online.model, data.schema)
            assert latest.graph_sha256 == fresh.graph_sha256
            assert latest.weights.keys() == fresh.weights.keys()
            assert all(np.array_equal(latest.weights[key], fresh.weights[key]) for key in fresh.weights)
            if before is not None and before.graph_sha256 == latest.graph_sha256:
                assert latest.onnx is before.onnx
            else:
                assert latest.onnx == fresh.onnx == to_onnx(online.model, data.schema).SerializeToString()
        online.learn_one(row, label)


@pytest.mark.parametrize("algorithm", ["linear", "naive_bayes"])
def test_a_model_of_numbers_keeps_its_graph_from_its_first_label_on(algorithm: str) -> None:
    """Learning changes tensors, not the graph; before the first label, naive Bayes has another one."""
    for name in ("Phishing", "Bananas"):
        data = head(stream(name), 300)
        found = revisions(build_online(Learner(algorithm=algorithm), data.schema), data, every=10)
        assert len({latest.graph_sha256 for latest, _ in found[1:]}) == 1


def test_a_new_category_or_split_is_a_new_graph() -> None:
    """Where an old session could not know it."""
    for algorithm, params in (("linear", {}), ("hoeffding_tree", EAGER)):
        data = mixed("binary", 600)
        found = revisions(build_online(Learner(algorithm=algorithm, params=params), data.schema), data, every=20)
        graphs = len({latest.graph_sha256 for latest, _ in found})
        assert 2 < graphs < (10 if algorithm == "linear" else len(found))


def test_a_class_that_comes_late_orders_categories_anew() -> None:
    """The same categories in another order are other rows of the table."""
    data = mixed("multiclass", 60)
    found = revisions(build_online(Learner(algorithm="linear"), data.schema), data, every=1)
    for latest, expected in found:
        compared = compare(expected, answers(graph.session(latest.onnx), latest, data))
        assert compared.max_abs_difference <= ONLINE_TOLERANCE


def test_leaves_that_begin_to_answer_by_naive_bayes_lengthen_tables_and_keep_the_graph() -> None:
    """A session of onnxruntime takes tables of another length."""
    data = head(stream("Bananas"), 1500)
    online = build_online(Learner(algorithm="hoeffding_tree", params={"grace_period": 50, "tau": 0.2}), data.schema)
    lengths: dict[str, set[int]] = {}
    for latest, _ in revisions(online, data, every=10):
        lengths.setdefault(latest.graph_sha256, set()).add(len(latest.weights["means"]))
    assert any(len(found) > 1 for found in lengths.values())


def test_graph_sha256_is_that_of_the_model_without_the_values_of_its_weights() -> None:
    """Anyone who holds the bytes can tell."""
    data = mixed("multiclass", 100)
    online = build_online(Learner(algorithm="linear"), data.schema)
    latest = revisions(online, data, every=50)[-1][0]
    model = onnx.load_from_string(latest.onnx)
    constants = [tensor for tensor in model.graph.initializer if tensor.name not in latest.weights]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
    assert graph.structure_sha256(model) == latest.graph_sha256


def test_a_revision_pickles_without_what_it_remembers_of_the_model() -> None:
    """It is small, and the next one from it is the same."""
    data = head(stream("Phishing"), 200)
    online = build_online(Learner(algorithm="hoeffding_tree"), data.schema)
    latest = revisions(online, data, every=50)[-1][0]
    stored = pickle.dumps(latest)
    assert len(stored) < 2 * len(latest.onnx) + sum(value.nbytes for value in latest.weights.values())
    after, again = (
        revision(online.model, data.schema, latest),
        revision(online.model, data.schema, pickle.loads(stored)),
    )
    assert after.graph_sha256 == again.graph_sha256
    assert all(np.array_equal(after.weights[key], again.weights[key]) for key in after.weights)


def test_exporting_a_revision_leaves_the_model_as_it_was() -> None:
    """Nothing of the memo is in the model."""
    data = mixed("binary", 200)
    online = OnlineLearner("mine", zoo._standardised(data.schema) | linear_model.LogisticRegression(), data.schema)
    for row, label in data:
        online.learn_one(row, label)
    before = online.state_hash()
    revision(online.model, data.schema, revision(online.model, data.schema))
    assert online.state_hash() == before
