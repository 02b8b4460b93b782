"""Tells people of drift and of decisions, by [models.NAME.mail], and tries again what could not be delivered."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from contracts.alarm_facts import AlarmFacts, Severity
from contracts.facts import DriftFacts
from contracts.mail_rules import SEVERITIES
from contracts.quantities import ConfigError
from contracts.schema import Value
from drift import letter, post, shelf
from drift.letter import Letter, Story
from drift.mail import File, Mailer
from drift.post import Post
from drift.post_standing import Standing, follow
from flows.place import Place

log = logging.getLogger(__name__)

_DECISION_BYTES = 1_000_000
"""A dossier's page is attached whatever `attach_mb` says: it is small, and a mail program drops its chart."""

Columns = Mapping[str, Sequence[Value]]


def tell(place: Place, now: float) -> None:
    """Tells of drift, as the newest report and what was judged of it stand; then sends what may go.

    Call after each look, also after one that made no report. What a disk refuses is told by the next one.
    """
    try:
        _note(place, now)
    except (OSError, ConfigError) as error:
        log.error("drift not told model=%s reason=%s", place.name, error)
    send(place)


def send(place: Place) -> None:
    """Sends what may go now, and tries again what waited for a server. Never raises for what servers and disks do."""
    try:
        for sent in Post(Mailer(place.settings), place.name, place.model.mail).send_due():
            log.info("mail model=%s outcome=%s", place.name, sent.sentence)
    except ConfigError as error:
        log.error("nothing mailed model=%s reason=%s", place.name, error)


def tell_decision(
    place: Place, id_: str, told: Letter, links: Mapping[str, str], page: File, about: Mapping[str, Any]
) -> None:
    """Takes what is to be told of a decision, for `send`. Raises OSError or ConfigError."""
    rules = place.model.mail
    if rules.decisions or rules.to.decisions:
        payload = {"kind": "decision", "links": links, "decision": about}
        attached = [page] if len(page.data) <= max(rules.attach_mb * 1e6, _DECISION_BYTES) else []
        to = post.decision_audience(rules)
        Post(Mailer(place.settings), place.name, rules).add(id_, "info", to, told, payload, attachments=attached)


def keep_picture(place: Place, facts: DriftFacts, reference: Columns, current: Columns) -> None:
    """Draws what moved most, beside the report; pictures go with their reports. Nothing where nothing moved."""
    if not facts.report or not facts.drifted:
        return
    from drift import picture  # matplotlib takes a second to import, and most reports need none

    folder = place.settings.report_folder / place.name
    try:
        drawn = picture.draw(reference, current, place.schema, letter.ordered(facts))
        shelf.write(folder / _picture_of(facts), drawn)
        for path in folder.glob("*.png"):
            if not path.with_suffix(".html").exists():
                path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("picture not kept model=%s reason=%s", place.name, error)


def _note(place: Place, now: float) -> None:
    """Raises OSError or ConfigError."""
    facts, judged = place.streams.fact("watch", DriftFacts), place.streams.fact("alarm", AlarmFacts)
    if facts is not None and not facts.columns:
        facts = None  # blanks, before the first report
    if facts is None and judged is None:
        return
    rules, path = place.model.mail, place.settings.outbox_folder / place.name / "standing.json"
    before = _standing(path)
    severity, sentence = _stands(facts, judged, before.level)
    after, news = follow(before, severity, now, rules.remind_s)
    is_new = facts is not None and facts.at > before.report_at
    after = msgspec.structs.replace(after, report_at=facts.at if facts is not None else before.report_at)
    if news is not None or (is_new and rules.when == "always"):
        story = Story(
            sentence=sentence, severity=severity, news=news, before=before.level,
            since=before.since if before.level != "none" else None,
        )  # fmt: skip
        loudest: Severity = max((severity, before.level), key=SEVERITIES.index)
        to = post.audience(rules, loudest) if news is not None else rules.recipients
        id_ = f"drift-{after.told}" if news is not None else f"report-{after.report_at:.6f}"
        _add(place, id_, loudest if news is not None else "info", to, story, facts)
    shelf.write(path, msgspec.json.encode(after))


def _add(place: Place, id_: str, severity: Severity, to: Sequence[str], story: Story, facts: DriftFacts | None) -> None:
    rules, folder, url = place.model.mail, place.settings.report_folder / place.name, place.settings.serving_url
    links = {"Page": f"{url}/models/{place.name}/page"}
    images, attached = [], []
    if facts is not None and facts.report:
        links = {"Report": f"{url}/reports/{place.name}/{facts.report}", **links}
        # Each message names its own: a digest holds several.
        images = _file(folder / _picture_of(facts), f"{place.name}-{id_}.png", "image/png", 1e6)
        attached = _file(
            folder / facts.report, f"drift-{place.name}-{facts.report}", "text/html", rules.attach_mb * 1e6
        )
    composed = letter.compose(place.name, story, facts, links, images[0].name if images else "")
    payload = {
        "kind": "drift", "news": story.news, "since": story.since, "sentence": story.sentence, "links": links,
        "report": msgspec.to_builtins(facts),
    }  # fmt: skip
    Post(Mailer(place.settings), place.name, rules).add(id_, severity, to, composed, payload, images, attached)


def _stands(facts: DriftFacts | None, judged: AlarmFacts | None, before: Severity) -> tuple[Severity, str]:
    """How bad it is, in one word and one sentence: of the loss where it moves or did, else of the report."""
    if judged is None:
        assert facts is not None
        return ("alarm" if facts.alarm else "none"), facts.sentence
    is_of_loss = max(map(SEVERITIES.index, (judged.severity, before))) >= SEVERITIES.index("warning")
    # Inputs inform also while no champion's loss is watched.
    severity: Severity = "info" if judged.severity == "none" and facts is not None and facts.alarm else judged.severity
    return severity, judged.sentence if is_of_loss or facts is None else facts.sentence


def _standing(path: Path) -> Standing:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Standing)
    except (FileNotFoundError, msgspec.DecodeError):
        return Standing()


def _picture_of(facts: DriftFacts) -> str:
    return facts.report.removesuffix(".html") + ".png"


def _file(path: Path, name: str, kind: str, most: float) -> list[File]:
    """It, unless it is not there or larger than `most` bytes."""
    try:
        return [File(name, kind, path.read_bytes())] if path.stat().st_size <= most else []
    except OSError:
        return []
