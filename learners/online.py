"""A learner that learns from every label, and says what it believes without changing by being asked."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import numpy as np
from river import base
from river.compose import Pipeline, TransformerUnion

from contracts.schema import Label, Schema, Value
from learners import state

_RIVER = version("river")
_TYPICAL: dict[str, Value] = {"float": 0.0, "int": 0, "bool": False, "category": "?"}


class LearnerFailed(Exception):
    """A learner raised, or answered with something that is no score; its state is not to be trusted any more."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"learner {name} failed: {reason}; bench it, or rebuild it from the last checkpoint")
        self.name, self.reason = name, reason


class WrongRiver(Exception):
    """A checkpoint was written by another River, whose states differ."""

    def __init__(self, stored: str, installed: str):
        super().__init__(
            f"the checkpoint holds a state of River {stored}, but River {installed} is installed; "
            f"install river=={stored}, or delete the checkpoint to learn anew from the log"
        )
        self.stored, self.installed = stored, installed


class OnlineLearner:
    """A River estimator for one schema: `learn_one` changes it, nothing else does.

    `learned` counts the labels. Pickles of it are small, and equal states have equal `state_hash` in every process.
    With a `mini_batch` it is `learn_many` that changes it.
    """

    def __init__(self, name: str, model: Any, schema: Schema, mini_batch: int | None = None):
        self.name, self.model, self.schema, self.mini_batch = name, model, schema, mini_batch
        self.learned = 0
        # River's default dicts and cached plans come to be at the first look: look once, so that later looks change
        # nothing. Some scalers have no answer yet.
        with suppress(LearnerFailed):
            self.scores_one(tuple(_TYPICAL[feature.type] for feature in schema.features))

    def learn_one(self, row: Sequence[Value], label: str | float) -> None:
        """Learn one row (values in schema order) with its stored label. Raises LearnerFailed."""
        self.learn_each([(row, label)])

    def learn_each(self, pairs: Iterable[tuple[Sequence[Value], str | float]]) -> None:
        """Learn rows with their stored labels, one after the other. Raises LearnerFailed; `learned` tells at which."""
        learn_one, as_dict, label = _learn_one(self.model), self.schema.as_dict, self.schema.label
        positive = label.class_texts[1] if label.task == "binary" else None
        learned = self.learned
        try:
            for row, stored in pairs:
                learn_one(as_dict(row), stored if positive is None else stored == positive)
                learned += 1
        except Exception as error:
            raise LearnerFailed(self.name, _because(error)) from error
        finally:
            self.learned = learned

    def learn_many(self, rows: Sequence[Sequence[Value]], labels: Sequence[str | float]) -> None:
        """Learn one block in one step of River's learn_many. Raises LearnerFailed.

        A state must not depend on how many labels came at once: blocks have `mini_batch` rows, fewer only where some
        were erased. Raises ValueError for more, or none.
        """
        if self.mini_batch is None or not 0 < len(rows) <= self.mini_batch:
            raise ValueError(f"learner {self.name} learns {self.mini_batch} labels at a time, not {len(rows)}")
        try:
            self.model.learn_many(*_frame(self.schema, rows, labels))
        except Exception as error:
            raise LearnerFailed(self.name, _because(error)) from error
        self.learned += len(rows)

    def learn(self, rows: Sequence[Sequence[Value]], labels: Sequence[str | float]) -> None:
        """Learn rows in order; mini-batch by mini-batch where there is one, without those that fill none."""
        if self.mini_batch is None:
            self.learn_each(zip(rows, labels, strict=True))
            return
        for at in range(0, len(rows) - self.mini_batch + 1, self.mini_batch):
            end = at + self.mini_batch
            self.learn_many(rows[at:end], labels[at:end])

    def scores_one(self, row: Sequence[Value]) -> tuple[float, ...]:
        """Class probabilities in class order, or the value. Raises LearnerFailed when one is not finite."""
        x = self.schema.as_dict(row)
        try:
            if self.schema.label.is_regression:
                scores: tuple[float, ...] = (float(self.model.predict_one(x)),)
            else:
                scores = class_scores(self.model.predict_proba_one(x), self.schema.label)
        except Exception as error:
            raise LearnerFailed(self.name, _because(error)) from error
        if not all(map(math.isfinite, scores)):
            raise LearnerFailed(self.name, f"it answered {scores}")
        return scores

    def score_many(self, rows: Sequence[Sequence[Value]]) -> np.ndarray:
        """float64[n, k]: `scores_one` of each row."""
        return np.array([self.scores_one(row) for row in rows]).reshape(len(rows), self.schema.label.width)

    def state_hash(self) -> str:
        """64 hex digits: equal states give equal ones, whatever the process, its hash seed or how they were stored."""
        return state.digest([self.learned, self.model])

    def __getstate__(self) -> dict[str, Any]:
        return {
            "river": _RIVER,
            "name": self.name,
            "schema": self.schema,
            "learned": self.learned,
            "mini_batch": self.mini_batch,
            "model": state.dumps(self.model),
        }

    def __setstate__(self, stored: dict[str, Any]) -> None:
        if stored["river"] != _RIVER:
            raise WrongRiver(stored["river"], _RIVER)
        self.name, self.schema, self.learned = stored["name"], stored["schema"], stored["learned"]
        self.mini_batch = stored.get("mini_batch")  # states stored before it was there have none
        self.model = state.loads(stored["model"])


def _learn_one(model: Any) -> Callable[[dict[str, Any], Any], object]:
    """River's `learn_one`; of plain transformers before an estimator, the very calls that it makes.

    A pipeline finds out at every row what each of its steps is, which costs a tenth of a linear model's time.
    """
    *before, last = model.steps.values() if type(model) is Pipeline else (model,)
    if not before or not all(map(_is_plain, before)) or not isinstance(last, base.Classifier | base.Regressor):
        own: Callable[[dict[str, Any], Any], object] = model.learn_one
        return own
    transformers = [(one.learn_one, one.transform_one) for one in before]
    learn_last: Callable[[Any, Any], object] = last.learn_one

    def learn_one(x: dict[str, Any], y: Any) -> None:
        for learn, transform in transformers:
            learn(x)
            x = transform(x)
        learn_last(x, y)

    return learn_one


def _is_plain(step: Any) -> bool:
    """Whether a pipeline lets it learn the features, and transforms them with it, and does nothing else."""
    others = base.AnomalyFilter | TransformerUnion
    return isinstance(step, base.Transformer) and not isinstance(step, others) and not step._supervised


def _frame(schema: Schema, rows: Sequence[Sequence[Value]], labels: Sequence[str | float]) -> tuple[Any, Any]:
    """Rows and labels as River's learn_many takes them, numbers first: missing ones NaN, missing categories None."""
    import pandas as pd  # half a second, which only mini-batches cost

    tensors = schema.tensors(rows)
    frame = pd.DataFrame(tensors.get("numeric"), columns=list(schema.numeric_names), index=range(len(rows)))
    for i, name in enumerate(schema.categorical_names):
        frame[name] = [text or None for text in tensors["categorical"][:, i]]
    return frame, pd.Series([target(schema.label, label) for label in labels], name="label")


def target(label: Label, stored: str | float) -> bool | str | float:
    """A stored label as River learns it: a binary one is whether it is the second class."""
    return stored == label.class_texts[1] if label.task == "binary" else stored


def class_keys(label: Label) -> tuple[bool | str, ...]:
    """What River calls the classes, in class order."""
    return (False, True) if label.task == "binary" else label.class_texts


def class_scores(probabilities: Mapping[Any, float], label: Label) -> tuple[float, ...]:
    """River's probabilities in class order: 0 for a class never seen, equal ones when it has no opinion at all."""
    scores = tuple(float(probabilities.get(key, 0.0)) for key in class_keys(label))
    return scores if any(scores) else (1 / len(scores),) * len(scores)


def _because(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
