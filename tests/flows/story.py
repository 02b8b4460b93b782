"""A real history: questions, shadow scores, late and corrected labels, the learn loop, and looks of the gate.

It plays in the near future, so that the loop goes by the entries' own time and not by the clock.
"""

import heapq
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts import events
from contracts.events import Feedback, Prediction, Shadow
from flows.learning import Loop
from flows.promote import decide_roles
from tests.flows.gate_scene import Scene

STEP_MS = 100
SOON = 'maturity = "10s"\n'
CLASSES = ("no", "yes")


def played(scene: Scene) -> "Story":
    """A better challenger is promoted, a worse one retired; then the new champion fails, and is rolled back."""
    story = Story(scene)
    for _ in range(6):
        story.ask(200, {1: 0.7, 2: 0.85, 3: 0.55})
        story.look()
    story.restart()
    for _ in range(5):
        story.ask(200, {1: 0.85, 2: 0.6, 3: 0.5})
        story.look()
    story.end()
    return story


@dataclass
class Story:
    """`right` of `ask` says how often each version that is on the board is right."""

    scene: Scene
    at_ms: int = field(default_factory=lambda: int(time.time() + 3_600) * 1_000)
    delay: int = 30
    """Questions until a label comes."""
    seed: int = 0

    def __post_init__(self) -> None:
        self.began_s = self.at_ms / 1000
        self.rng = random.Random(self.seed)
        self._open()
        self.coming: list[tuple[int, int, str, str]] = []
        self.given = 0
        self.firsts: dict[str, str] = {}

    @property
    def now(self) -> float:
        return self.at_ms / 1000

    def ask(self, n: int, right: Mapping[int, float], lost: float = 0.05, corrected: float = 0.03) -> None:
        """Questions, with the labels that come meanwhile: some never do, some are corrected, soon or long after."""
        place, rng = self.scene.place, self.rng
        pipeline, streams = place.client.pipeline(transaction=False), place.streams
        for _ in range(n):
            self.at_ms += STEP_MS
            board = place.releases.board()
            truth, id_ = rng.randrange(2), f"{self.at_ms}-0"
            scores = {v: self._scores(truth if rng.random() < right[v] else 1 - truth) for v in board.versions}
            row = (rng.gauss(0, 1), rng.choice("abc"))
            asked = Prediction(
                board.champion or 0, 0, scores.pop(board.champion or 0), row, place.schema.fingerprint,
                f"who{rng.randrange(400)}",
            )  # fmt: skip
            pipeline.xadd(streams.key("predictions"), {"e": events.encode(asked)}, id=id_)
            shadow = Shadow({version: (0, one) for version, one in scores.items()})
            pipeline.xadd(streams.key("shadows"), {"e": events.encode(shadow)}, id=id_)
            self._label(id_, truth, lost, corrected)
            self._give(pipeline)
        pipeline.execute()
        while self.loop.step(block_ms=1):
            pass

    def look(self) -> list[str]:
        self.loop.step(block_ms=1)
        self.loop.save()
        return decide_roles(self.scene.place, self.now)

    def restart(self) -> None:
        """The learn loop stops and goes on from its checkpoint, with labels that wait to mature."""
        self.end()
        self._open()

    def end(self) -> None:
        """All that has happened is in the durable log."""
        self.loop.close()

    def _open(self) -> None:
        self.loop = Loop(self.scene.place)
        self.loop.batch, self.loop.write_at = 100, float("inf")

    def _scores(self, answer: int) -> tuple[float, float]:
        sure = self.rng.uniform(0.55, 0.95)
        return (1 - sure, sure) if answer else (sure, 1 - sure)

    def _label(self, id_: str, truth: int, lost: float, corrected: float) -> None:
        at = self.at_ms + self.delay * STEP_MS
        if self.rng.random() < lost:
            at += 600 * STEP_MS  # long after it has matured
        if self.rng.random() < corrected:
            heapq.heappush(self.coming, (at, self.rng.random(), id_, CLASSES[1 - truth]))
            at += self.rng.choice([20, 400]) * STEP_MS
        heapq.heappush(self.coming, (at, self.rng.random(), id_, CLASSES[truth]))

    def _give(self, pipeline) -> None:
        while self.coming and self.coming[0][0] <= self.at_ms:
            _, _, id_, label = heapq.heappop(self.coming)
            self.given += 1
            feedback_id = f"{self.at_ms}-{self.given}"
            fields = {"e": events.encode(Feedback(id_, label))}
            if id_ in self.firsts:
                fields["f"] = self.firsts[id_]
            self.firsts.setdefault(id_, feedback_id)
            pipeline.xadd(self.scene.place.streams.key("feedback"), fields, id=feedback_id)
