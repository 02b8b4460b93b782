"""`tiltyard what-if`: the recorded log under other rules, beside what happened; and the ledger's decisions, replayed.

It reads the state folder alone: the log, the ledger, and which shadow scores the learn loop had to do without.
"""

import json
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from contracts import config
from contracts.config import Model
from contracts.gate_rules import Gate
from contracts.quantities import ConfigError, seconds
from registry.reproduce import reproduce
from registry.retelling import GATE, Retelling
from tiltyard import past as pasts
from tiltyard import what_if_words as words
from tiltyard.ledgers import moment

_TOLD = ("verdict", "promoted", "rolled_back", "retired", "confirmed")
_QUIET_S = 2.0
_EVERY = "5m"


def run(
    state: Path | None,
    model: str | None,
    policy: Path | None,
    since: str,
    until: str,
    every: str,
    as_json: bool,
) -> bool:
    """Prints what the ledger's decisions come to when they are replayed, and what other rules would have decided.

    False where a decision does not come out of the log as the ledger has it. Raises ConfigError.
    """
    past = pasts.of(state, model)
    if not past.lines:
        raise ConfigError(f"{past.name} has no ledger yet: nothing has happened that could have gone otherwise")
    begin = moment(since).timestamp() if since else past.lines[0].at
    end = moment(until).timestamp() if until else max(past.end, past.lines[-1].at)
    rules = None if policy is None else rules_in(policy, past.settings.config, past.name)
    every_s = _every_s(every, past.model)
    fed = _progress("replaying the ledger", begin, end)
    again = list(
        reproduce(past.folder, past.model, past.lines, since=begin, until=end, uncovered=past.uncovered, fed=fed)
    )
    did = [line for line in past.lines if begin <= line.at <= end and line.cause == GATE and line.kind in _TOLD]
    told: dict[str, Any] = {"model": past.name, "since": begin, "until": end, "replayed": words.replayed(again)}
    lines = [*words.replayed_in_words(past.name, again, did)]
    if policy is not None and rules is not None:
        fed = _progress(f"trying {policy}", begin, end)
        telling = Retelling(
            past.folder, past.model, rules, past.lines, begin, online=past.online, uncovered=past.uncovered, fed=fed
        )
        turns = list(telling.until(end, every_s))
        changed = words.changed(past.model.gate, rules)
        told |= {"changed": changed, "looking_every_s": every_s, "limits": words.limits(past, telling, rules)}
        told |= {"would": msgspec.to_builtins(turns), "did": msgspec.to_builtins(did)}
        told["standing"] = msgspec.to_builtins(telling.standing())
        lines += words.told(policy, changed, turns, did, telling, told["limits"])
    print(json.dumps(told) if as_json else "\n".join(lines))
    return all(not one.differs for one in again)


def rules_in(file: Path, configuration: Path, model: str) -> Gate:
    """The gate's rules in a TOML file, which is a whole configuration, or names only the rules that are other ones.

    These stand at its top, in [gate] or in [models.NAME.gate]. Raises ConfigError.
    """
    raw, given = _toml(configuration), _toml(file)
    table = given.get("models", {}).get(model) if "models" in given else given
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: has no table [models.{model}]")
    is_whole = "models" in given and "features" in table
    rules = table.get("gate", {}) if "models" in given or "gate" in table else table
    if not isinstance(rules, dict):
        raise ConfigError(f"{file}: gate must be a table")
    raw["models"][model]["gate"] = rules if is_whole else raw["models"][model].get("gate", {}) | rules
    try:
        return config.read(raw).model(model).gate
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _every_s(every: str, model: Model) -> float:
    chosen = every or model.schedules.promote
    try:
        return seconds(chosen)
    except ConfigError:
        if every:
            raise
        return seconds(_EVERY)  # a cron line, or "off"


def _progress(what: str, begin: float, end: float) -> Callable[[float], None]:
    """Says on standard error how far it is between two epoch seconds, once it takes more than two seconds."""
    told_at = time.monotonic() + _QUIET_S
    on_screen = sys.stderr.isatty()

    def fed(at: float) -> None:
        nonlocal told_at
        if time.monotonic() >= told_at:
            share = min(1.0, max(0.0, (at - begin) / max(end - begin, 1e-9)))
            told = f"{what}: {share:.0%}, {words.clock(at)}"
            print(told, end="\r" if on_screen else "\n", file=sys.stderr, flush=True)
            told_at = time.monotonic() + (0.2 if on_screen else 10.0)

    return fed
