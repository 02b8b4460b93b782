"""Rankings as evidence: blocks of disjoint examples."""

import numpy as np
import pytest

from contracts.gate_rules import Gate
from contracts.releases import Board
from registry.blocks import Blocks, Example, negatives_for
from registry.matured import Matured
from registry.tenure import CALIBRATION_ROWS, Record

PREVALENCE = 0.1


def history(events: int, champion: float, challenger: float, seed: int) -> list[Matured]:
    """Scores whose distance between the classes, in standard deviations, is as told; half of their noise is shared."""
    rng = np.random.default_rng(seed)
    positive = rng.random(events) < PREVALENCE
    shared = rng.normal(size=events)
    ranks = [apart * positive + np.sqrt(0.5) * (shared + rng.normal(size=events)) for apart in (champion, challenger)]
    mine, other = (1 / (1 + np.exp(-rank)) for rank in ranks)
    return [
        Matured(n, 1, (1 - p, p), {2: (0, (1 - q, q))}, float(label))
        for n, (p, q, label) in enumerate(zip(mine.tolist(), other.tolist(), positive.tolist(), strict=True))
    ]


def ranked(matured: list[Matured], size: int = 5_000) -> Record:
    made = Record(Gate(loss="auc"), "auc")
    made.begin(Board(1, (2,)), -1)
    for first in range(0, len(matured), size):
        made.add(matured[first : first + size])
    return made


def test_a_block_compares_how_often_a_positive_is_ranked_above_its_negatives() -> None:
    """Ties count one half, and every example is used once."""
    blocks = Blocks(2)
    examples = [Example(1, 0.5, 0.5), Example(2, 0.6, 0.1), Example(3, 0.6, 0.9), Example(4, 0.1, 0.1)]
    assert blocks.add(examples, [False, False, True, False]) == [(1.0 - 0.75, 3)]
    assert (len(blocks.positives), len(blocks.negatives)) == (0, 1)


@pytest.mark.parametrize(("positives", "labels", "negatives"), [(10, 100, 9), (60, 100, 1), (0, 100, 50), (1, 100, 50)])
def test_a_block_has_as_many_negatives_as_there_are(positives: int, labels: int, negatives: int) -> None:
    """Few of either class are left over, and a block of a rare class is no longer than fifty."""
    assert negatives_for(positives, labels) == negatives


def test_the_better_ranking_wins_and_an_equal_one_does_not() -> None:
    """About 0.80 against 0.85 under the curve; the evidence estimates the difference."""
    better = ranked(history(20_000, 1.19, 1.47, seed=1)).comparisons[2].evidence
    assert better.log_e() > np.log(80)
    assert better.mean == pytest.approx(0.05, abs=0.02)
    equal = ranked(history(20_000, 1.19, 1.19, seed=2)).comparisons[2].evidence
    assert equal.log_e() < np.log(20)


def test_batches_change_no_block() -> None:
    """Examples wait for their block across batches; the first labels only set how long blocks are."""
    matured = history(2_000, 1.0, 1.2, seed=3)
    told = [ranked(matured, size).comparisons[2].evidence.to_json() for size in (1, 77, 2_000)]
    assert told[0] == told[1] == told[2]
    assert ranked(matured[:CALIBRATION_ROWS]).comparisons == {}
