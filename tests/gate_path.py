"""Comparisons on the real path: questions, shadow scores and late labels through streams, and looks all the time.

Time is compressed: entries carry ids of as long a history as is wanted, and the learn loop goes by those.
"""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import redis

from contracts import events
from contracts.config import parse
from contracts.events import Feedback, Prediction, Shadow
from contracts.facts import ComparisonFacts
from contracts.releases import Board
from contracts.settings import Settings
from flows.learning import Loop
from flows.place import Place, open_place
from registry.evidence import Evidence
from registry.gate import needed

CONFIG = """
[models.{name}]
label = {{task = "binary", classes = [false, true]}}
features = {{x = "float"}}
label_horizon = "3650d"
[models.{name}.learners]
linear = {{algorithm = "linear"}}
[models.{name}.gate]
bootstrap_labels = 1_000_000  # no MLflow here
shadow_timeout = "3649d"  # shadow scores are there before any label
{gate}
"""
START_MS = 1_700_000_000_000
STEP_MS = 1_000
CHAMPION, CHALLENGER = 1, 2


@dataclass
class History:
    """What happened to n questions: all arrays are [n]."""

    labels: np.ndarray
    """0 or 1."""
    champion_wrong: np.ndarray
    challenger_wrong: np.ndarray
    delays: np.ndarray
    """Questions asked until the label comes; below 0 for never."""
    entities: np.ndarray | None = None
    wrong_labels: np.ndarray | None = None
    """Labels that are corrected `corrected_after` questions after they came."""
    corrected_after: int = 0


@dataclass(frozen=True)
class Outcome:
    """Of one run. `promoted_at` is the number of matured units at the first look that would have promoted."""

    promoted_at: int | None
    reached_at: int | None
    """The same for the evidence alone, whatever else forbids a promotion."""
    last: ComparisonFacts
    """When all is labelled and matured."""
    corrections: int


_names = (f"m{i}" for i in itertools.count())


def played(folder: Path, client: redis.Redis, history: History, gate: str, look_every: int = 100) -> Outcome:
    """Plays one history through the learn loop, and looks after each `look_every` labels."""
    name = next(_names)
    settings = Settings(state=folder / name)
    place = open_place(name, parse(CONFIG.format(name=name, gate=gate)).model(name), settings, client)
    _fill(place, history)
    loop = Loop(place)
    loop.batch, loop.write_every_s, loop.save_every_s = look_every, 1e9, 1e9
    loop.write_at += 1e9
    promoted_at = reached_at = None
    try:
        is_over = False
        while not is_over:
            is_over = not loop.step(block_ms=1)
            (facts,) = loop.state.record.comparison_facts((CHALLENGER,), {}, START_MS / 1000 + 86_400)
            if reached_at is None and Evidence.from_json(facts.evidence).log_e() >= needed(place.model.gate):
                reached_at = facts.n
            if promoted_at is None and facts.decision == "promote":
                promoted_at = facts.n
    finally:
        loop.journal.close()
        client.delete(*(place.streams.key(one) for one in ("predictions", "shadows", "feedback")))
        shutil.rmtree(settings.state)
    return Outcome(promoted_at, reached_at, facts, loop.state.counts.corrections)


def _fill(place: Place, history: History) -> None:
    pipeline = place.client.pipeline(transaction=False)
    schema, n = place.schema.fingerprint, len(history.labels)
    keys = {name: place.streams.key(name) for name in ("predictions", "shadows", "feedback")}
    answers = [[(0.75, 0.25), (0.25, 0.75)], [(0.7, 0.3), (0.3, 0.7)]]
    for i in range(n):
        label = int(history.labels[i])
        mine, other = label ^ int(history.champion_wrong[i]), label ^ int(history.challenger_wrong[i])
        entity = None if history.entities is None else str(history.entities[i])
        prediction = Prediction(CHAMPION, 0, answers[0][mine], (float(i),), schema, entity)
        id_ = f"{START_MS + i * STEP_MS}-0"
        pipeline.xadd(keys["predictions"], {"e": events.encode(prediction)}, id=id_)
        pipeline.xadd(keys["shadows"], {"e": events.encode(Shadow({CHALLENGER: (0, answers[1][other])}))}, id=id_)
    firsts: dict[int, str] = {}
    for sequence, (at, i, text, is_correction) in enumerate(sorted(_labels(history))):
        id_ = f"{START_MS + at * STEP_MS}-{sequence}"
        fields: dict[str, bytes | str] = {"e": events.encode(Feedback(f"{START_MS + i * STEP_MS}-0", text))}
        if is_correction:
            fields["f"] = firsts[i]
        firsts.setdefault(i, id_)
        pipeline.xadd(keys["feedback"], fields, id=id_)
    pipeline.execute()
    place.releases.set_board(Board(CHAMPION, (CHALLENGER,)))


def _labels(history: History) -> Iterator[tuple[int, int, str, bool]]:
    """(question after which it comes, whose label it is, label, whether it corrects an earlier one)."""
    texts = ("false", "true")
    for i, delay in enumerate(history.delays.tolist()):
        if delay < 0:
            continue
        label, at = int(history.labels[i]), i + 1 + int(delay)
        is_wrong = history.wrong_labels is not None and bool(history.wrong_labels[i])
        yield at, i, texts[label ^ is_wrong], False
        if is_wrong:
            yield at + history.corrected_after, i, texts[label], True


def disagreeing(
    rng: np.random.Generator, n: int, wins: float, losses: float, both: float = 0.07
) -> tuple[np.ndarray, np.ndarray]:
    """Who is wrong, bool[n] each: the champion alone on a share `wins`, the challenger on `losses`, both on `both`."""
    drawn = rng.random(n)
    champion = drawn < wins + both
    challenger = (drawn >= wins) & (drawn < wins + both + losses)
    return champion, challenger
