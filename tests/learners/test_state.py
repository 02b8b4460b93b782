"""Bytes and digests of River states."""

import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from river import drift, linear_model, optim, preprocessing, tree

from learners import state
from tests.learners.streams import cases, stream

TRAIN = """
from tests.learners.streams import STREAMS, cases, stream
from learners.catalogue import build_online
for learner, name in cases("online"):
    data = stream(name)
    online = build_online(learner, data.schema)
    for row, label in list(data)[:160]:
        online.learn_one(row, label)
    print(online.state_hash(), [score.hex() for score in online.scores_one(data.rows[0])])
"""


def _start(hash_seed: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.Popen([sys.executable, "-c", TRAIN], env=environment, stdout=subprocess.PIPE, text=True)


def test_equal_labels_give_equal_states_and_scores_in_any_process() -> None:
    """Every learner of the catalogue on every stream, in two processes with different PYTHONHASHSEED."""
    (first, _), (second, _) = (run.communicate() for run in [_start(1), _start(2)])
    assert len(first.splitlines()) == len(cases("online"))
    assert first == second


def _unsettled() -> list[Any]:
    return [
        preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.Adam()),
        preprocessing.TargetStandardScaler(linear_model.LinearRegression()),
        tree.HoeffdingTreeClassifier(grace_period=25, tau=0.2),
        tree.HoeffdingAdaptiveTreeClassifier(grace_period=25, tau=0.2, seed=3),
        preprocessing.MinMaxScaler(window_size=20) | linear_model.SoftmaxRegression(),
        drift.ADWIN(),
    ]


def test_states_survive_storage_whatever_river_made_them_of() -> None:
    """Compiled dicts, random generators, detectors and bound methods: the digest is that of the original."""
    data = stream("Phishing")
    for model in _unsettled():
        for row, label in list(data)[:150]:
            if isinstance(model, drift.ADWIN):
                model.update(float(str(row[0])))
            else:
                model.learn_one(data.schema.as_dict(row), label == "true")
        stored = state.dumps(model)
        assert state.digest(state.loads(stored)) == state.digest(model)


def test_a_stored_tree_is_free_of_unused_random_generators() -> None:
    """Plain pickle stores 2.5 kB of random state for each Gaussian, different in each process."""
    data = stream("Phishing")
    model = tree.HoeffdingTreeClassifier(grace_period=25, tau=0.2)
    for row, label in data:
        model.learn_one(data.schema.as_dict(row), label == "true")
    assert len(state.dumps(model)) < len(pickle.dumps(model)) / 5


def test_observers_of_any_depth_are_stored() -> None:
    """A feature that only grows makes River's search tree a list, deeper than Python's recursion limit."""
    splitter = tree.splitter.EBSTSplitter()
    for i in range(3000):
        splitter.update(float(i), float(i % 7), 1.0)
    restored = state.loads(state.dumps(splitter))
    assert state.digest(restored) == state.digest(splitter)
    splitter.update(1500.5, 1.0, 1.0)
    restored.update(1500.5, 1.0, 1.0)
    assert state.digest(restored) == state.digest(splitter)


PARTS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
STATES = st.recursive(
    PARTS, lambda part: st.lists(part) | st.dictionaries(st.text(), part) | st.tuples(part, part), max_leaves=10
)


@given(STATES)
def test_a_digest_survives_a_round_trip(value: Any) -> None:
    """Whatever the values, NaN included."""
    assert state.digest(state.loads(state.dumps(value))) == state.digest(value)


@given(STATES, STATES)
def test_digests_differ_where_states_do(first: Any, second: Any) -> None:
    """Types count too: 1, 1.0 and True are different states. Their bytes say whether they are the same."""
    if repr(first) != repr(second):
        assert state.digest([first]) != state.digest([second])


def test_identities_do_not_count() -> None:
    """The same object twice is worth two equal ones, and the order in which a set was filled is nothing."""
    shared = [1.0]
    assert state.digest([shared, shared]) == state.digest([[1.0], [1.0]])
    assert state.digest({str(i) for i in range(50)}) == state.digest({str(i) for i in reversed(range(50))})
    assert state.digest(np.float64(1)) != state.digest(np.float32(1))


def test_a_cycle_has_a_digest() -> None:
    """River's target scaler holds a bound method of itself; a list may hold itself."""
    first: list[Any] = [1]
    first.append(first)
    second: list[Any] = [1]
    second.append(second)
    assert state.digest(first) == state.digest(second)
