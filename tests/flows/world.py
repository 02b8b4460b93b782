"""A model, and questions, shadow scores and labels at given times, as serving and the shadow scorer write them."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from contracts import events
from contracts.config import parse
from contracts.events import Feedback, Prediction, Shadow
from contracts.releases import Board
from contracts.settings import Settings
from flows.aside import Inline
from flows.learning import Loop
from flows.place import Place, open_place
from flows.state import Counts
from flows.trainer import Trainer
from learners.online import OnlineLearner

CONFIG = """
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float", c = "category?"}
[models.m.learners]
linear = {algorithm = "linear"}
tree = {algorithm = "hoeffding_tree", params = {grace_period = 50}}
[models.m.labels]
correct_every = "0s"
[models.m.gate]
maturity = "5s"
bootstrap_labels = 1_000_000  # no MLflow here
"""
START_MS = 1_700_000_000_000
STEP_MS = 10
CHAMPION, CHALLENGER = 1, 2


def place_in(folder: Path, client: redis.Redis, text: str = CONFIG) -> Place:
    settings = Settings(state=folder, mlflow_url=f"sqlite:///{folder}/mlflow.db")
    return open_place("m", parse(text).model("m"), settings, client)


@dataclass(frozen=True)
class Question:
    id: str
    row: tuple[float, str | None]
    label: str


def question(n: int, seed: int = 0) -> Question:
    """The n-th question; true where x is above 0, with noise."""
    rng = random.Random(f"{seed}:{n}")
    x = rng.gauss(0, 1)
    label = str((x > 0) != (rng.random() < 0.1)).lower()
    return Question(f"{START_MS + n * STEP_MS}-0", (x, rng.choice(["a", "b", None])), label)


def fill(place: Place, questions: int, delay: int = 50, corrected: float = 0.02, lost: float = 0.1) -> None:
    """A whole history: the champion answers with a coin, the challenger knows the rule, labels come `delay` later.

    Some labels never come, some are corrected, some entries cannot be read, some are for predictions nobody made.
    """
    rng, schema = random.Random(1), place.schema.fingerprint
    pipeline = place.client.pipeline(transaction=False)
    labels: list[tuple[int, int, bytes]] = []
    for n in range(questions):
        asked = question(n)
        p, q = rng.random(), 0.9 if asked.row[0] > 0 else 0.1
        prediction = Prediction(CHAMPION, 0, (1 - p, p), asked.row, schema)
        pipeline.xadd(place.streams.key("predictions"), {"e": events.encode(prediction)}, id=asked.id)
        shadow = Shadow({CHALLENGER: (0, (1 - q, q))})
        pipeline.xadd(place.streams.key("shadows"), {"e": events.encode(shadow)}, id=asked.id)
        at = START_MS + (n + delay) * STEP_MS
        if rng.random() >= lost:
            labels.append((at, n, events.encode(Feedback(asked.id, asked.label))))
        if rng.random() < corrected:
            other = "false" if asked.label == "true" else "true"
            # Some before the prediction has matured, some after.
            later = rng.choice([700, 9_000])
            labels.append((at + later, n, events.encode(Feedback(asked.id, other, reporter="ann"))))
        if rng.random() < 0.01:
            labels.append((at, n, rng.choice([b"\xc1", events.encode(Feedback("77-7", "true"))])))
    first: dict[int, str] = {}
    for sequence, (at, n, event) in enumerate(sorted(labels)):
        fields: dict[Any, Any] = {"e": event}
        if events.readable(Feedback, {b"e": event}) and b"77-7" not in event:
            if n in first:
                fields["f"] = first[n]
            first.setdefault(n, f"{at}-{sequence}")
        pipeline.xadd(place.streams.key("feedback"), fields, id=f"{at}-{sequence}")
    pipeline.execute()
    place.releases.set_board(Board(champion=CHAMPION, challengers=(CHALLENGER,)))


class Learning:
    """The learn loop and a trainer for each learner, in this process and one after the other."""

    def __init__(self, place: Place):
        self.loop = Loop(place)
        self.trainers = {name: Trainer(place, name, Inline) for name in place.model.learners_of("online")}

    @property
    def counts(self) -> Counts:
        return self.loop.state.counts

    def learner(self, name: str = "linear") -> OnlineLearner:
        return self.trainers[name].state.learner

    def step(self) -> int:
        read = self.loop.step(block_ms=1)
        return read + sum(trainer.step() for trainer in self.trainers.values())

    def drain(self) -> None:
        """Until nothing is left to read or to learn."""
        while self.step():
            pass

    def mature(self) -> None:
        """All that is labelled, whatever its time."""
        self.loop.join.mature(2**62)

    def close(self) -> None:
        self.loop.close()
        for trainer in self.trainers.values():
            trainer.close()
