"""The exporter on Hoeffding trees: splits, thresholds and what leaves say."""

import random
from typing import Any

import numpy as np
import pytest
from river import tree

from contracts.schema import Feature
from learners import zoo
from learners.export import NotExportable, graph, to_onnx
from learners.online import OnlineLearner
from learners.parity import compare
from tests.learners.streams import mixed
from tests.learners.test_export import schema_of


def test_a_tree_reaches_each_kind_of_split_with_missing_and_unseen_categories() -> None:
    """Binary and multiway category splits and numeric ones, each met by values, by none and by strangers."""
    data = mixed("regression", rows=1500)
    for binary in (False, True):
        model = zoo.tree_regressor(data.schema, _eager(binary), 0)
        learner = OnlineLearner("tree", model, data.schema)
        for row, label in data:
            learner.learn_one(row, label)
        kinds = {type(node).__name__ for node in learner.model[-1]._root.iter_dfs()}
        assert {"NumericBinaryBranch", "NominalBinaryBranch" if binary else "NominalMultiwayBranch"} <= kinds
        rows = [(*row[:4], colour, row[5]) for row in data.rows[:200] for colour in (None, "?", row[4])]
        rows += [(dep, *row[1:]) for row in data.rows[:200] for dep in (None, "?")]
        session = graph.session(to_onnx(learner.model, data.schema).SerializeToString())
        assert compare(learner.score_many(rows), graph.run(session, data.schema, rows)).max_abs_difference == 0


def _eager(binary: bool) -> Any:
    from learners.params import TreeRegressor

    return TreeRegressor(grace_period=25, delta=0.05, tau=0.2, binary_split=binary)


def test_thresholds_are_compared_in_double() -> None:
    """A tree tells neighbours in float64 apart, which float32 would merge."""
    schema = schema_of(Feature("x", "float"), task="regression")
    low, high = 1.0, float(np.nextafter(1.0, 2))
    model = tree.HoeffdingTreeRegressor(
        grace_period=20, leaf_prediction="mean", splitter=tree.splitter.EBSTSplitter(), tau=0.9, delta=0.5
    )
    learner = OnlineLearner("tree", model, schema)
    for i in range(200):
        learner.learn_one(((low, high)[i % 2],), float(i % 2))
    assert learner.model.n_leaves > 1
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert graph.run(session, schema, [(low,), (high,)]).ravel().tolist() == [0.0, 1.0]


def test_naive_bayes_leaves_weigh_likelihoods_in_rivers_order() -> None:
    """Huge terms swallow small ones, in an order that features' absence gives each leaf of its own."""
    schema = schema_of(*(Feature(name, "float", optional=True) for name in "abc"))
    learner = OnlineLearner("nb", tree.HoeffdingTreeClassifier(leaf_prediction="nb"), schema)
    rng = random.Random(1)
    for i in range(60):
        row = (rng.gauss(0, 1e-7), rng.gauss(i % 2, 1), rng.gauss(0, 1))
        learner.learn_one((None, *row[1:]) if i < 4 else row, ("false", "true")[i % 2])
    rows = [(rng.gauss(0, scale), rng.gauss(0, 2), rng.gauss(0, 2)) for scale in (1e-7, 1, 10) for _ in range(200)]
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    found = compare(learner.score_many(rows), graph.run(session, schema, rows))
    assert (found.max_abs_difference < 1e-12, found.flips) == (True, 0)


@pytest.mark.parametrize("leaves", ["model", "adaptive"])
def test_regression_leaves_with_models_are_exact(leaves: str) -> None:
    """Missing numbers too; a categories' leaf model is refused, since River's own raises."""
    features = tuple(Feature(name, "float", optional=True) for name in "abc")
    schema, rng = schema_of(*features, task="regression"), random.Random(3)
    model = tree.HoeffdingTreeRegressor(grace_period=25, delta=0.05, tau=0.3, leaf_prediction=leaves)
    learner = OnlineLearner("tree", model, schema)
    rows = [tuple(None if rng.random() < 0.1 else rng.uniform(-1, 1) for _ in "abc") for _ in range(800)]
    for row in rows[:600]:
        learner.learn_one(row, sum((i + 1) * (x or 0.0) for i, x in enumerate(row)) + (5.0 if (row[0] or 0) > 0 else 0))
    assert learner.model.n_leaves > 2
    session = graph.session(to_onnx(learner.model, schema).SerializeToString())
    assert compare(learner.score_many(rows), graph.run(session, schema, rows)).max_abs_difference < 1e-12
    with pytest.raises(NotExportable, match="LeafModel"):
        to_onnx(
            tree.HoeffdingTreeRegressor(leaf_prediction=leaves), schema_of(Feature("x", "category"), task="regression")
        )
