"""What a release goes by: shuffle a feature, and see what it costs."""

import numpy as np
import pytest

from contracts import weights
from contracts.config import Learner
from contracts.releases import Manifest, Release, sha256
from contracts.schema import Schema
from learners import export
from learners.batch import export as export_batch
from learners.batch import fit
from learners.catalogue import build_online
from learners.importance import permutation_importance, scorer
from tests.learners.streams import mixed


def release(schema: Schema, onnx: bytes, weights: bytes = b"") -> Release:
    manifest = Manifest(
        model="m", version=1, kind="batch", learner="l", revision=0, schema=schema.fingerprint, created_at=0.0,
        onnx_sha256=sha256(onnx), weights_sha256=sha256(weights) if weights else "",
    )  # fmt: skip
    return Release(manifest, onnx, weights)


def mistakes(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.asarray(scores.argmax(axis=1) != targets, np.float64)


def test_importance_is_the_mean_loss_that_shuffling_adds() -> None:
    """On the model of a rule that looks at one number only: that number costs accuracy, and no other feature does."""
    data, rng = mixed("binary"), np.random.default_rng(0)
    name = data.schema.numeric_names[0]
    at = data.schema.names.index(name)
    rows = [(*row[:at], float(rng.normal()), *row[at + 1 :]) for row in data.rows]
    labels = [data.schema.label.class_texts[int(float(row[at] or 0) > 0)] for row in rows]
    fitted = fit(Learner(algorithm="hist_gradient_boosting", kind="batch"), data.schema, rows, labels, 0, 0.2, print)
    targets = np.array([data.schema.label.index(label) for label in labels], float)
    score = scorer(release(data.schema, export_batch(fitted)))
    held_out = slice(fitted.fitted_rows, None)
    found = permutation_importance(score, data.schema, rows[held_out], targets[held_out], mistakes)
    assert found.columns.keys() == set(data.schema.names)
    assert found.columns[name][0] == pytest.approx(0.5, abs=0.1)
    assert max(abs(mean) for other, (mean, _) in found.columns.items() if other != name) < 0.02
    assert found.columns[name][1] > 0
    assert (found.rows, found.repeats) == (fitted.held_out_rows, 5)
    assert found.loss == pytest.approx(1 - fitted.metrics["accuracy"])


def test_the_newest_weights_score() -> None:
    """Those of an online release, not those that its graph was built with."""
    data = mixed("binary")
    learner = build_online(Learner(algorithm="linear"), data.schema)
    for row, label in data:
        learner.learn_one(row, label)  # by now it has met every category, and its graph stays
    first = export.revision(learner.model, data.schema)
    for row, label in data:
        learner.learn_one(row, label)
    last = export.revision(learner.model, data.schema, first)
    assert last.graph_sha256 == first.graph_sha256
    score = scorer(release(data.schema, first.onnx, weights.pack(last.weights)))
    expected = learner.score_many(data.rows[:50])
    assert score(data.schema.tensors(data.rows[:50])) == pytest.approx(expected)


def test_a_slow_model_gets_fewer_rows_and_repeats() -> None:
    """The time is bounded, not the model."""
    data = mixed("binary")
    asked: list[int] = []

    def score(tensors: dict[str, np.ndarray]) -> np.ndarray:
        asked.append(len(tensors["numeric"]))
        return np.full((asked[-1], 2), 0.5)

    targets = np.zeros(len(data.rows))
    found = permutation_importance(score, data.schema, data.rows, targets, mistakes, budget_s=0.0)
    assert (found.rows, found.repeats) == (100, 1)
    assert set(asked[1:]) == {100}
    assert set(found.columns.values()) == {(0.0, 0.0)}


def test_no_rows_are_a_callers_mistake() -> None:
    """There is nothing to shuffle."""
    data = mixed("binary")
    with pytest.raises(ValueError, match="labelled rows"):
        permutation_importance(lambda _: np.empty((0, 2)), data.schema, [], np.empty(0), mistakes)
