"""The exporter on River's adaptive Hoeffding trees, whose branches have alternates while they doubt."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from river import compose, drift, ensemble, tree
from river.tree.nodes.branch import DTBranch

from contracts.schema import Feature, Label, Schema
from learners.export import NotExportable, Revision, graph, revision, to_onnx
from learners.online import OnlineLearner
from learners.parity import Parity, compare
from tests.learners.streams import Row

CLASSES = ("no", "yes", "maybe")


def doubtful(**params: Any) -> dict[str, Any]:
    """Splits soon, doubts often, and takes long to make up its mind."""
    doubts = drift.ADWIN(delta=0.2, clock=1, grace_period=5)
    found = {"grace_period": 20, "delta": 0.1, "tau": 0.3, "drift_window_threshold": 100, "drift_detector": doubts}
    return {**found, "seed": 1, **params}


def changing(regression: bool, texts: bool, rows: int = 1200, seed: int = 3) -> Iterator[tuple[Row, str | float]]:
    """Another feature tells the label in each part; one in ten values is missing."""
    rng = random.Random(seed)
    for i in range(rows):
        a, b = rng.random(), rng.gauss(0, 1)
        c, d = (rng.choice("pqr"), rng.choice("uvwxyz")) if texts else (rng.random(), rng.random())
        told = [a, b / 2, float(c == "p") if texts else c, float(d in "uvw") if texts else d][i * 5 // rows % 4]
        value = 3 * float(told > 0.5) + rng.gauss(0, 0.4)
        row = tuple(x if rng.random() > 0.1 else None for x in (a, b, c, d))
        yield row, value if regression else CLASSES[min(2, max(0, round(value)))]


def schema_of(regression: bool, texts: bool) -> Schema:
    """The stream's."""
    kinds = ("float", "float", *(("category",) * 2 if texts else ("float",) * 2))
    features = tuple(Feature(name, kind, optional=True) for name, kind in zip("abcd", kinds, strict=True))  # type: ignore[arg-type]
    return Schema(features, Label("regression") if regression else Label("multiclass", CLASSES))


def alternates(model: Any) -> list[list[Any]]:
    """Those above each leaf of a tree."""

    def below(node: Any, above: list[Any]) -> Iterator[list[Any]]:
        if not isinstance(node, DTBranch):
            yield above
            return
        above = above if node._alternate_tree is None else [*above, node._alternate_tree]
        for child in node.children:
            yield from below(child, above)

    return list(below(model._root, []))


def agree(learner: OnlineLearner, latest: Revision, rows: list[Row]) -> Parity:
    """Whether a revision answers as the learner does."""
    inputs = {**learner.schema.tensors(rows), **latest.weights}
    (found,) = graph.session(latest.onnx).run(["scores"], inputs)
    return compare(learner.score_many(rows), np.asarray(found))


MODELS = [
    (tree.HoeffdingAdaptiveTreeClassifier(**doubtful(leaf_prediction="mc")), True),
    (tree.HoeffdingAdaptiveTreeClassifier(**doubtful(leaf_prediction="nb", nb_threshold=15)), True),
    (tree.HoeffdingAdaptiveTreeClassifier(**doubtful(leaf_prediction="nba")), True),
    (tree.HoeffdingAdaptiveTreeClassifier(**doubtful(binary_split=True, bootstrap_sampling=False)), True),
    (tree.HoeffdingAdaptiveTreeClassifier(**doubtful(max_depth=2)), False),
    (tree.HoeffdingAdaptiveTreeRegressor(**doubtful(leaf_prediction="mean")), True),
    (tree.HoeffdingAdaptiveTreeRegressor(**doubtful(leaf_prediction="mean", binary_split=True)), True),
    (tree.HoeffdingAdaptiveTreeRegressor(**doubtful(leaf_prediction="model")), False),
    (tree.HoeffdingAdaptiveTreeRegressor(**doubtful(leaf_prediction="adaptive")), False),
]


@pytest.mark.parametrize(("model", "texts"), MODELS)
def test_adaptive_trees_are_exact_whatever_alternates_they_have(model: Any, texts: bool) -> None:
    """Every 25 labels, with features missing and categories unseen where alternates are and where they are not."""
    regression = isinstance(model, tree.HoeffdingAdaptiveTreeRegressor)
    learner = OnlineLearner("mine", model.clone(), schema_of(regression, texts))
    pairs = list(changing(regression, texts))
    asked: list[Row] = [row for row, _ in pairs[::6]]
    asked += [(*row[:3], "new" if texts else None) for row in asked[:30]] + [(None, None, None, None)]
    latest: Revision | None = None
    most = 0
    for i, (row, label) in enumerate(pairs):
        if i % 25 == 0 or i < 3:
            before = learner.state_hash()
            latest = revision(learner.model, learner.schema, latest)
            assert learner.state_hash() == before, "exporting changed the model"
            found = agree(learner, latest, asked)
            assert (found.max_abs_difference < 1e-12, found.flips) == (True, 0)
        learner.learn_one(row, label)
        most = max(most, *map(len, alternates(learner.model)))
    assert most > 0


def test_an_alternate_that_splits_takes_its_branchs_place() -> None:
    """So alternates are leaves, whatever River learns: of 20 trees on changing streams none has one that split."""
    found = 0
    for seed in range(10):
        for kind, regression in (
            (tree.HoeffdingAdaptiveTreeClassifier, False),
            (tree.HoeffdingAdaptiveTreeRegressor, True),
        ):
            model: Any = kind(**doubtful(grace_period=5, seed=seed))
            for row, label in changing(regression, texts=False, rows=400, seed=seed):
                model.learn_one(schema_of(regression, texts=False).as_dict(row), label)
                found += sum(map(len, alternates(model)))
                assert not any(isinstance(one, DTBranch) for above in alternates(model) for one in above)
    assert found > 500


def _split(regression: bool) -> tuple[Any, Schema]:
    schema = schema_of(regression, texts=False)
    kind = tree.HoeffdingAdaptiveTreeRegressor if regression else tree.HoeffdingAdaptiveTreeClassifier
    model: Any = kind(grace_period=20, delta=0.1, tau=0.3, seed=1)
    for row, label in changing(regression, texts=False, rows=300):
        model.learn_one(schema.as_dict(row), label)
    assert isinstance(model._root, DTBranch)
    return model, schema


@pytest.mark.parametrize("regression", [False, True])
def test_a_split_alternate_where_river_raises_is_refused(regression: bool) -> None:
    """It asks the list of its way there as if that were a leaf: .list. object has no attribute .prediction.."""
    model, schema = _split(regression)
    model._root._alternate_tree = _split(regression)[0]._root
    ask = model.predict_one if regression else model.predict_proba_one
    with pytest.raises(AttributeError, match="'list' object has no attribute 'prediction'"):
        ask({"a": 0.1})
    with pytest.raises(NotExportable, match="alternate subtree has split, and River itself raises"):
        to_onnx(model, schema)


def test_a_leaf_that_learned_nothing_where_river_raises_is_refused() -> None:
    """It answers None, which cannot be added to what others answer."""
    model, schema = _split(regression=False)
    for leaf in model._root.iter_leaves():
        leaf.stats.clear()
    with pytest.raises(AttributeError, match="'NoneType' object"):
        model.predict_proba_one({"a": 0.1})
    with pytest.raises(NotExportable, match="learned nothing, and River itself raises"):
        to_onnx(model, schema)


@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10**6),
    leaf=st.sampled_from(["mc", "nb", "nba", "mean", "adaptive"]),
    binary_split=st.booleans(),
    grace_period=st.integers(5, 40),
)
def test_adaptive_trees_are_exact_on_any_stream(seed: int, leaf: str, binary_split: bool, grace_period: int) -> None:
    """With any settings, at the end of streams of any seed."""
    regression, texts = leaf in ("mean", "adaptive"), leaf != "adaptive"
    kind: Any = tree.HoeffdingAdaptiveTreeRegressor if regression else tree.HoeffdingAdaptiveTreeClassifier
    model = kind(**doubtful(leaf_prediction=leaf, binary_split=binary_split, grace_period=grace_period, seed=seed))
    learner = OnlineLearner("drawn", model, schema_of(regression, texts))
    pairs = list(changing(regression, texts, rows=300, seed=seed))
    for row, label in pairs:
        learner.learn_one(row, label)
    found = agree(learner, revision(learner.model, learner.schema), [row for row, _ in pairs])
    assert (found.max_abs_difference < 1e-12, found.flips) == (True, 0)


def test_adaptive_trees_are_members_of_ensembles() -> None:
    """Beside one another, and after a step that leaves features out."""
    for regression in (False, True):
        member: Any = (
            tree.HoeffdingAdaptiveTreeRegressor(**doubtful())
            if regression
            else tree.HoeffdingAdaptiveTreeClassifier(**doubtful())
        )
        bagging: Any = ensemble.BaggingRegressor if regression else ensemble.BaggingClassifier
        model = compose.Discard("b") | bagging(member, n_models=2, seed=1)
        learner = OnlineLearner("mine", model, schema_of(regression, texts=False))
        rows = []
        for row, label in changing(regression, texts=False, rows=400):
            learner.learn_one(row, label)
            rows.append(row)
        found = agree(learner, revision(learner.model, learner.schema), rows)
        assert (found.max_abs_difference < 1e-12, found.flips) == (True, 0)
