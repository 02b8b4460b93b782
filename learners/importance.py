"""How much a released model goes by each feature: the loss that it adds to shuffle that feature's values.

Breiman (2001), "Random forests", section 10; of any model and on rows that it was not fitted on, Fisher, Rudin and
Dominici (2019), "All models are wrong, but many are useful" (their model reliance, as a difference). Where features say
the same, each is less important than both together: it ranks what the model goes by, not what the world does.
"""

import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

from contracts import weights
from contracts.releases import Release
from contracts.schema import Schema, Value
from learners.export import graph

ROWS = 2_000
_LEAST = 100

Score = Callable[[dict[str, np.ndarray]], np.ndarray]
"""Scores float64[n, k] of the tensors of n rows (`Schema.tensors`)."""
Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The loss of each row, float64[n], of scores float64[n, k] against class indices or values float64[n]."""


class Importance(msgspec.Struct, frozen=True):
    """What was found, in units of the loss."""

    columns: dict[str, tuple[float, float]]
    """(mean, standard deviation over repeats) of the loss that shuffling a feature adds, by name."""
    loss: float
    """Mean loss of the rows as they are."""
    rows: int
    repeats: int


def scorer(release: Release) -> Score:
    """What scores rows as the release does, its newest weights included."""
    session, held = graph.session(release.onnx), weights.unpack(release.weights)
    wanted = {one.name for one in session.get_inputs()}

    def score(tensors: dict[str, np.ndarray]) -> np.ndarray:
        inputs = {name: value for name, value in tensors.items() if name in wanted}
        return np.asarray(session.run(["scores"], inputs | held)[0], np.float64)

    return score


def permutation_importance(
    score: Score,
    schema: Schema,
    rows: Sequence[Sequence[Value]],
    targets: np.ndarray,
    loss: Loss,
    repeats: int = 5,
    seed: int = 0,
    budget_s: float = 5.0,
) -> Importance:
    """Of labelled rows in schema order, of which at most `ROWS` are drawn; targets are class indices or values.

    Slow models get fewer rows, no less than 100, and fewer repeats, no less than one. Raises ValueError without rows.
    """
    if not len(rows):
        raise ValueError("importance is measured on labelled rows, and there are none")
    begun, rng = time.perf_counter(), np.random.default_rng(seed)
    drawn = rng.permutation(len(rows))[:ROWS]
    tensors = schema.tensors([rows[i] for i in drawn])
    wanted = np.asarray(targets)[drawn]
    before = loss(score(tensors), wanted)
    once_s = (time.perf_counter() - begun) * len(schema.features)
    if once_s > budget_s:
        fewer = max(_LEAST, int(len(drawn) * budget_s / once_s))
        tensors, wanted, before = ({k: v[:fewer] for k, v in tensors.items()}, wanted[:fewer], before[:fewer])
    added: list[list[float]] = []
    while len(added) < repeats and (not added or time.perf_counter() - begun < budget_s):
        added.append([float(np.nanmean(loss(score(t), wanted) - before)) for t in _shuffled(schema, tensors, rng)])
    table = np.array(added)
    means, spreads = table.mean(axis=0), table.std(axis=0, ddof=1) if len(added) > 1 else np.zeros(table.shape[1])
    columns = zip(schema.names, zip(means.tolist(), spreads.tolist(), strict=True), strict=True)
    return Importance(dict(columns), float(np.nanmean(before)), len(wanted), len(added))


def _shuffled(
    schema: Schema, tensors: dict[str, np.ndarray], rng: np.random.Generator
) -> Iterator[dict[str, np.ndarray]]:
    """The tensors with one feature shuffled, for each feature in schema order."""
    for i, feature in enumerate(schema.features):
        name, places = ("categorical", schema.categorical_at) if feature.is_category else ("numeric", schema.numeric_at)
        changed = tensors[name].copy()
        rng.shuffle(changed[:, places.index(i)])
        yield tensors | {name: changed}
