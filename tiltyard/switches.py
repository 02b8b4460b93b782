"""`tiltyard freeze`, `unfreeze`, `accept` and `pardon`: a person decides what is published.

What stops something takes effect before it is written down; what lets something loose is written down before.
"""

import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts import config, streams
from contracts.facts import LearnerFacts
from contracts.log import Log
from contracts.quantities import ConfigError
from contracts.releases import Releases
from contracts.streams import Streams
from registry.ledger import Kind, Ledger
from serving import page_words
from tiltyard import instance
from tiltyard.person import person, wanted_reason

CONFIRMED_WITHIN_S = 10.0
BACK_WITHIN_S = 30.0  # a process starts, after a while where it has ended often
_LOOK_AGAIN_S = 0.1
_UNCONFIRMED = "look at `tiltyard status`; it holds as soon as the learn flow runs"


class NothingToDo(Exception):
    """It is so already, or there is nothing to do it to; nothing was changed."""


def freeze(state: Path | None, model: str, learner: str | None, reason: str) -> str:
    """Keeps a learner, or all, from publishing. Raises NothingToDo, ConfigError, LeaseTaken or redis.RedisError."""
    at, reason = _open(state, model), wanted_reason(reason)
    said = at.kept.publishing()
    chosen = [name for name in at.chosen(learner) if said.get(name) != "frozen"]
    if not chosen:
        raise NothingToDo(f"{learner or 'every learner'} of {model} is frozen already")
    for name in chosen:
        at.kept.set_publishing(name, "frozen")
    names = page_words.listed(chosen)
    line = at.write("frozen", chosen, f"{names}: nothing is published until it is unfrozen", reason)
    told = f"Frozen: {names} of {model}. Learning goes on, nothing is published (ledger line {line})."
    return f"{told} {_confirmed(at, chosen, is_frozen=True)}"


def unfreeze(state: Path | None, model: str, learner: str | None, reason: str) -> str:
    """Lets frozen learners publish again. Raises as `freeze`."""
    at, reason = _open(state, model), wanted_reason(reason)
    said = at.kept.publishing()
    chosen = [name for name in at.chosen(learner) if said.get(name) == "frozen"]
    if not chosen:
        raise NothingToDo(f"{learner or 'no learner'} of {model} is {'not ' if learner else ''}frozen")
    line = at.write("unfrozen", chosen, f"{page_words.listed(chosen)}: revisions are published again", reason)
    for name in chosen:
        at.kept.set_publishing(name, None)
    told = f"Revisions of {page_words.listed(chosen)} of {model} are published again (ledger line {line})."
    return f"{told} {_confirmed(at, chosen, is_frozen=False)}"


def accept(state: Path | None, model: str, learner: str, reason: str) -> str:
    """Publishes a revision that the safeguards hold. Raises as `freeze`."""
    at = _open(state, model)
    (name,), facts = at.chosen(learner), at.facts(learner)
    if at.kept.publishing().get(name) == "frozen":
        raise NothingToDo(f"{name} of {model} is frozen: `tiltyard unfreeze {model} {name}` comes first")
    if facts is None or facts.held is None:
        raise NothingToDo(f"no revision of {name} of {model} is held, so there is nothing to accept")
    if facts.is_faulty:
        raise NothingToDo(f"the revision of {name} of {model} that is held cannot be let through: {facts.held}")
    before = at.published(name)
    line = at.write("accepted", [name], f"{name}: the revision that was held is published", reason.strip())
    at.kept.set_publishing(name, "accept")
    told = f"The revision of {name} of {model} that was held is accepted (ledger line {line})."
    took_s = _until(lambda: at.published(name) != before, CONFIRMED_WITHIN_S)
    if took_s is None:
        return f"{told} It was not published within {CONFIRMED_WITHIN_S:g} s: {_UNCONFIRMED}."
    return f"{told} Revision {at.published(name)} was published after {took_s:.1f} s."


def pardon(state: Path | None, model: str, learner: str, reason: str) -> str:
    """Takes a learner off the bench. Raises as `freeze`."""
    at = _open(state, model)
    (name,) = at.chosen(learner)
    bench = at.folder / "learners" / name / "benched"
    try:
        why = bench.read_text()
    except FileNotFoundError:
        raise NothingToDo(f"{name} of {model} is not benched: there is no {bench}") from None
    line = at.write("pardoned", [name], f"{name}: off the bench ({why})", reason.strip())
    bench.unlink(missing_ok=True)
    told = f"{name} of {model} goes on from its last checkpoint (ledger line {line}); "
    told += "if it fails at the same event again, it is benched again."

    def is_decided() -> bool:
        facts = at.facts(name)
        return bench.exists() or (facts is not None and facts.benched is None)

    took_s = _until(is_decided, BACK_WITHIN_S)
    if took_s is None:
        return f"{told} It has not been heard of within {BACK_WITHIN_S:g} s: {_UNCONFIRMED}."
    if bench.exists():
        return f"{told} It was, after {took_s:.1f} s: {bench.read_text()}"
    return f"{told} It learns again, after {took_s:.1f} s."


@dataclass(frozen=True)
class _Model:
    """One model's online learners, and where what is said of them is kept."""

    name: str
    learners: tuple[str, ...]
    kept: Streams
    ledger: Ledger
    folder: Path
    """Of its checkpoints."""

    def chosen(self, learner: str | None) -> list[str]:
        """The one that is named, or all. Raises ConfigError."""
        if learner is None:
            return list(self.learners)
        if learner not in self.learners:
            close = difflib.get_close_matches(learner, self.learners, n=1, cutoff=0.5)
            hint = f'; did you mean "{close[0]}"?' if close else f"; it has {page_words.listed(self.learners)}"
            raise ConfigError(f'{self.name} has no online learner "{learner}"{hint}')
        return [learner]

    def facts(self, learner: str) -> LearnerFacts | None:
        return self.kept.fact(f"learner:{learner}", LearnerFacts)

    def published(self, learner: str) -> int | None:
        """The newest revision that was published of a learner."""
        facts = self.facts(learner)
        if facts is None or facts.version is None:
            return None
        return Releases(self.kept.client, self.name).revisions().get(facts.version)

    def write(self, kind: Kind, learners: Sequence[str], sentence: str, reason: str) -> int:
        """Number of the ledger's new line."""
        facts = self.facts(learners[0]) if len(learners) == 1 else None
        version = None if facts is None else facts.version
        told = f"{sentence}. {reason}".strip()
        return self.ledger.append(kind, version, told, cause=person(), numbers={"learners": list(learners)}).seq


def _open(state: Path | None, name: str) -> _Model:
    chosen = instance.find(state)
    model = config.load(chosen.config).model(name)
    learners = tuple(model.learners_of("online"))
    if not learners:
        raise ConfigError(f"{name} has no online learner: others publish nothing once they are fitted")
    kept = Streams(streams.connect(chosen.redis_url), name)
    ledger = Ledger(Log(chosen.log_folder, name, model.schema), kept)
    return _Model(name, learners, kept, ledger, chosen.checkpoint_folder / name)


def _confirmed(at: _Model, learners: Sequence[str], is_frozen: bool) -> str:
    def is_done() -> bool:
        facts = [at.facts(name) for name in learners]
        return all(one is not None and one.frozen == is_frozen for one in facts)

    took_s = _until(is_done, CONFIRMED_WITHIN_S)
    who = "Its process" if len(learners) == 1 else "Each process"
    if took_s is None:
        return f"{who} has not confirmed it within {CONFIRMED_WITHIN_S:g} s: {_UNCONFIRMED}."
    return f"{who} confirmed it after {took_s:.1f} s."


def _until(condition: Callable[[], bool], within_s: float) -> float | None:
    """Seconds until it is so; None where it is not in time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > within_s:
            return None
        time.sleep(_LOOK_AGAIN_S)
    return time.monotonic() - began
