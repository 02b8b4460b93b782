"""Whether a batch learner is due for a fit, by [models.NAME.retrain].when, and what its past fits have shown."""

import logging
from typing import NamedTuple

import msgspec
import numpy as np

from contracts.alarm_facts import AlarmFacts
from contracts.facts import DriftFacts
from contracts.fits import BlockFacts, FitFacts, LearnerFits
from contracts.log import Examples
from contracts.releases import Release
from drift import benefit, forecast
from flows.candidates import columns, loss_of
from flows.place import Place
from learners.export import graph
from registry.versions import UnknownVersion

log = logging.getLogger(__name__)

CAUSE = "retrain"
LEAST_LABELS = 50
"""New labels without which fits are not compared: the mean loss of fewer is chance."""


class Due(NamedTuple):
    """Whether to fit now."""

    is_due: bool
    sentence: str
    """Why, or why not."""
    known: LearnerFits
    """As of this look, where nothing is fitted."""
    fitting: LearnerFits
    """The same, where it is."""


def look(place: Place, name: str, examples: Examples, known: LearnerFits) -> Due:
    """Scores past fits on what has been labelled since, and asks each reason in turn."""
    rules = place.model.retrain
    if "schedule" in rules.when:
        return Due(True, "Due by schedule.", known, known)
    if not known.fits:
        return Due(True, "Due: no fit of it is known yet.", known, known)
    newest = known.fits[-1]
    labels = sum(1 for offset in examples.offsets if offset > newest.offset)
    if "drift" in rules.when and (told := _drifted(place, newest.at)) is not None:
        return _due(place, name, known, f"Due: {told}", None)
    if rules.every_labels is not None and labels >= rules.every_labels:
        return _due(place, name, known, f"Due: {labels:,} labels since version {newest.version}.", None)
    if "benefit" in rules.when:
        return _by_benefit(place, name, examples, known)
    needed = "" if rules.every_labels is None else f"; {rules.every_labels:,} are waited for"
    no_drift = "no alarm of drift and " if "drift" in rules.when else ""
    sentence = f"Not due: {no_drift}{labels:,} labels since version {newest.version}{needed}."
    return Due(False, sentence, known, known)


def entered(known: LearnerFits, fit: FitFacts) -> LearnerFits:
    """With a fit that has just been made. On the same rows as the newest it is the same version, only made again."""
    fits = [msgspec.structs.replace(one, at=fit.at) if one.version == fit.version else one for one in known.fits]
    if all(one.version != fit.version for one in fits):
        fits.append(fit)
    return msgspec.structs.replace(known, fits=tuple(fits[-forecast.KEPT :]))


def seen(known: LearnerFits, examples: Examples) -> tuple[float, int]:
    """Labelled predictions counted until now, and how many of them came since the last look."""
    if not known.fits:
        return float(len(examples)), 0
    through, offset = known.fits[-1].through, known.fits[-1].offset
    if known.blocks and known.blocks[-1].offset > offset:
        through, offset = known.blocks[-1].through, known.blocks[-1].offset
    new = sum(1 for one in examples.offsets if one > offset)
    return through + new, new


def _by_benefit(place: Place, name: str, examples: Examples, known: LearnerFits) -> Due:
    rules, newest = place.model.retrain, known.fits[-1]
    through, new = seen(known, examples)
    if new < LEAST_LABELS:
        return Due(
            False, f"Not due: {new} new labels since the last look; {LEAST_LABELS} tell something.", known, known
        )
    block = _block(place, examples, known, through, new)
    if block is not None:
        _write_outcome(place, name, known, block)
        known = benefit.went_on(known, block)
    rows = max(1, round(len(examples) * (1 - rules.holdout)))
    try:
        told = forecast.forecast(
            known.fits, known.blocks, known.errors, FitFacts(version=-1, through=through, rows=rows)
        )
    except ValueError as error:
        return Due(False, f"Not due: {error}.", known, known)
    verdict = benefit.decide(known, told, benefit.seconds_of(newest, rows), rules)
    if not verdict.due:
        kept = msgspec.structs.replace(known, saved_s=verdict.saved_s, bar=verdict.bar)
        return Due(False, verdict.sentence, kept, kept)
    spent = msgspec.structs.replace(known, saved_s=verdict.saved_s, bar=verdict.bar, awaited=told)
    return _due(place, name, known, verdict.sentence, spent)


def _due(place: Place, name: str, known: LearnerFits, sentence: str, spent: LearnerFits | None) -> Due:
    told = None if spent is None else spent.awaited
    newest = known.fits[-1]
    numbers = {"learner": name, "newest": newest.version, "forecast": told, "rules": place.model.retrain}
    place.roles.ledger.append(
        "forecast", None, f"{name}: {sentence}", cause=CAUSE, numbers=numbers, key=f"due:{name}:{newest.version}"
    )
    return Due(True, sentence, known, spent or msgspec.structs.replace(known, awaited=None))


def _drifted(place: Place, since: float) -> str | None:
    """What has drifted after an epoch second; by the newest report where nothing watches the loss."""
    alarm = place.streams.fact("alarm", AlarmFacts)
    if alarm is not None:
        is_new = alarm.severity == "alarm" and (alarm.since or alarm.at) > since
        return alarm.sentence if is_new else None
    report = place.streams.fact("watch", DriftFacts)
    return report.sentence if report is not None and report.alarm and report.at > since else None


def _block(place: Place, examples: Examples, known: LearnerFits, through: float, new: int) -> BlockFacts | None:
    """What the newest fits lost on the newest labels; None where none of them can be scored."""
    loss, rows = loss_of(place.model), examples.rows[-new:]
    targets = columns(place, examples.labels[-new:])
    losses: dict[int, float] = {}
    for fit in known.fits[-forecast.COMPARED :]:
        release = _release(place, fit.version)
        if release is not None and fit.offset < examples.offsets[-new]:
            scores = graph.run(graph.session(release.onnx), place.schema, rows)
            losses[fit.version] = float(np.nanmean(loss.of(scores, targets)))
    return BlockFacts(through=through, offset=examples.offsets[-1], n=new, losses=losses) if losses else None


def _release(place: Place, version: int) -> Release | None:
    try:
        return place.releases.fetch(version) or place.registry.load_release(version)
    except UnknownVersion as error:
        log.warning("fit not scored version=%d reason=%s", version, error)
        return None


def _write_outcome(place: Place, name: str, known: LearnerFits, block: BlockFacts) -> None:
    """Into the ledger, what the newest fit saved on the first labels after it, beside what was forecast."""
    told = known.awaited
    if told is None or len(known.fits) < 2:
        return
    older, newer = known.fits[-2].version, known.fits[-1].version
    truth = forecast.saved(older, newer, block)
    if truth is None:
        return
    is_held = told.lower <= truth <= told.upper
    place.roles.ledger.append(
        "outcome",
        newer,
        f"{name}: version {newer} saved {truth:.3g} a prediction against version {older} on the {block.n:,} labels "
        f"after it; forecast were {told.gain:.3g} (80 % interval {told.lower:.3g} to {told.upper:.3g}"
        f"{'' if is_held else ', which missed it'}).",
        cause=CAUSE,
        numbers={"learner": name, "over": older, "saved": truth, "labels": block.n, "forecast": told, "held": is_held},
        key=f"outcome:{name}:{newer}",
    )
