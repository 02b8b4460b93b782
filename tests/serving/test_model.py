"""A release is served exactly, or refused with its reason."""

import gc
import math

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from contracts.releases import Release, ReleaseRefused
from serving.model import Served
from tests.serving.harness import FRUIT, PRICE, constant, golden, graph, linear, release

ROWS = [(0.5, -1.0), (2.0, 3.0), (-1.5, 0.25)]
WEIGHTS = (0.7, -0.4)


def probability(row: tuple[float, float]) -> float:
    return 1 / (1 + math.exp(-(WEIGHTS[0] * row[0] + WEIGHTS[1] * row[1] + 0.1)))


def good_golden(tolerance: float = 1e-9) -> dict[str, object]:
    return {"golden": golden(ROWS, [(1 - probability(row), probability(row)) for row in ROWS], tolerance)}


def test_scores_are_those_of_the_formula() -> None:
    """A batch and single rows give the graph's own numbers, as plain floats in plain tuples."""
    served = Served(release(linear(WEIGHTS, 0.1), 3, 7, **good_golden()), FRUIT)
    assert (served.version, served.revision, served.provider) == (3, 7, "CPUExecutionProvider")
    scores = served.score(ROWS)
    alone = [served.score([row])[0] for row in ROWS]
    for pairs in (scores, alone):
        assert [pair[1] for pair in pairs] == pytest.approx([probability(row) for row in ROWS], abs=1e-12)
    assert type(scores[0]) is tuple
    assert type(scores[0][0]) is float


def test_categories_and_missing_values_reach_the_graph() -> None:
    """Both inputs are fed in schema order, missing numbers as NaN and missing categories as the empty text."""
    nodes = [
        helper.make_node("IsNaN", ["numeric"], ["missing"]),
        helper.make_node("Cast", ["missing"], ["ones"], to=TensorProto.DOUBLE),
        helper.make_node("ReduceSum", ["ones", "axis"], ["nans"], keepdims=1),
        helper.make_node("Equal", ["categorical", "town"], ["same"]),
        helper.make_node("Cast", ["same"], ["is_town"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["is_town", "ten"], ["tens"]),
        helper.make_node("Add", ["nans", "tens"], ["scores"]),
    ]
    double, string = TensorProto.DOUBLE, TensorProto.STRING
    made = helper.make_graph(
        nodes,
        "both",
        [
            helper.make_tensor_value_info("numeric", double, [None, 3]),
            helper.make_tensor_value_info("categorical", string, [None, 1]),
        ],
        [helper.make_tensor_value_info("scores", double, [None, 1])],
        [
            numpy_helper.from_array(np.array([1]), "axis"),
            numpy_helper.from_array(np.array([10.0]), "ten"),
            numpy_helper.from_array(np.array(["Bonn"], dtype=object), "town"),
        ],
    )
    opset = [helper.make_opsetid("", 19)]
    model = helper.make_model(made, opset_imports=opset, ir_version=9).SerializeToString()
    served = Served(release(model, schema=PRICE, model="price"), PRICE)
    assert served.score([(None, 1, True, "Bonn"), (1.5, 2, False, None)]) == [(11.0,), (0.0,)]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (Release(release(linear(WEIGHTS)).manifest, linear((9.0, 9.0))), "differ from the manifest's sha256"),
        (release(linear(WEIGHTS), schema=PRICE), "built for schema"),
        (release(b"no graph at all"), "cannot load"),
        (release(constant((0.2, 0.3, 0.5))), r"shape \(1, 3\), not \(1, 2\)"),
        (release(linear((1.0, 1.0, 1.0), width=3)), "fails on its golden rows"),
        (release(linear(WEIGHTS, 0.2), **good_golden()), "golden scores differ by"),
        (release(constant((math.nan, 0.5)), golden=golden(ROWS[:1], [(0.5, 0.5)])), "NaN or infinity"),
        (release(constant((0.5, 0.5)), golden=golden(ROWS[:1], [(0.499999, 0.500001)])), "1 of 1 golden rows"),
        (release(constant((0.5, 0.5)), golden=golden(ROWS[:1], [(0.5,)])), r"golden scores have shape \(1, 1\)"),
        (release(constant((0.5, 0.5)), golden=golden([(1.0,)], [(0.5, 0.5)])), "fails on its golden rows"),
    ],
    ids=["bytes", "schema", "graph", "width", "input", "differs", "nan", "flip", "golden-width", "golden-rows"],
)
def test_what_is_not_fit_to_serve_is_refused(made: Release, reason: str) -> None:
    """Each defect is named, and no Served comes into being."""
    with pytest.raises(ReleaseRefused, match=reason):
        Served(made, FRUIT)


def test_a_tie_has_no_label_to_flip() -> None:
    """What parity lets through, serving takes: two classes as likely as rounding tells have no order to keep."""
    tied = release(constant((0.5 - 1e-16, 0.5)), golden=golden(ROWS[:1], [(0.5, 0.5)]))
    assert Served(tied, FRUIT).score(ROWS[:1]) == [(0.5 - 1e-16, 0.5)]


def test_a_graph_of_one_row_only_is_refused() -> None:
    """Questions that arrive together are scored together, so the batch must be free."""
    one_row = [helper.make_node("Reshape", ["numeric", "shape"], ["scores"])]
    with pytest.raises(ReleaseRefused, match=r"fails on its golden rows|shape"):
        Served(release(graph(one_row, {"shape": np.array([1, 2])}, 2, 2)), FRUIT)


def test_a_release_without_its_scores_is_refused() -> None:
    """The output's name is part of the agreement."""
    other = linear(WEIGHTS).replace(b"scores", b"scared")
    with pytest.raises(ReleaseRefused, match="no output 'scores'"):
        Served(release(other), FRUIT)


@pytest.mark.soak
def test_thousands_of_reloads_give_their_memory_back() -> None:
    """Sessions that are dropped leave nothing behind to speak of: a process reloads for weeks."""

    def swap(times: int) -> float:
        for i in range(times):
            Served(release(linear((0.1 * i, 0.2), 0.1), 1, i), FRUIT).score(ROWS)
        gc.collect()
        return psutil.Process().memory_info().rss / 2**20

    before = swap(1000)
    assert swap(10_000) - before < 20
