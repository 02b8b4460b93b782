"""What the state folder keeps of one model's past: log, ledger, and what the learn loop had to do without."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contracts import config, events
from contracts.config import Model
from contracts.events import Decision
from contracts.log import Log
from contracts.quantities import ConfigError, seconds
from contracts.settings import Settings
from flows.dossiers import uncovered
from registry import history
from registry.replay import Replay
from tiltyard import instance


@dataclass(frozen=True)
class Past:
    """One model's log and ledger."""

    name: str
    settings: Settings
    model: Model
    folder: Path
    lines: Sequence[Decision]
    uncovered: frozenset[int]

    @property
    def online(self) -> frozenset[int]:
        """Versions of online learners."""
        learners = self.model.learners_of("online")
        versions = {line.version for line in self.lines if line.version}
        return frozenset(one for one in versions if history.learner_of(self.lines, one) in learners)

    @property
    def end(self) -> float:
        """Epoch seconds at which all of the log has matured."""
        ends = Replay(self.folder, self.model, self.model.gate, 0).ends
        return events.seconds_at(max(*ends, 0)) + seconds(self.model.gate.maturity)


def of(state: Path | None, model: str | None) -> Past:
    """The past of the model of that name, or of the only one. Raises ConfigError."""
    chosen = instance.find(state)
    known = config.load(chosen.config)
    name = model or next(iter(known.models))
    if model is None and len(known.models) > 1:
        raise ConfigError(f"there are several models: choose one with --model ({', '.join(known.models)})")
    log = Log(chosen.log_folder, name, known.model(name).schema)
    lines = [msgspec.json.decode(line, type=Decision) for line in log.ledger()]
    return Past(name, chosen, known.model(name), log.folder, lines, uncovered(chosen.checkpoint_folder / name))
