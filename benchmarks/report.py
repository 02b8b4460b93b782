"""What a drift report costs, beside Evidently's own on the same rows: `python -m benchmarks.report [ROWS]`.

Ten columns, seven of numbers and three of categories, two windows of so many rows each, read from a Delta log. Each
line is a process of its own: seconds after import, and the most memory that it held. Ours measures distances named with
their thresholds, answers, quality and data; Evidently's preset with its defaults measures columns. The log is made of
generated rows: what is measured is time, and no column has drifted but one.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks._head import head

_COMMON = """
import resource, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import numpy as np
from contracts.drift_rules import Drift
from contracts.schema import Feature, Label, Schema
folder, rows = Path(sys.argv[1]), int(sys.argv[2])
schema = Schema(
    tuple(Feature(f"x{i}", "float") for i in range(7)) + tuple(Feature(f"c{i}", "category") for i in range(3)),
    Label("binary", (False, True)),
)
from contracts import events
from contracts.log import Log
log = Log(folder, "m", schema)
def told():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(time.perf_counter() - begun, time.process_time() - worked, peak)
"""
_WRITE = """
from contracts.events import Prediction, Shadow
rng = np.random.default_rng(0)
for first in range(0, 2 * rows, 10_000):
    n = min(10_000, 2 * rows - first)
    numbers = rng.normal(size=(n, 7))
    numbers[:, 0] += first >= rows
    texts = [rng.choice([f"k{j}" for j in range(10 * (i + 1))], n).tolist() for i in range(3)]
    p = rng.random(n)
    log.append_predictions([
        (events.span(first + k), Prediction(1, 0, (1 - p[k], p[k]), (*row, *(t[k] for t in texts)), "f"), Shadow())
        for k, row in enumerate(numbers.tolist())
    ])
"""
_OURS = """
from drift import report, sketches, windows
begun, worked = time.perf_counter(), time.process_time()
rules = Drift(reference_rows=rows, current_rows=rows)
chosen = windows.choose(log.offsets(), windows.Origin(0, events.span(rows - 1), -1), rules)
reference = sketches.kept(folder / "references", log, chosen.reference, rows, 1)
current = sketches.of(log, chosen.current, rows, 1)
answers = tuple(np.array(one.scores()) for one in (reference, current))
made = report.run(
    reference.columns(schema), current.columns(schema), schema, rules, "", report.Champion(answers), reference.profiles
)
(folder / "ours.html").write_text(made.html)
told()
"""
_THEIRS = """
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
begun, worked = time.perf_counter(), time.process_time()
columns = log.features(2 * rows)
numbers, texts = list(schema.numeric_names), list(schema.categorical_names)
definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
cuts = slice(rows), slice(rows, None)
frames = [pd.DataFrame({name: column[cut] for name, column in columns.items()}) for cut in cuts]
reference, current = (Dataset.from_pandas(frame, definition) for frame in frames)
found = Report([DataDriftPreset()]).run(current, reference)
(folder / "theirs.html").write_text(found.get_html_str(as_iframe=False))
told()
"""


def main(rows: int = 50_000) -> None:
    """Print the table for windows of so many rows."""
    table = Table(title=f"Drift report, 10 columns by {rows:,} rows in each window: {head()}", title_justify="left")
    table.add_column("report")
    for column in ("s", "CPU s", "peak MB", "of Evidently's CPU"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        _run(_WRITE, folder, rows)
        theirs = _run(_THEIRS, folder, rows)
        for name, found in (
            ("ours, the reference read for the first time", _run(_OURS, folder, rows)),
            ("ours, the reference kept", _run(_OURS, folder, rows)),
            ("Evidently's DataDriftPreset", theirs),
        ):
            wall_s, cpu_s, peak_mb = found
            table.add_row(name, f"{wall_s:.2f}", f"{cpu_s:.2f}", f"{peak_mb:,.0f}", f"{cpu_s / theirs[1]:.2f}")
    Console(width=130).print(table)


def _run(script: str, folder: str, rows: int) -> list[float]:
    """What a process of its own prints: seconds, CPU seconds, peak MB; nothing for one that only writes."""
    command = [sys.executable, "-c", _COMMON + script, folder, str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise SystemExit(done.stderr)
    return [float(value) for value in done.stdout.split()]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
