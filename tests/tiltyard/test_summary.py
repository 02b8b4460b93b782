"""The comparison at the end of a demo, on a log whose contents are known."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from contracts import config, events
from contracts.config import Model
from contracts.events import Feedback, Prediction, Shadow
from contracts.log import Log
from contracts.schema import Label
from data import streams
from tiltyard import demo_config, summary

ROWS = 300
RIGHT, WRONG = (0.1, 0.9), (0.9, 0.1)
START_MS = 1_800_000_000_000


@pytest.fixture
def model() -> Model:
    """Phishing, refitted every 60 labels."""
    text = demo_config.text(streams.stream("phishing"), 10.0).replace("min_rows = 400", "min_rows = 60")
    return config.parse(text).models["phishing"]


def write(folder: Path, model: Model, delay_ms: int) -> Log:
    """One prediction a second: version 1 answers 200 rows, always right, then version 2, always wrong. Version 1 is
    asked in shadow from row 250 on. Each label comes back after `delay_ms`."""
    log = Log(folder, "phishing", model.schema)
    predictions, labels = [], []
    for i, (features, label) in enumerate(islice(streams.stream("phishing"), ROWS)):
        id_ = f"{START_MS + 1_000 * i}-0"
        right, wrong = _scores(model.label, label)
        shadow = Shadow({1: (0, wrong)} if i >= 250 else {})
        version, scores = (1, right) if i < 200 else (2, wrong)
        row = model.schema.decode(features)
        predictions.append((events.offset(id_), Prediction(version, 0, scores, row, model.schema.fingerprint), shadow))
        text = str(model.label.decode(label))
        labels.append((events.offset(f"{START_MS + 1_000 * i + delay_ms}-1"), Feedback(id_, text)))
    log.append_predictions(predictions)
    log.append_labels(labels)
    return log


def _scores(label: Label, truth: object) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What would be right for a row, and what would be wrong."""
    return (RIGHT, WRONG) if label.index(str(label.decode(truth))) == 1 else (WRONG, RIGHT)


def compare(log: Log, model: Model) -> summary.Compared:
    return summary.compare(log, model, {1: "linear", 2: "tree", 3: "tree"})


def test_served_answers_and_learners_are_judged_by_scores_as_logged(tmp_path: Path, model: Model) -> None:
    """Right for 200 rows, wrong for 100; a learner counts where it was asked, in shadow or not."""
    compared = compare(write(tmp_path, model, 10_000), model)
    assert compared.bounds == (0, 60, 120, 180, 240, 300)
    assert compared.served.quality == pytest.approx(200 / 300)
    assert compared.served.stretches == pytest.approx((1.0, 1.0, 1.0, 1 / 3, 0.0))
    linear, tree = compared.learners
    assert (linear.n, linear.quality) == (250, pytest.approx(200 / 250))
    assert (tree.n, tree.quality) == (100, 0.0)
    assert np.isnan(tree.stretches[0])


def test_versions_are_counted_where_they_answered(tmp_path: Path, model: Model) -> None:
    """Each with its learner."""
    found = summary.by_version(write(tmp_path, model, 10_000), {1: "linear", 2: "tree"})
    assert found == {
        1: {"learner": "linear", "n": 200, "quality": 1.0},
        2: {"learner": "tree", "n": 100, "quality": 0.0},
    }


def test_baselines_learn_and_the_prior_answers_before_them(tmp_path: Path, model: Model) -> None:
    """Fitted once after 60 labels, or every 60; the first stretch is the prior's."""
    log = write(tmp_path, model, 10_000)
    compared = compare(log, model)
    labels = log.examples().labels
    prior = sum(label == "false" for label in labels[:60]) / 60
    assert compared.never_updated.stretches[0] == compared.retrained.stretches[0] == pytest.approx(prior)
    assert compared.never_updated.stretches[-1] > 0.75
    assert compared.retrained.stretches[-1] > 0.75
    assert compared.refits == 4


def test_baselines_never_see_a_label_before_it_came_back(tmp_path: Path, model: Model) -> None:
    """When all labels come after the last question, neither baseline can ever be fitted."""
    log = write(tmp_path, model, 1_000 * ROWS)
    compared = compare(log, model)
    prior = sum(label == "false" for label in log.examples().labels) / ROWS
    assert compared.refits == 0
    assert compared.never_updated.quality == compared.retrained.quality == pytest.approx(prior)


def test_an_empty_log_is_told(tmp_path: Path, model: Model) -> None:
    """Nothing is made up."""
    with pytest.raises(ValueError, match="no labelled prediction"):
        compare(Log(tmp_path, "phishing", model.schema), model)
