"""The drift report: Evidently measures and draws each column, we name method and threshold and judge.

Evidently takes some ten seconds to import: only the watch flow imports this module. Its telemetry belongs to its own
web services, which are not imported here; a test holds it to that.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from contracts.drift_rules import Drift
from contracts.facts import AnswersFacts, ColumnFacts, DriftFacts, QualityFacts
from contracts.schema import Schema, Value
from drift import quality, summary
from drift.columns import Comparison, Numbers, compare, compare_answers, wasserstein
from drift.sketches import Profile
from drift.verdict import JENSEN_SHANNON, MISSING, WASSERSTEIN, Column, Verdict, judge, shares_of
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
class Champion:
    """What is known of the champion in both windows, beside the features; None and empty for what is not."""

    answers: tuple[Numbers, Numbers] | None = None
    """Its scores float64[n, k] in the reference, out of fold, and in the current window."""
    quality: QualityFacts | None = None
    importance: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """(mean, standard deviation) of the loss that permuting a column adds."""
    notes: tuple[str, ...] = ()
    """Why something of this is not known; sentences."""


NOTHING_KNOWN = Champion()


@dataclass(frozen=True)
class Report:
    """What a comparison of two windows found, and the page that shows it (self-contained HTML)."""

    columns: tuple[Column, ...]
    verdict: Verdict
    reference_rows: int
    current_rows: int
    importance: Mapping[str, float]
    answers: AnswersFacts | None
    quality: QualityFacts | None
    data: Mapping[str, ColumnFacts]
    notes: tuple[str, ...]
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
            importance=dict(self.importance),
            answers=self.answers,
            quality=self.quality,
            data=dict(self.data),
            notes=self.notes,
        )


def run(
    reference: Mapping[str, Sequence[Value]],
    current: Mapping[str, Sequence[Value]],
    schema: Schema,
    rules: Drift,
    caption: str = "",
    champion: Champion = NOTHING_KNOWN,
    profiles: Mapping[str, Profile] | None = None,
) -> Report:
    """Distance of every feature between two windows of columns by name; missing values are None.

    A feature that is missing in places is compared by its values and by how often it is missing; the larger distance,
    in units of its threshold, counts. `caption` says on the page what the windows are, `profiles` what the whole
    reference held where it is only a sample of that. Raises TooFewRows.
    """
    rows = len(reference[schema.names[0]]), len(current[schema.names[0]])
    require("reference", rows[0], rules)
    require("current", rows[1], rules)
    comparisons = [
        comparison
        for feature in schema.features
        for comparison in compare(feature, reference[feature.name], current[feature.name], rules.threshold)
    ]
    if champion.answers is not None:
        titles = [comparison.title for comparison in comparisons]
        comparisons.append(compare_answers(schema.label, *champion.answers, rules.threshold, titles))
    distances, page = _measure(comparisons)
    answers = _answers(comparisons.pop(), distances.pop(), champion.answers) if champion.answers is not None else None
    columns = tuple(_farthest(comparisons, distances).values())
    shares = shares_of({name: added for name, (added, _) in champion.importance.items()})
    verdict = judge(columns, rules, shares, summary.clauses(answers, champion.quality))
    data = quality.columns(schema, profiles, current) if profiles else {}
    notes = (*(quality.notes(data, profiles) if profiles else ()), *champion.notes)
    told = summary.Summary(columns, verdict, champion.importance, shares, answers, champion.quality, data, notes)
    head = summary.html(told, caption or f"Reference: {rows[0]:,} rows. Current: {rows[1]:,} rows.")
    page = page.replace("<body>", f"<title>Drift</title><body>{head}", 1)
    return Report(columns, verdict, *rows, shares, answers, champion.quality, data, notes, page)


def _farthest(comparisons: Sequence[Comparison], distances: Sequence[float]) -> dict[str, Column]:
    """One column for each feature: of its values and its missing ones, the farther in units of its threshold."""
    found: dict[str, Column] = {}
    for comparison, distance in zip(comparisons, distances, strict=True):
        column = Column(comparison.feature, comparison.method, distance, comparison.threshold)
        if column.name not in found or column.weight > found[column.name].weight:
            found[column.name] = column
    return found


def _answers(comparison: Comparison, distance: float, scores: tuple[Numbers, Numbers]) -> AnswersFacts:
    return AnswersFacts(
        distance=distance,
        threshold=comparison.threshold,
        method=comparison.method,
        reference_rows=len(scores[0]),
        current_rows=len(scores[1]),
    )


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
            # Answers may be of other rows than features are; a series that is shorter ends in missing values.
            pd.DataFrame({c.title: pd.Series(side) for c, side in zip(comparisons, sides, strict=True)}),
            definition,
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
