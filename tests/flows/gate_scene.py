"""A champion and two challengers in a real MLflow, and evidence as the learn loop makes it known."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import redis

from contracts.config import parse
from contracts.events import Decision, Prediction
from contracts.facts import ComparisonFacts, LearnFacts, WatchFacts
from contracts.settings import Settings
from flows.place import Place, open_place
from flows.promote import decide_roles
from registry.evidence import Evidence
from tests.registry.conftest import release

CONFIG = """
[models.{name}]
label = {{task = "binary", classes = ["no", "yes"]}}
features = {{x = "float", kind = "category"}}
[models.{name}.learners]
linear = {{algorithm = "linear"}}
[models.{name}.gate]
min_matured = 100
"""


def place_of(name: str, folder: Path, mlflow_folder: Path, client: redis.Redis, more: str = "") -> Place:
    """`more` are further lines of the gate's table."""
    settings = Settings(state=folder, mlflow_url=f"sqlite:///{mlflow_folder}/store.db")
    return open_place(name, parse(CONFIG.format(name=name) + more).model(name), settings, client)


@dataclass
class Scene:
    """Version 1 answers; 2 and 3 shadow it."""

    place: Place
    pairs: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of 1,000 questions, those on which the challenger alone was right, and the champion alone, by challenger."""

    def open(self) -> "Scene":
        for n in (1, 2, 3):
            fresh = release(self.place.name, n)
            version = self.place.registry.register(fresh.onnx, fresh.manifest)
            manifest = msgspec.structs.replace(fresh.manifest, version=version)
            self.place.roles.enrol(msgspec.structs.replace(fresh, manifest=manifest), "joins", cause="test")
        self.place.roles.bootstrap(1, "the first", cause="test")
        return self

    def ruled(self, more: str) -> "Scene":
        """The same under other rules of the gate."""
        model = parse(CONFIG.format(name=self.place.name) + more).model(self.place.name)
        return Scene(open_place(self.place.name, model, self.place.settings, self.place.client), self.pairs)

    def look(self, after_s: float = 0.0, **pairs: tuple[int, int]) -> list[str]:
        """What the gate does, `after_s` from now, with v2=(wins, losses) or v3=... known since the last look."""
        self.know(**pairs)
        return decide_roles(self.place, time.time() + after_s)

    def know(self, watch: WatchFacts | None = None, **pairs: tuple[int, int]) -> None:
        """What the next look finds; `watch` is that on the champion."""
        self.pairs |= {int(name[1:]): counts for name, counts in pairs.items()}
        board = self.place.releases.board()
        comparisons = tuple(
            self._comparison(version, board.champion or 0) for version in self.pairs if version in board.challengers
        )
        facts = LearnFacts(
            at=time.time(), last_feedback_id="0-0", feedback=0, joined=0, orphans=0, duplicates=0, corrections=0,
            late=0, uncovered=0, pending=0, matured=0, dead_letters=0, loss="zero_one", delay_s=None, learners={},
            versions=(), comparisons=comparisons, champion=watch,
        )  # fmt: skip
        self.place.streams.set_fact("learn", facts)

    def _comparison(self, version: int, champion: int) -> ComparisonFacts:
        wins, losses = self.pairs[version]
        evidence = Evidence()
        evidence.add_many([1.0] * wins + [-1.0] * losses + [0.0] * (1_000 - wins - losses if wins + losses else 0))
        return ComparisonFacts(
            champion=champion, challenger=version, learner="constant", started_at=time.time() + 1, n=evidence.n,
            wins=wins, losses=losses, gain=0.0, lower=0.0, upper=0.0, log_e=0.0, needed=0.0, uncovered=0,
            decision="", reason="", evidence=evidence.to_json(),
        )  # fmt: skip

    def ask(self) -> str:
        """A question that the champion answers, so that a tenure which begins later begins after it."""
        board = self.place.releases.board()
        assert board.champion is not None
        return self.place.streams.append(Prediction(board.champion, 0, (0.5, 0.5), (0.1, "a"), "s"))

    def lines(self, *kinds: str) -> list[Decision]:
        return [line for line in self.place.roles.ledger.read() if not kinds or line.kind in kinds]

    def told(self, *kinds: str) -> list[tuple[str, int | None]]:
        return [(line.kind, line.version) for line in self.lines(*kinds)]
