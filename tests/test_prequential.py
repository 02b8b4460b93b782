"""What Tiltyard answered before each label was known, beside River's own progressive validation of the same learner."""

from pathlib import Path

import pytest
import redis

from benchmarks.prequential import (
    FOREST,
    SHARED,
    compare,
    fitting,
    forest,
    memory_folder,
    of_river,
    of_tiltyard,
    read,
)
from contracts.config import Learner
from tests.learners.streams import EAGER, MIXED, Stream, mixed

TOLERANCE = 1e-9
LABELS = 200
"""Learned before the last question."""
STREAMS = {
    0: ("phishing", "image-segments", "trump-approval", "synthetic-drift", *MIXED),
    500: ("phishing", "trump-approval", "synthetic-drift", "mixed multiclass"),
}
"""By delay."""
FORESTS = {0: ("phishing", "mixed multiclass", "mixed regression"), 500: ("mixed binary",)}


def stream(name: str, rows: int) -> Stream:
    return mixed(MIXED[name], rows) if name in MIXED else read(name, rows)


def cases(by_delay: dict[int, tuple[str, ...]]) -> list[tuple[str, int]]:
    return [(name, delay) for delay, names in by_delay.items() for name in names]


def eager(learners: dict[str, Learner]) -> dict[str, Learner]:
    """With trees that split within so few rows."""
    return {name: Learner(algorithm=name, params=EAGER.get(name, one.params)) for name, one in learners.items()}


def prove(client: redis.Redis, learners: dict[str, Learner], data: Stream, delay: int) -> None:
    """Every score, every label, and both figures."""
    with memory_folder() as folder:
        ours = of_tiltyard(folder, client, learners, data, delay)
    for name, learner in learners.items():
        river = of_river(learner, data, delay)
        found = compare(river, ours[name], data)
        assert len(ours[name].scores) == len(river.scores) == len(data.rows)
        assert len(set(ours[name].scores)) > 10 or len(set(data.labels)) == 1, f"{name} hardly learned"
        assert found.difference <= TOLERANCE, name
        assert found.flips == 0, name
        assert found.right[0] == found.right[1], name
        assert found.ours == pytest.approx(found.river, abs=TOLERANCE), name
        apart = found.ties / sum(river.counted)  # of two best classes we answer the first, River the first it saw
        assert found.ours == pytest.approx(river.progressive, abs=apart + TOLERANCE), name


@pytest.mark.parametrize(("name", "delay"), cases(STREAMS))
def test_what_was_answered_is_rivers_progressive_validation(client: redis.Redis, name: str, delay: int) -> None:
    """Numbers, strings, missing values, many classes and values; labels at once, and 500 questions later."""
    data = stream(name, delay + LABELS)
    prove(client, eager(fitting(data.schema)), data, delay)


@pytest.mark.parametrize(("name", "delay"), cases(FORESTS))
def test_so_is_what_a_forest_answered(client: redis.Redis, name: str, delay: int) -> None:
    """Its trees draw their rows and features by the same seed, and its graph changes with their structure."""
    data = stream(name, delay + LABELS // 2)
    prove(client, eager({FOREST: forest(3)}), data, delay)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("delay", STREAMS)
@pytest.mark.parametrize("name", SHARED)
def test_so_it_is_on_long_real_streams(datasets: Path, client: redis.Redis, name: str, delay: int) -> None:
    """The learners as they are by default, over thousands of rows of each."""
    path = datasets / f"{name}.csv.gz"
    rows, forest_rows = SHARED[name]
    data = read(path, rows)
    prove(client, fitting(data.schema), data, delay)
    client.flushall()
    prove(client, {FOREST: forest(5)}, read(path, forest_rows), delay)
