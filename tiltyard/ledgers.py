"""`tiltyard history`, `live-at` and `verify-ledger`: what was decided, who answered when, and whether to trust it.

They need the state folder alone; where Redis answers, `verify-ledger` compares the ledger with what the page shows.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec

from contracts import config, streams
from contracts.events import Decision
from contracts.log import Log
from contracts.quantities import ConfigError
from contracts.releases import PRIOR_VERSION
from contracts.streams import Streams
from registry import history
from registry.ledger import Checked, Kind, Ledger
from tiltyard import instance


def show(state: Path | None, model: str | None, limit: int | None, kind: str, since: str, as_json: bool) -> bool:
    """Prints the lines of some kinds (comma-separated) since a time; False when a chain of hashes is broken.

    Raises ConfigError.
    """
    kinds, first = _kinds(kind), moment(since).timestamp() if since else 0.0
    found = {name: ledger.check() for name, ledger in _ledgers(state, model)}
    lines = [line for checked in found.values() for line in checked.lines]
    lines = sorted(
        (line for line in lines if line.at >= first and (not kinds or line.kind in kinds)),
        key=lambda line: (line.at, line.seq),
    )
    lines = lines[-limit:] if limit else lines
    holds = all(checked.broken is None for checked in found.values())
    if as_json:
        print(json.dumps({"chain_holds": holds, "decisions": msgspec.to_builtins(lines)}))
        return holds
    for name, checked in found.items():
        if checked.broken is not None:
            print(f"{name}: {_broken(checked)}")
    for line in lines:
        print(told(line))
    print(f"{len(lines)} lines; the chain of hashes {'holds' if holds else 'is BROKEN'}")
    return holds


def verify(state: Path | None, model: str | None, as_json: bool) -> bool:
    """Prints, for each model, how many lines hold and the hash of the last, or the first that does not; False then.

    Raises ConfigError.
    """
    found = {name: ledger.check() for name, ledger in _ledgers(state, model)}
    if as_json:
        print(json.dumps({name: _verified(checked) for name, checked in found.items()}))
    for name, checked in found.items() if not as_json else ():
        if checked.broken is not None:
            print(f"{name}: {_broken(checked)}")
        else:
            print(f"{name}: {len(checked.lines)} lines hold" + (f"; head {checked.head}" if checked.lines else ""))
    return all(checked.broken is None for checked in found.values())


def live_at(state: Path | None, model: str | None, at: str, as_json: bool) -> bool:
    """Prints which version answered at a time, since when and why; False when the ledger is broken before that.

    Raises ConfigError.
    """
    when = moment(at)
    if when.timestamp() > time.time():
        raise ConfigError(f"{at} is still to come: the ledger only knows what was")
    found = {name: ledger.check() for name, ledger in _ledgers(state, model)}
    answers = {name: _answer(checked.lines, when) for name, checked in found.items()}
    if as_json:
        print(json.dumps({"at": when.timestamp(), "models": answers}))
    for name, answer in answers.items() if not as_json else ():
        print(f"{name} at {_clock(when.timestamp())}: {_in_words(answer)}")
    doubtful = {name: checked for name, checked in found.items() if checked.broken is not None}
    for name, checked in doubtful.items() if not as_json else ():
        print(f"{name}: {_broken(checked)}; the answer rests on the lines before it")
    return not doubtful


def moment(text: str) -> datetime:
    """A time from ISO 8601; of the local zone where none is said. Raises ConfigError."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, OSError):
        raise ConfigError(
            f'"{text}" is no time: write it as 2026-11-01T12:00, with a zone as in 2026-11-01T12:00+01:00 or ...Z '
            "where you do not mean the local one"
        ) from None


def told(line: Decision) -> str:
    """A line as people read it."""
    version = "" if line.version is None else f" version {line.version}"
    return f"{_clock(line.at)}  {line.model} {line.seq}  {line.kind}{version} ({line.cause}): {line.reason}"


def _ledgers(state: Path | None, model: str | None) -> Iterator[tuple[str, Ledger]]:
    chosen = instance.find(state)
    known = config.load(chosen.config)
    with streams.connect(chosen.redis_url, timeout_s=2) as client:
        for name in [model] if model else known.models:
            log = Log(chosen.log_folder, name, known.model(name).schema)
            yield name, Ledger(log, Streams(client, name))


def _kinds(text: str) -> set[str]:
    chosen = {kind.strip() for kind in text.split(",") if kind.strip()}
    if strangers := chosen - set(get_args(Kind)):
        raise ConfigError(f"--kind: there is no {', '.join(sorted(strangers))}; there are {', '.join(get_args(Kind))}")
    return chosen


def _answer(lines: list[Decision], when: datetime) -> dict[str, Any]:
    before = history.until(lines, when.timestamp())
    line = history.crowned(before)
    if line is None:
        return {"version": None, "learner": None, "since": None, "line": None}
    version = history.board_of(line).champion
    assert version is not None
    learner = "prior" if version == PRIOR_VERSION else history.learner_of(lines, version)
    return {"version": version, "learner": learner, "since": line.at, "line": msgspec.to_builtins(line)}


def _in_words(answer: dict[str, Any]) -> str:
    version, learner, line = answer["version"], answer["learner"], answer["line"]
    if version is None:
        return "nobody answered yet."
    who = "the prior (version 0)" if version == PRIOR_VERSION else f"version {version}"
    name = f", {learner}," if learner and version != PRIOR_VERSION else ""
    return (
        f"{who}{name} answered, since {_clock(answer['since'])} by line {line['seq']}: "
        f"{line['kind']} ({line['cause']}). {line['reason']}"
    )


def _verified(checked: Checked) -> dict[str, Any]:
    held = {"holds": checked.broken is None, "lines": len(checked.lines), "head": checked.head}
    return held if checked.broken is None else held | {"first_damaged": checked.broken, "why": checked.why}


def _broken(checked: Checked) -> str:
    return f"the chain of hashes is broken at line {checked.broken} ({checked.why})"


def _clock(at: float) -> str:
    """To the second, with the zone: an hour comes twice when the clocks go back."""
    return datetime.fromtimestamp(at, UTC).astimezone().isoformat(" ", "seconds")
