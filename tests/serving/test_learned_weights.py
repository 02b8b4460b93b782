"""Revisions of real learners, as weights over the graph that serving has."""

import itertools
from typing import Any

import msgspec
import pytest

from contracts import weights
from contracts.config import Learner
from contracts.releases import Release, sha256
from learners import catalogue, export
from learners.online import OnlineLearner
from serving.model import Served
from tests.learners import streams as rivers
from tests.serving.harness import golden, release
from tests.serving.revisions import shares


@pytest.mark.parametrize("algorithm", ["linear", "naive_bayes", "hoeffding_tree", "adaptive_random_forest"])
def test_weights_answer_as_a_full_export_does(algorithm: str) -> None:
    """A learner in revisions over the graph it has: equal to the last bit to a graph of its own, and to the learner."""
    stream = rivers.bundled("Phishing")
    learner = catalogue.build_online(
        Learner(algorithm=algorithm, params=rivers.EAGER.get(algorithm, {})), stream.schema
    )
    rows, served = stream.rows[-200:], None
    previous: export.Revision | None = None
    shared = 0
    for row, label in itertools.islice(stream, 400):
        learner.learn_one(row, label)
        if learner.learned % 4 == 0:
            previous = export.revision(learner.model, stream.schema, previous)
            fresh = Served(exported(learner, previous, rows[:50]), stream.schema, reuse=served)
            alone = export.to_onnx(learner.model, stream.schema).SerializeToString()
            full = Served(release(alone, schema=stream.schema), stream.schema)
            assert fresh.score(rows) == full.score(rows)
            shared += served is not None and shares(fresh, served)
            served = fresh
    assert shared >= 2


def exported(learner: OnlineLearner, made: export.Revision, rows: list[Any]) -> Release:
    packed = weights.pack(made.weights)
    expected = golden(rows, learner.score_many(rows).tolist(), 1e-9)
    named = release(made.onnx, 1, learner.learned, learner.schema, golden=expected, weights_sha256=sha256(packed))
    return msgspec.structs.replace(named, weights=packed)
