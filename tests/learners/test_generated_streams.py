"""Exports on streams that nobody would write by hand."""

from typing import Any

from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from contracts.config import Learner
from contracts.schema import Feature, Label, Schema
from learners.catalogue import RECIPES, build_online
from learners.export import to_onnx
from learners.online import LearnerFailed
from learners.parity import ONLINE_TOLERANCE, parity
from tests.learners.streams import Row

EAGER = {"grace_period": 5, "delta": 0.5, "tau": 0.9}
LEARNERS: list[tuple[str, dict[str, Any]]] = [
    ("linear", {}),
    ("naive_bayes", {}),
    *(("hoeffding_tree", {**EAGER, "leaf_prediction": leaves}) for leaves in ("mc", "nb", "nba")),
    ("adaptive_random_forest", {**EAGER, "n_models": 3, "lambda_value": 2, "leaf_prediction": "nba"}),
    ("adaptive_random_forest", {**EAGER, "n_models": 2, "leaf_prediction": "mc"}),
]

# Few values, so that ties, repeats and collisions of names and categories are common; and any text at all.
NAMES = st.sampled_from(["a", "b", "a_b", "a_b_c", "0", "ü ", "numeric", "scores"]) | st.text(min_size=1, max_size=5)
TEXTS = st.sampled_from(["b", "c", "b_c", "x", "0:b"]) | st.text(min_size=1, max_size=4)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "float": st.sampled_from([0.0, -0.0, 0.1, 0.5, 1.0, 1e-9, 1e9]) | st.floats(-1e6, 1e6),
    "int": st.integers(-3, 3) | st.integers(-(2**53), 2**53),
    "bool": st.booleans(),
    "category": TEXTS,
}


@st.composite
def streams(draw: st.DrawFn) -> tuple[Schema, list[Row], list[str | float]]:
    """A schema of up to five features of any type, and up to 60 labelled rows with missing values."""
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    features = tuple(Feature(name, draw(st.sampled_from(list(VALUES))), draw(st.booleans())) for name in names)
    classes = draw(st.sampled_from([(False, True), ("a", "b", "c"), ()]))
    task: Any = {0: "regression", 2: "binary", 3: "multiclass"}[len(classes)]
    label = Label(task, classes)
    row = st.tuples(*(VALUES[f.type] | st.none() if f.optional else VALUES[f.type] for f in features))
    rows = draw(st.lists(row, min_size=1, max_size=60))
    answer: st.SearchStrategy[Any] = st.sampled_from(label.class_texts) if classes else st.floats(-1e3, 1e3)
    return Schema(features, label), rows, [draw(answer) for _ in rows]


@settings(
    max_examples=120,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=streams(), learner=st.sampled_from(LEARNERS), share=st.floats(0, 1))
def test_the_graph_answers_what_river_answers_whatever_the_stream(data: Any, learner: Any, share: float) -> None:
    """Any names, types, texts, missing values and categories yet unseen: rounding only, and no label flips."""
    schema, rows, labels = data
    algorithm, params = learner
    recipe = RECIPES["online"][algorithm].get(schema.label.task)
    assume(recipe is not None and not (recipe.numbers_only and schema.categorical_names))
    params = {key: value for key, value in params.items() if key != "leaf_prediction" or schema.label.classes}
    online = build_online(Learner(algorithm=algorithm, params=params), schema)
    try:
        for row, label in list(zip(rows, labels, strict=True))[: int(share * len(rows))]:
            online.learn_one(row, label)
        scores = online.score_many(rows)
    except LearnerFailed as failure:
        note(str(failure))
        return
    found = parity(to_onnx(online.model, schema).SerializeToString(), lambda _: scores, schema, rows)
    assert found.max_abs_difference <= ONLINE_TOLERANCE
    assert found.flips == 0


def test_every_learner_of_the_catalogue_meets_generated_streams() -> None:
    """None is forgotten above."""
    assert {algorithm for algorithm, _ in LEARNERS} == set(RECIPES["online"])
