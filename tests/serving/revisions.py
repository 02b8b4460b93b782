"""A tiny online version whose revisions are weights, and what each of them must answer."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import helper

from contracts import weights
from contracts.releases import Golden, Release, sha256
from serving.model import Served
from tests.serving import harness

ROWS = [(0.5, -1.0), (2.0, 3.0), (-1.5, 0.25)]
SLOTS = ("weights", "bias")


def learned(revision: int) -> dict[str, np.ndarray]:
    """Weights that no other revision has."""
    return {"weights": np.array([[0.7 + revision / 1000], [-0.4]]), "bias": np.array([revision / 100_000])}


def probability(revision: int, row: Sequence[float] = (1.0, 2.0)) -> float:
    """What a revision answers for the second class; harness.GOOD asks (1, 2)."""
    found = learned(revision)
    return 1 / (1 + math.exp(-float(np.array(row) @ found["weights"][:, 0] + found["bias"][0])))


def graph(revision: int = 0, symbolic: bool = False) -> bytes:
    """A graph that answers as a revision by itself; its weights may be overridden, in any number where symbolic."""
    found = learned(revision)
    made = onnx.load_from_string(harness.linear(found["weights"][:, 0].tolist(), float(found["bias"][0])))
    for name in SLOTS:
        shape: list[Any] = list(found[name].shape)
        made.graph.input.append(helper.make_tensor_value_info(name, 11, ["d", *shape[1:]] if symbolic else shape))
    return bytes(made.SerializeToString())


GRAPH = graph()


def revision(number: int, version: int = 1, onnx_bytes: bytes = GRAPH, golden: bool = True, **more: Any) -> Release:
    """A revision as weights over a graph, with golden scores of its own."""
    packed = more.pop("packed", None)
    packed = weights.pack(learned(number)) if packed is None else packed
    expected = tuple((1 - probability(number, row), probability(number, row)) for row in ROWS)
    made = harness.release(
        onnx_bytes,
        version,
        number,
        weights_sha256=sha256(packed) if packed else "",
        **({"golden": Golden(tuple(ROWS), expected, 1e-9)} if golden else {}),
        **more,
    )
    return msgspec.structs.replace(made, weights=packed)


def shares(one: Served, other: Served) -> bool:
    """Whether no session was built between the two."""
    return one._session is other._session
