"""Why some of River's estimators have no exact equivalent, and what to use instead."""

from river import anomaly

_SCORES_LABELS = "it scores a label that has come, which is no input of a prediction; HalfSpaceTrees scores features"
_SMALL_SCORERS = "HalfSpaceTrees and OneClassSVM have exact equivalents"
REFUSED: dict[type, str] = {
    anomaly.GaussianScorer: _SCORES_LABELS,
    anomaly.StandardAbsoluteDeviation: _SCORES_LABELS,
    anomaly.PredictiveAnomalyDetection: _SCORES_LABELS,
    anomaly.LocalOutlierFactor: f"its answer takes the rows that it keeps; {_SMALL_SCORERS}",
    anomaly.LODA: f"its histograms have bins of one value, which any other rounding misses; {_SMALL_SCORERS}",
}
