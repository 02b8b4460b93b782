"""Keeps and mails why each decision was made.

What is due follows from the ledger and from the files that are there, so that a flow that was killed may run again: a
dossier's JSON is written last, once its page lies there and its mail is in the post, which takes it once.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from contracts.config import Model
from contracts.events import Decision
from contracts.facts import LearnFacts, ServingFacts, ShadowFacts
from contracts.quantities import ConfigError
from drift import shelf
from drift.letter import Letter
from drift.mail import File
from flows import checkpoint, telling
from flows.place import Place
from registry import dossier, dossier_page, dossier_words
from registry.dossier import Dossier, Seen
from registry.reproduce import Reproduced, can_be, reproduce

log = logging.getLogger(__name__)

MAILED_S = 86_400.0  # what is older was decided before anybody asked for mails
LOGGED_S = 900.0  # by then the log has been written as far as any look; before, a later run sees more


def keep(place: Place, facts: LearnFacts | None, now: float) -> list[Path]:
    """Writes and mails every dossier that is due; returns their pages. `facts` are those of the decisions, if kept.

    What a disk or a mail server refuses is logged, and tried again by the next run.
    """
    lines = place.roles.ledger.read()
    kept = []
    for line in dossier.deserving(lines):
        if path_of(place.settings.dossier_folder / place.name, line).exists():
            continue
        try:
            seen = _seen(place, lines, line, facts, now)
            if seen is not None:
                kept.append(_write(place, lines, line, seen, now))
        except (OSError, ConfigError) as error:
            log.warning("dossier not kept model=%s line=%d reason=%s", place.name, line.seq, error)
    telling.send(place)
    return kept


def path_of(folder: Path, line: Decision) -> Path:
    """Of what was seen at a decision, in a model's folder of dossiers; its page is the same with .html."""
    return folder / f"{line.seq:06}-{line.kind}-version-{line.version}.json"


def read(folder: Path, line: Decision) -> Seen | None:
    """What was kept of a decision, or None."""
    try:
        return msgspec.json.decode(path_of(folder, line).read_bytes(), type=Seen)
    except (OSError, msgspec.DecodeError):
        return None


def _seen(place: Place, lines: Sequence[Decision], line: Decision, facts: LearnFacts | None, now: float) -> Seen | None:
    """None where the log must be written further first."""
    comparison = dossier.matching(line, facts)
    differs: tuple[str, ...] = ()
    if comparison is None and can_be(line):
        again = replayed(place.log.folder, place.model, lines, line, place.checkpoint_folder)
        if again.differs and now - line.at < LOGGED_S:
            return None
        comparison, differs = again.comparison, again.whys
    return Seen(
        comparison=comparison,
        differs=differs,
        delay_s=None if facts is None else facts.delay_s,
        late=None if facts is None else facts.late,
        scoring_s=_scoring_s(place),
    )


def replayed(
    folder: Path, model: Model, lines: Sequence[Decision], line: Decision, checkpoint_folder: Path
) -> Reproduced:
    """A line's verdict, reached again from the log in `folder`."""
    (again,) = reproduce(folder, model, lines, only=line.seq, uncovered=uncovered(checkpoint_folder))
    return again


def uncovered(checkpoint_folder: Path) -> frozenset[int]:
    """Predictions whose shadow scores came too late to count: the learn loop knows for as long as it takes labels."""
    try:
        state = checkpoint.load(checkpoint_folder)
    except checkpoint.CheckpointRefused:
        return frozenset()
    return frozenset(getattr(state, "uncovered", ()))


def _scoring_s(place: Place) -> dict[int, float]:
    """Mean time for a question, of whoever answers or shadows now."""
    shadow = place.streams.fact("shadow", ShadowFacts)
    found = {} if shadow is None else {v: one.total_s / one.rows for v, one in shadow.scoring.items() if one.rows}
    for facts in place.streams.facts_of("serving", ServingFacts).values():
        found |= {v: one.scoring_s / one.answered for v, one in facts.versions.items() if one.answered}
    return found


def _write(place: Place, lines: Sequence[Decision], line: Decision, seen: Seen, now: float) -> Path:
    """Raises OSError or ConfigError."""
    assert line.version is not None
    told = Dossier(
        model=place.name,
        version=line.version,
        lines=lines,
        line=line,
        seen=seen,
        rules=dossier.rules_at(lines, line, place.model.gate),
        now=line.at,
    )
    path = path_of(place.settings.dossier_folder / place.name, line)
    page = path.with_suffix(".html")
    shelf.write(page, dossier_page.html(told).encode())
    if now - line.at < MAILED_S:
        link = f"{place.settings.serving_url}/dossiers/{place.name}/{page.name}"
        mailed = Letter(
            f"[Tiltyard] {place.name}: {dossier_words.headline(told)}",
            f"{dossier_words.text(told)}\nWith its chart: {link}\n",
            dossier_page.html(told, chart=False, link=link),
        )
        about = {"line": line.seq, "kind": line.kind, "version": line.version, "at": line.at, "reason": line.reason}
        file = File(page.name, "text/html", page.read_bytes())
        telling.tell_decision(place, f"decision-{line.seq}", mailed, {"Dossier": link}, file, about)
    shelf.write(path, msgspec.json.encode(seen))
    return page
