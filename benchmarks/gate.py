"""What the gate costs: microseconds per event and per look, beside the plain thing (a running sum of differences).

Each figure is the best of several rounds, since on a shared machine the others measure the neighbours.
"""

import time
from collections.abc import Callable

import numpy as np

from benchmarks._head import head
from contracts.releases import Board
from registry.evidence import Evidence
from registry.gate import Rules, decide
from registry.losses import loss_named
from registry.matured import Matured
from registry.rollback import Detector
from registry.tenure import Record

ROUNDS, EVENTS, BATCH = 7, 20_000, 2_000
NOW = 1_763_800_000.0


class RunningMean:
    """The plain thing: what a rolling-mean rule would keep. It promotes an equal challenger in half of all runs."""

    def __init__(self) -> None:
        self.n, self.total = 0, 0.0

    def add(self, d: float) -> None:
        self.n += 1
        self.total += d


def best_us(run: Callable[[], object], events: int) -> float:
    """Microseconds per event in the fastest round."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return min(took) / events * 1e6


def each(add: Callable[[float], object], values: list[float]) -> Callable[[], None]:
    def run() -> None:
        for value in values:
            add(value)

    return run


def repeated(call: Callable[[], object], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            call()

    return run


def compared(loss: str, history: list[Matured]) -> None:
    """One challenger's losses, evidence, coverage and curves, in batches as the learn loop takes them."""
    record = Record(Rules(), loss)
    record.begin(Board(1, (2,)), -1)
    for begin in range(0, len(history), BATCH):
        record.add(history[begin : begin + BATCH])


def rows() -> list[tuple[str, float]]:
    rng = np.random.default_rng(0)
    zero_one = rng.choice([-1.0, 0.0, 1.0], EVENTS, p=[0.03, 0.94, 0.03])
    real = rng.uniform(-0.2, 0.2, EVENTS)
    scores = rng.dirichlet((1, 1), (2, EVENTS))
    labels = rng.integers(0, 2, EVENTS)
    full, counted, detector, rules = Evidence(NOW - 86_400), Evidence(NOW - 86_400), Detector(), Rules()
    full.add_many(real)
    counted.add_many(zero_one)
    detector.add_many(zero_one)
    brier = loss_named("brier")
    history = [
        Matured(n, 1, tuple(mine), {2: (0, tuple(other))}, float(label))
        for n, (mine, other, label) in enumerate(zip(*scores.tolist(), labels, strict=True))
    ]
    looks = 500
    return [
        ("plain running mean, one event", best_us(each(RunningMean().add, real.tolist()), EVENTS)),
        (
            "Brier loss of two versions, batch, per event",
            best_us(lambda: [brier.of(s, labels) for s in scores], EVENTS),
        ),
        ("whole comparison from events, 0/1, per event", best_us(lambda: compared("zero_one", history), EVENTS)),
        ("whole comparison from events, Brier, per event", best_us(lambda: compared("brier", history), EVENTS)),
        ("evidence, one 0/1 event (6 % disagree)", best_us(each(Evidence().add, zero_one.tolist()), EVENTS)),
        ("evidence, one real-valued event", best_us(each(Evidence().add, real.tolist()), EVENTS)),
        ("evidence, batch 0/1, per event", best_us(lambda: Evidence().add_many(zero_one), EVENTS)),
        ("evidence, batch real-valued, per event", best_us(lambda: Evidence().add_many(real), EVENTS)),
        ("rollback detector, one 0/1 event", best_us(each(Detector().add, zero_one.tolist()), EVENTS)),
        ("rollback detector, one real-valued event", best_us(each(Detector().add, real.tolist()), EVENTS)),
        ("rollback detector, batch, per event", best_us(lambda: Detector().add_many(real), EVENTS)),
        ("log E, one look", best_us(repeated(full.log_e, looks), looks)),
        ("both bounds, one look", best_us(repeated(lambda: full.bounds(0.05), looks), looks)),
        ("decide, one look", best_us(repeated(lambda: decide(full, rules, NOW), looks), looks)),
        ("merge two states", best_us(repeated(lambda: Evidence().merge(full), looks), looks)),
        ("state in bytes: 0/1", len(counted.to_json())),
        ("state in bytes: real-valued", len(full.to_json())),
        ("state in bytes: rollback detector", len(detector.to_json())),
    ]


def main() -> None:
    print("The gate's costs: microseconds, and bytes of state\n")
    print(f"{head()}, numpy {np.__version__}\n")
    for name, figure in rows():
        print(f"{name:<48}{figure:>10.3f}" if isinstance(figure, float) else f"{name:<48}{figure:>10}")


if __name__ == "__main__":
    main()
