"""An online learner at its edges."""

import pickle
from typing import Any

import pytest
from river import anomaly, base, compose, feature_selection, linear_model, naive_bayes, preprocessing, stats

from contracts.config import Learner
from contracts.schema import Feature, Label, Schema
from learners import online, state
from learners.catalogue import build_online
from learners.online import LearnerFailed, OnlineLearner, WrongRiver, class_scores
from learners.synthetic import examples
from tests.learners.streams import bundled, mixed, stream

BINARY = Label("binary", ("no", "yes"))


def schema(*features: Feature, label: Label = BINARY) -> Schema:
    """One number called x, unless others are given."""
    return Schema(features or (Feature("x", "float"),), label)


def test_scores_equal_rivers_own_on_the_same_rows() -> None:
    """Through Tiltyard and by hand, row by row, to the last bit."""
    data = stream("Phishing")
    by_hand = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    learner = build_online(Learner(algorithm="linear"), data.schema)
    for row, label in data:
        x = data.schema.as_dict(row)
        assert learner.scores_one(row) == tuple(by_hand.predict_proba_one(x).values())
        by_hand.learn_one(x, label == "true")
        learner.learn_one(row, label)
    assert learner.learned == len(data.rows)


@pytest.mark.parametrize(
    "model",
    [
        preprocessing.StandardScaler() | preprocessing.MinMaxScaler() | linear_model.LogisticRegression(),
        (preprocessing.StandardScaler() + preprocessing.MinMaxScaler()) | linear_model.LogisticRegression(),
        feature_selection.SelectKBest(stats.PearsonCorr(), k=2) | linear_model.LogisticRegression(),
        anomaly.QuantileFilter(anomaly.OneClassSVM(), q=0.9) | linear_model.LogisticRegression(),
        compose.Discard("x0") | (preprocessing.StandardScaler() | naive_bayes.GaussianNB()),
    ],
    ids=["plain", "union", "supervised", "filter", "nested"],
)
def test_steps_learn_what_the_pipeline_would_let_them_learn(model: Any) -> None:
    """Going from step to step, where that is done, leaves the state that River's own pipeline leaves."""
    data = stream("Phishing")
    by_hand, learner = model.clone(), OnlineLearner("mine", model.clone(), data.schema)
    learner.learn(data.rows[:300], data.labels[:300])
    for row, label in zip(data.rows[:300], data.labels[:300], strict=True):
        by_hand.learn_one(data.schema.as_dict(row), label == "true")
    assert state.digest(learner.model) == state.digest(by_hand)


def test_the_second_class_is_the_positive_one() -> None:
    """Classes may be called anything; scores are in their order."""
    learner = OnlineLearner("mine", linear_model.LogisticRegression(), schema())
    for _ in range(50):
        learner.learn_one((1.0,), "yes")
    no, yes = learner.scores_one((1.0,))
    assert no < 0.5 < yes


def test_no_opinion_is_equal_probabilities() -> None:
    """River answers nothing, or zeros, before it has learned; a class never seen is 0."""
    assert class_scores({}, BINARY) == (0.5, 0.5)
    assert class_scores({False: 0.0, True: 0.0}, BINARY) == (0.5, 0.5)
    assert class_scores({"b": 1.0}, Label("multiclass", ("a", "b", "c"))) == (0.0, 1.0, 0.0)


class Raises(base.Classifier):
    """Learns nothing and says so."""

    def learn_one(self, x: dict[Any, Any], y: Any) -> None:
        raise KeyError("lost")

    def predict_proba_one(self, x: dict[Any, Any]) -> dict[Any, float]:
        return {False: float("nan"), True: 1.0}


def test_a_learner_that_raises_fails_by_name() -> None:
    """The caller benches it; the reason says what it raised."""
    learner = OnlineLearner("mine", Raises(), schema())
    with pytest.raises(LearnerFailed, match="learner mine failed: KeyError: 'lost'") as failure:
        learner.learn_one((1.0,), "yes")
    assert (failure.value.name, learner.learned) == ("mine", 0)


def test_a_score_that_is_not_finite_fails_by_name() -> None:
    """NaN never leaves the learner."""
    learner = OnlineLearner("mine", Raises(), schema())
    with pytest.raises(LearnerFailed, match="it answered"):
        learner.scores_one((1.0,))


def test_a_regression_that_diverges_in_river_stays_finite_here() -> None:
    """Outliers a million standard deviations away, among ordinary rows, leave errors of ordinary size."""
    one = schema(label=Label("regression"))
    learner = build_online(Learner(algorithm="linear"), one)
    for i in range(2000):
        x = float(i % 10) if i % 500 != 499 else 1e6
        learner.learn_one((x,), 3.0 * x)
    assert abs(learner.scores_one((5.0,))[0]) < 1e7


def test_a_checkpoint_of_another_river_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names both versions and what to do."""
    stored = pickle.dumps(build_online(Learner(algorithm="linear"), bundled("Phishing").schema))
    monkeypatch.setattr(online, "_RIVER", "99.0")
    with pytest.raises(WrongRiver, match="but River 99"):
        pickle.loads(stored)


def test_features_may_be_named_like_anything() -> None:
    """A category "dep" with the value "late" does not overwrite a number called "dep_late"."""
    data = mixed("binary")
    learner = build_online(Learner(algorithm="linear"), data.schema)
    for row, label in data:
        learner.learn_one(row, label)
    keys = set(learner.model[-1].weights)
    assert {"dep_late", ("dep", "late")} <= keys


NUMBERS = Schema((Feature("x", "float"), Feature("n", "int"), Feature("b", "bool")), BINARY)


def _block(count: int) -> tuple[list[Any], list[str | float]]:
    data = examples(NUMBERS, count)
    return data.pairs


def test_a_mini_batch_is_learned_in_one_step_and_never_exceeds_its_size() -> None:
    """How many labels come at once must not decide what is learned."""
    learner = build_online(Learner(algorithm="linear", mini_batch=50), NUMBERS)
    learner.learn_many(*_block(50))
    assert learner.learned == 50
    with pytest.raises(ValueError, match="learns 50 labels at a time, not 51"):
        learner.learn_many(*_block(51))
    assert learner.learned == 50


def test_what_fills_no_mini_batch_waits() -> None:
    """Of 120 labels two blocks of 50 are learned; the state is that of those."""
    learner, other = (build_online(Learner(algorithm="linear", mini_batch=50), NUMBERS) for _ in range(2))
    rows, labels = _block(120)
    learner.learn(rows, labels)
    other.learn(rows[:50], labels[:50])
    other.learn(rows[50:100], labels[50:100])
    assert learner.learned == 100
    assert learner.state_hash() == other.state_hash()


def test_naive_bayes_learns_the_same_from_mini_batches_but_for_rounding() -> None:
    """Counts, means and variances: nothing in it depends on the order of the rows."""
    one, many = (build_online(Learner(algorithm="naive_bayes", mini_batch=size), NUMBERS) for size in (None, 50))
    rows, labels = _block(500)
    one.learn(rows, labels)
    many.learn(rows, labels)
    assert abs(one.score_many(rows) - many.score_many(rows)).max() < 1e-10


def test_a_linear_learner_takes_one_step_for_a_mini_batch() -> None:
    """Its scaler knows the same means and variances; its weights have moved by a mean of 50 gradients, not by 50."""
    one, many = (build_online(Learner(algorithm="linear", mini_batch=size), NUMBERS) for size in (None, 50))
    rows, labels = _block(500)
    one.learn(rows, labels)
    many.learn(rows, labels)
    for name in NUMBERS.names:
        assert many.model[0].means[name] == pytest.approx(one.model[0].means[name], rel=1e-12)
        assert many.model[0].vars[name] == pytest.approx(one.model[0].vars[name], rel=1e-12)
    assert max(map(abs, many.model[-1].weights.values())) < 0.1 * max(map(abs, one.model[-1].weights.values()))
