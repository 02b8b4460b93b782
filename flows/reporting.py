"""One drift report: made of the log, kept, and shown on the page and in MLflow."""

import logging
from datetime import UTC, datetime

import msgspec

from contracts.facts import DriftFacts
from drift import report, shelf, sketches, windows
from drift.report import Report
from drift.windows import TooFewRows, Windows
from flows import champions, telling
from flows.champions import Reigning
from flows.place import Place
from flows.telling import Columns
from registry.versions import Unavailable, UnknownVersion

log = logging.getLogger(__name__)


def look(place: Place, now: float) -> DriftFacts:
    """Makes a report, keeps it with a picture for mails, and makes it known; `telling.tell` tells people.

    A report that the disk has no room for is known all the same. Raises windows.TooFewRows.
    """
    champion = champions.reigning(place)
    offsets, rules = place.log.offsets(), place.model.drift
    try:
        chosen = windows.choose(offsets, champion.origin, rules, place.model.gate.season)
    except TooFewRows as error:
        _say_waiting(place, str(error))
        raise
    made, sides = _compared(place, champion, chosen, now)
    facts = _kept(place, made, now)
    telling.keep_picture(place, facts, *sides)
    place.streams.set_fact("watch", facts)
    log.info("report made model=%s alarm=%s share=%.2f", place.name, facts.alarm, facts.share)
    if champion.version is not None:
        _attach(place, champion.version, made.html, now)
    return facts


def report_address(place: Place, facts: DriftFacts) -> str:
    """Where the report is to be read; the page, where it could not be kept."""
    return f"{place.settings.serving_url}/reports/{place.name}/{facts.report}" if facts.report else page_address(place)


def page_address(place: Place) -> str:
    return f"{place.settings.serving_url}/models/{place.name}/page"


def _compared(place: Place, champion: Reigning, chosen: Windows, now: float) -> tuple[Report, tuple[Columns, Columns]]:
    """The report, and the columns of both windows."""
    rules, unseen = place.model.drift, champions.unseen(champion.origin, chosen.reference)
    is_all_unseen = len(unseen) == len(chosen.reference)
    reference = _sketch(place, chosen, chosen.reference, champion.version if is_all_unseen else None)
    held_out = reference if is_all_unseen else None
    if held_out is None and len(unseen):
        held_out = _sketch(place, chosen, unseen, champion.version)
    current = sketches.of(place.log, chosen.current, rules.current_rows, champion.version)
    sides = reference.columns(place.schema), current.columns(place.schema)
    made = report.run(
        *sides,
        place.schema,
        rules,
        f"Reference: {windows.told(reference.offsets, reference.rows)}, {chosen.origin}. "
        f"Current: {windows.told(current.offsets)}, the newest.",
        champions.known(place, champion, held_out, current, int(chosen.reference[-1]), now),
        reference.profiles,
    )
    return made, sides


def _sketch(place: Place, chosen: Windows, offsets: windows.Offsets, version: int | None) -> sketches.Sketch:
    most = place.model.drift.reference_rows
    if chosen.is_lasting:
        return sketches.kept(place.reference_folder, place.log, offsets, most, version)
    return sketches.of(place.log, offsets, most, version)


def _kept(place: Place, made: Report, now: float) -> DriftFacts:
    try:
        return made.facts(now, shelf.put(made.html, place.settings.report_folder / place.name, now))
    except OSError as error:
        log.error("report not kept model=%s reason=%s", place.name, error.strerror)
        facts, folder = made.facts(now, ""), place.settings.report_folder / place.name
        lost = f"The report could not be kept in {folder}: {error.strerror}. Make room there; the next one will be."
        return msgspec.structs.replace(facts, notes=(lost, *facts.notes))


def _say_waiting(place: Place, reason: str) -> None:
    """The report before stays what it was; where there is none, there are only blanks."""
    known = place.streams.fact("watch", DriftFacts) or DriftFacts(
        at=0.0, report="", alarm=False, share=0.0, columns={}, drifted=(), sentence="", reference_rows=0, current_rows=0
    )
    place.streams.set_fact("watch", msgspec.structs.replace(known, waiting=reason))


def _attach(place: Place, version: int, html: str, now: float) -> None:
    """Shows the report with the champion's run in MLflow: of each day the last one, since it is some 4 MB."""
    try:
        place.registry.attach(version, html, f"drift/{datetime.fromtimestamp(now, UTC):%Y-%m-%d}.html")
    except (Unavailable, UnknownVersion) as error:
        log.warning("report not shown in MLflow model=%s version=%d reason=%s", place.name, version, error)
