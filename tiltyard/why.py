"""`tiltyard why VERSION`: the dossier of the newest decision about a version, or of where it stands.

It needs the state folder alone; of a version that is still compared, what Redis knows is a little newer.
"""

import time
from pathlib import Path

import redis

from contracts import events, streams
from contracts.events import Decision
from contracts.facts import ComparisonFacts, LearnFacts
from contracts.quantities import ConfigError, seconds
from contracts.streams import Streams
from drift import shelf
from flows import dossiers
from registry import dossier, dossier_page, dossier_words, history
from registry.dossier import Dossier, Seen
from registry.replay import Replay
from registry.reproduce import can_be
from tiltyard import past as pasts
from tiltyard.past import Past


def show(state: Path | None, model: str | None, version: int, html: Path | None) -> None:
    """Prints it, or writes it as a page. Raises ConfigError."""
    told = told_about(pasts.of(state, model), version)
    if html is None:
        print(dossier_words.text(told), end="")
        return
    try:
        shelf.write(html, dossier_page.html(told).encode())
    except OSError as error:
        raise ConfigError(f"{html}: cannot be written: {error.strerror}") from None
    print(f"{html} says why: {dossier_words.headline(told)}")


def told_about(past: Past, version: int) -> Dossier:
    """Raises ConfigError where the ledger does not know the version."""
    known = sorted({line.version for line in past.lines if line.version})
    if version not in known:
        raise ConfigError(
            f"the ledger of {past.name} knows no version {version}; it knows {', '.join(map(str, known)) or 'none'}"
        )
    line = dossier.decision_about(past.lines, version)
    if line is not None:
        kept = dossiers.read(past.settings.dossier_folder / past.name, line)
        seen, now = kept or _again(past, line), line.at
    else:
        seen, now = _as_it_stands(past, version), time.time()
    rules = dossier.rules_at(past.lines, line, past.model.gate)
    # A rollback puts the former champion where it is, and is about the one that was rolled back.
    about = line.version if line is not None and line.version is not None else version
    return Dossier(past.name, about, past.lines, line, seen, rules, now)


def _again(past: Past, line: Decision) -> Seen:
    if not can_be(line):
        return Seen()
    again = dossiers.replayed(past.folder, past.model, past.lines, line, past.settings.checkpoint_folder / past.name)
    return Seen(comparison=again.comparison, differs=again.whys)


def _as_it_stands(past: Past, version: int) -> Seen:
    """By the facts of the learn loop; by the log where Redis does not answer."""
    facts = _facts(past)
    board = history.board_after(past.lines)
    for one in () if facts is None else facts.comparisons:
        if (one.challenger, one.champion) == (version, board.champion) and facts is not None:
            return Seen(comparison=one, delay_s=facts.delay_s, late=facts.late)
    return Seen(comparison=_by_the_log(past, version) if version in board.challengers else None)


def _facts(past: Past) -> LearnFacts | None:
    try:
        with streams.connect(past.settings.redis_url, timeout_s=2) as client:
            return Streams(client, past.name).fact("learn", LearnFacts)
    except redis.RedisError:
        return None


def _by_the_log(past: Past, version: int) -> ComparisonFacts:
    board, rules = history.board_after(past.lines), past.model.gate
    begin = events.offset(board.since)
    replay = Replay(past.folder, past.model, rules, begin, uncovered=past.uncovered)
    replay.record.begin(board, begin)
    asked, labelled = replay.ends
    replay.play(max(asked, labelled) - events.span(seconds(rules.maturity)), labelled)
    (found,) = replay.record.comparison_facts((version,), {}, time.time())
    return found
