"""Learning the same labels in processes with different PYTHONHASHSEED: does a state depend on more than its labels?"""

import os
import subprocess
import sys

import msgspec

from contracts.config import Learner
from contracts.schema import Schema, Value
from learners.promise import Broken, require
from learners.synthetic import Examples

_SEEDS = (1, 2)


class _Order(msgspec.Struct):
    """What a process is to learn. `path` is where it finds a learner of one's own."""

    path: list[str]
    learner: Learner
    schema: Schema
    rows: list[tuple[Value, ...]]
    labels: list[str | float]


def require_equal(learner: Learner, data: Examples) -> str:
    """What to tell where processes come to equal states and scores. Raises Broken where they do not."""
    found = digests(learner, data)
    require(
        len(set(found)) == 1,
        "what it learns depends on the process (PYTHONHASHSEED): it iterates over a set of text, or draws unseeded",
    )
    return f"in {len(found)} processes with different PYTHONHASHSEED"


def digests(learner: Learner, data: Examples) -> list[str]:
    """The state and scores that each of the processes came to; they run side by side. Raises Broken."""
    order = msgspec.json.encode(_Order(sys.path, learner, data.schema, data.rows, data.labels))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", "from learners.elsewhere import main; main()"],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # a failure's last line is told
        )
        for seed in _SEEDS
    ]
    for process in processes:  # all are given their order before the first is waited for
        assert process.stdin
        process.stdin.write(order)
        process.stdin.close()
    answers = [_answer(process) for process in processes]
    for told, failed in answers:
        if failed:
            raise Broken(f"another process failed on it: {told.splitlines()[-1] if told else 'it said nothing'}")
    return [told for told, _ in answers]


def _answer(process: subprocess.Popen[bytes]) -> tuple[str, bool]:
    """What it printed, and whether it failed."""
    assert process.stdout
    with process.stdout:
        told = process.stdout.read().decode(errors="replace").strip()
    return told, process.wait() != 0


def main() -> None:
    """Reads an order from standard input and prints the digest."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=_Order)
    sys.path[:] = order.path
    data = Examples(order.schema, order.rows, order.labels)
    if order.learner.kind == "batch":
        print(_of_batch(order.learner, data))
    else:
        print(_of_online(order.learner, data))


def _of_online(learner: Learner, data: Examples) -> str:
    from learners.catalogue import build_online

    online = build_online(learner, data.schema)
    online.learn(*data.pairs)
    return online.state_hash() + online.score_many(data.rows[:50]).tobytes().hex()


def _of_batch(learner: Learner, data: Examples) -> str:
    from learners.batch import fit

    fitted = fit(learner, data.schema, data.rows, data.labels, learner.seed, 0.2, lambda _: None)
    return fitted.scores(data.rows).tobytes().hex()
