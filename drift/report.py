"""The drift report: Evidently measures and draws each column, we name method and threshold and judge.

Evidently takes some ten seconds to import: only the watch flow imports this module. Its telemetry belongs to its own
web services, which are not imported here; a test holds it to that.
"""

import html
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from contracts.drift_rules import Drift
from contracts.facts import DriftFacts
from contracts.schema import Schema, Value
from drift.columns import Comparison, compare, wasserstein
from drift.verdict import JENSEN_SHANNON, MISSING, WASSERSTEIN, Column, Verdict, judge
from drift.windows import require

with warnings.catch_warnings():
    # Evidently 0.7.23 uses names that litestar and numpy deprecate; nobody who runs a report can act on that.
    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Dataset
    from evidently import Report as Evidently
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType
    from evidently.metrics import ValueDrift

_DISTANCE = StatTest("tiltyard_wasserstein", WASSERSTEIN, [ColumnType.Numerical], 0.1)
_METHODS = {WASSERSTEIN: _DISTANCE.name, JENSEN_SHANNON: "jensenshannon", MISSING: "jensenshannon"}


@dataclass(frozen=True)
class Report:
    """What a comparison of two windows found, and the page that shows it (self-contained HTML)."""

    columns: tuple[Column, ...]
    verdict: Verdict
    reference_rows: int
    current_rows: int
    html: str

    def facts(self, at: float, file_name: str) -> DriftFacts:
        """What the page and the mails need of this report; `at` in epoch seconds."""
        return DriftFacts(
            at=at,
            report=file_name,
            alarm=self.verdict.alarm,
            share=self.verdict.share,
            columns={column.name: column.distance for column in self.columns},
            drifted=self.verdict.drifted,
            sentence=self.verdict.sentence,
            reference_rows=self.reference_rows,
            current_rows=self.current_rows,
            thresholds={column.name: column.threshold for column in self.columns},
            methods={column.name: column.method for column in self.columns},
        )


def run(
    reference: Mapping[str, Sequence[Value]],
    current: Mapping[str, Sequence[Value]],
    schema: Schema,
    rules: Drift,
    caption: str = "",
) -> Report:
    """Distance of every feature between two windows of columns by name; missing values are None.

    A feature that is missing in places is compared by its values and by how often it is missing; the larger distance,
    in units of its threshold, counts. `caption` says on the page what the windows are. Raises TooFewRows.
    """
    rows = len(reference[schema.names[0]]), len(current[schema.names[0]])
    require("reference", rows[0], rules)
    require("current", rows[1], rules)
    comparisons = [
        comparison
        for feature in schema.features
        for comparison in compare(feature, reference[feature.name], current[feature.name], rules.threshold)
    ]
    distances, page = _measure(comparisons)
    worst: dict[str, Column] = {}
    for comparison, distance in zip(comparisons, distances, strict=True):
        column = Column(comparison.feature, comparison.method, distance, comparison.threshold)
        if column.name not in worst or column.weight > worst[column.name].weight:
            worst[column.name] = column
    columns = tuple(worst.values())
    verdict = judge(columns, rules)
    head = _head(columns, verdict, caption or f"Reference: {rows[0]:,} rows. Current: {rows[1]:,} rows.")
    return Report(columns, verdict, *rows, page.replace("<body>", f"<title>Drift</title><body>{head}", 1))


def _measure(comparisons: Sequence[Comparison]) -> tuple[list[float], str]:
    """Distances in the order of comparisons, and Evidently's page."""
    register_stattest(_DISTANCE, _scaled_wasserstein)
    metrics = [ValueDrift(column=c.title, method=_METHODS[c.method], threshold=c.threshold) for c in comparisons]
    numeric = [c.title for c in comparisons if c.method == WASSERSTEIN]
    definition = DataDefinition(
        numerical_columns=numeric,
        categorical_columns=[c.title for c in comparisons if c.method != WASSERSTEIN],
    )
    windows = [
        Dataset.from_pandas(
            pd.DataFrame({c.title: side for c, side in zip(comparisons, sides, strict=True)}), definition
        )
        for sides in ([c.current for c in comparisons], [c.reference for c in comparisons])
    ]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Constant columns divide by zero in correlations that are not shown.
        warnings.simplefilter("ignore")
        snapshot = Evidently(metrics, include_tests=False).run(*windows)
        found = {m["config"]["column"]: float(m["value"]) for m in snapshot.dict()["metrics"]}
        page = snapshot.get_html_str(as_iframe=False)
    # Rounding can take the root of -1e-17 for equal distributions.
    return [0.0 if np.isnan(found[c.title]) else found[c.title] for c in comparisons], page


def _scaled_wasserstein(
    reference: "pd.Series[float]", current: "pd.Series[float]", _kind: ColumnType, threshold: float
) -> tuple[float, bool]:
    distance = wasserstein(np.asarray(reference, np.float64), np.asarray(current, np.float64))
    return distance, distance >= threshold


def _head(columns: Sequence[Column], verdict: Verdict, caption: str) -> str:
    """The verdict above Evidently's plots, as HTML."""
    ordered = sorted(columns, key=lambda column: column.weight, reverse=True)
    rows = "".join(
        f"<tr><td>{'<b>moved</b>' if column.drifted else ''}<td>{html.escape(column.name)}"
        f"<td>{column.distance:.3f}<td>{column.threshold:.3f}<td>{column.method}"
        for column in ordered
    )
    return (
        '<section style="font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em">'
        f"<h1>{'Drift alarm' if verdict.alarm else 'Drift report'}</h1>"
        f"<p><b>{html.escape(verdict.sentence)}.</b></p><p>{html.escape(caption)}</p>"
        '<table cellpadding="6"><tr align="left"><th><th>column<th>distance<th>threshold<th>method'
        f"{rows}</table></section>"
    )
