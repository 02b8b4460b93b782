"""One drift report: made of the log, kept, shown on the page, and mailed as configured."""

import logging

from contracts import streams
from contracts.facts import DriftFacts
from drift import letter, report, shelf, windows
from drift.mail import Mailer, Sent
from flows.place import Place

log = logging.getLogger(__name__)


def look(place: Place, now: float) -> DriftFacts:
    """Makes a report, keeps it, makes it known, and mails it as configured. Raises windows.TooFewRows, OSError."""
    champion = place.releases.board().champion
    manifest = None if champion is None else place.releases.manifest(champion)
    chosen = windows.read(place.log, manifest.since if manifest else streams.START, place.model.drift)
    made = report.run(chosen.reference.columns, chosen.current.columns, place.schema, place.model.drift, chosen.caption)
    facts = made.facts(now, shelf.put(made.html, place.settings.report_folder / place.name, now))
    place.streams.set_fact("watch", facts)
    if facts.alarm or place.model.mail.when == "always":
        sent = _mail(place, facts)
        log.info("report mailed model=%s alarm=%s outcome=%s", place.name, facts.alarm, sent.sentence)
    log.info("report made model=%s alarm=%s share=%.2f", place.name, facts.alarm, facts.share)
    return facts


def report_address(place: Place, facts: DriftFacts) -> str:
    return f"{place.settings.serving_url}/reports/{place.name}/{facts.report}"


def _mail(place: Place, facts: DriftFacts) -> Sent:
    links = {"Report": report_address(place, facts), "Page": place.settings.serving_url}
    composed = letter.compose(place.name, facts, links)
    return Mailer(place.settings).send(place.model.mail.recipients, composed.subject, composed.text, composed.html)
