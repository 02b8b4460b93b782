"""`tiltyard erase`: removes everything about an entity, has learners learn without it, and gives a receipt.

Whoever runs it finds the predictions and takes them off the streams; the learn run erases files and rebuilds learners;
Redis's own file is written anew last, when nobody can bring anything back. Interrupted anywhere, it is run again.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from contracts import config, entities, events, forgetting, streams
from contracts import releases as kept_releases
from contracts.config import Model
from contracts.facts import LearnerFacts, LearnFacts, ServingFacts
from contracts.forgetting import Gone, Outcome, Request
from contracts.log import Log
from contracts.quantities import ConfigError
from contracts.releases import ReleaseRefused, Releases
from contracts.settings import Settings
from contracts.streams import Streams
from registry.ledger import Ledger
from tiltyard import instance, receipts
from tiltyard.person import person
from tiltyard.receipts import Receipt

AWAY_S = 3.0  # a learn run holds its lease for longer than that
SILENT_S = 60.0  # a learner that is being started again has spoken by then
REPLACED_S = 30.0  # a revision is public within a second, and serving keeps a copy every five
_LOOK_AGAIN_S = 0.2
_TELL_EVERY_S = 5.0


def run(state: Path | None, entity: str, model: str | None, yes: bool, as_json: bool) -> int:
    """Erases, prints the receipts and returns the exit status: 1 where something is still to be done.

    Raises ConfigError, click.Abort, LeaseTaken, OSError or redis.RedisError.
    """
    if not entity:
        raise ConfigError("--entity is empty: give the entity_id that was sent with the questions")
    chosen = instance.find(state)
    models = config.load(chosen.config)
    names = sorted(models.models) if model is None else [model]
    key = entities.key(chosen)
    found = [_find(chosen, name, models.model(name), key, entity) for name in names]
    if not yes and any(one.ids for one in found):
        counts = ", ".join(f"{len(one.ids):,} predictions of {one.name}" for one in found if one.ids)
        click.confirm(f"Erases {counts} for good, and what learners learned from them. Go on?", abort=True, err=True)
    given = [one.erase() if one.is_held() else one.nothing() for one in found]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"receipts": given}), indent=2).decode())
    else:
        click.echo("\n\n".join(map(_printed, given)))
    return int(any(receipt.status == "pending" for receipt in given))


@dataclass
class Erasure:
    """One entity in one model."""

    chosen: Settings
    name: str
    model: Model
    kept: Streams
    log: Log
    entity: str
    """Its keyed hash."""
    ids: list[str]
    """Its predictions."""
    before: Receipt | None
    """Of an earlier run that could not complete it."""
    waits: list[str] = field(default_factory=list)
    _told_at: float = 0.0

    def is_held(self) -> bool:
        """Whether there is something to erase, or an erasure to complete."""
        return bool(self.ids or self.before or self._requests() or forgetting.outcome_of(self.kept, self.entity))

    def nothing(self) -> Receipt:
        return Receipt(model=self.name, entity=self.entity, status="nothing", at=_now())

    def erase(self) -> Receipt:
        """Does all it can; what waits for a process that is not there stands in the receipt."""
        self._ask()  # first: killed after it, this command finds the request again
        receipt = self.before or Receipt(model=self.name, entity=self.entity, status="pending")
        receipt = _with(receipt, forgetting.erase(self.kept, self.ids))
        receipt = self._keep(receipt, "it was interrupted")
        outcome = self._done_by_the_learn_run()
        if outcome is None:
            return self._keep(receipt, *self.waits)
        receipt = msgspec.structs.replace(
            receipt,
            predictions=outcome.predictions,
            logged_predictions=outcome.logged,
            logged_labels=outcome.labels,
            learned=outcome.examples,
        )
        self._keep(receipt, "it was interrupted")
        learners = {name: self._relearned(name, outcome) for name in self.model.learners_of("online")}
        receipt = msgspec.structs.replace(receipt, learners=learners, remains=tuple(self._remains(outcome)))
        if self.waits:
            return self._keep(receipt, *self.waits)
        # What somebody had read, and has written since, goes now; then nothing is left that could bring it back.
        receipt = _with(receipt, forgetting.erase(self.kept, self.ids) + outcome.gone)
        forgetting.settle(self.kept, self.entity)
        told = forgetting.rewrite_file(self.kept.client)
        receipt = msgspec.structs.replace(receipt, status="complete", at=_now(), redis=told, waits=())
        self._write_down(receipt)
        receipts.keep(self.chosen, receipt)
        return receipt

    def _keep(self, receipt: Receipt, *waits: str) -> Receipt:
        receipt = msgspec.structs.replace(receipt, status="pending", at=_now(), waits=waits)
        receipts.keep(self.chosen, receipt)
        return receipt

    def _requests(self) -> list[Request]:
        return [one for one in forgetting.asked(self.kept).values() if one.entity == self.entity]

    def _ask(self) -> None:
        """Asks for what no earlier run has asked for."""
        known = {at for request in self._requests() for at in request.predictions}
        fresh = [at for at in map(events.offset, self.ids) if at not in known]
        if fresh:
            forgetting.ask(self.kept, Request(self.entity, tuple(fresh)))

    def _done_by_the_learn_run(self) -> Outcome | None:
        """What came of the requests; None where the learn run is not up."""
        away_since: float | None = None
        while self._requests():
            away_since = None if self._learns() else away_since or time.monotonic()
            if away_since is not None and time.monotonic() - away_since > AWAY_S:
                self.waits.append("the learn run is not up: it erases log, journal and learners when it next runs")
                return None
            self._tell("waits for the learn run to erase the log and the journal")
            time.sleep(_LOOK_AGAIN_S)
        found = forgetting.outcome_of(self.kept, self.entity)
        if found is not None:
            return found
        # An earlier run had settled it, and was interrupted before it could give its receipt.
        facts, receipt = self.kept.fact("learn", LearnFacts), self.before or self.nothing()
        return Outcome(
            at=0.0,
            predictions=receipt.predictions,
            logged=receipt.logged_predictions,
            labels=receipt.logged_labels,
            examples=receipt.learned,
            amendments=facts.amendments if facts else 0,
        )

    def _relearned(self, name: str, outcome: Outcome) -> str:
        """What became of a learner, once it has stored what it is without it, or cannot now."""
        if not outcome.examples:
            return "had learned nothing of it"
        silent_since = time.monotonic()
        while True:
            facts = self.kept.fact(f"learner:{name}", LearnerFacts)
            if facts is not None and facts.purged >= outcome.amendments:
                break
            if facts is not None and time.time() - facts.at < SILENT_S / 2:
                silent_since = time.monotonic()
            if time.monotonic() - silent_since > (SILENT_S if self._learns() else AWAY_S):
                self.waits.append(f"learner {name} is not running: it learns anew when the learn run is up")
                return "waits"
            self._tell(f"waits for {name}: {(facts and facts.rebuilding) or 'it is to learn anew'}")
            time.sleep(_LOOK_AGAIN_S)
        if facts.benched is not None:
            return "is benched; what it had stored of it is removed, and once pardoned it begins anew"
        return f"has learned {facts.learned:,} labels without it"

    def _learns(self) -> bool:
        return bool(self.kept.client.exists(self.kept.key("lease:learn")))

    def _remains(self, outcome: Outcome) -> list[str]:
        """What is left elsewhere, and revisions that are still the ones from before."""
        published, online = Releases(self.kept.client, self.name), self.model.learners_of("online")
        told = [why for name in online if outcome.examples and (why := self._still_public(name, published, outcome))]
        since = set(forgetting.ids_of(self.kept, self.entity)) - set(self.ids)
        if since:
            told.append(f"{len(since):,} predictions that were asked about it meanwhile. Erase again.")
        return told + receipts.remains(self.chosen, self.name, set(online), published, outcome.versions)

    def _still_public(self, name: str, published: Releases, outcome: Outcome) -> str | None:
        """Why the public revision of a learner is from before; waits until it is not, where it can be replaced."""
        deadline = time.monotonic() + REPLACED_S
        while True:
            facts = self.kept.fact(f"learner:{name}", LearnerFacts)
            manifest = published.manifest(facts.version) if facts and facts.version else None
            if facts is None or manifest is None:
                return None
            why = "it is frozen" if facts.frozen else facts.held or facts.benched
            if why is None and manifest.created_at >= outcome.at:
                self._await_copy(manifest.version, outcome.at)
                return None
            if why is not None or time.monotonic() > deadline:
                why = why or f"it was not replaced within {REPLACED_S:g} s"
                return f"The public revision of {name}, {manifest.revision} of version {manifest.version}: {why}."
            time.sleep(_LOOK_AGAIN_S)

    def _await_copy(self, version: int, since: float) -> None:
        """Waits until serving's own copy of a version is of a newer revision, where it keeps one here."""
        deadline = time.monotonic() + REPLACED_S
        while self._is_older(version, since):
            if time.monotonic() > deadline:
                self.waits.append(f"serving keeps an older copy of version {version}: it replaces it when it runs")
                return
            self._tell("waits for serving to replace its copy of what it serves")
            time.sleep(_LOOK_AGAIN_S)

    def _is_older(self, version: int, since: float) -> bool:
        try:
            copy = kept_releases.read(self.chosen.release_folder / self.name, version)
        except ReleaseRefused:
            return True
        return copy is not None and copy.manifest.created_at < since

    def _write_down(self, receipt: Receipt) -> None:
        numbers = {
            "predictions": receipt.predictions,
            "labels": receipt.logged_labels,
            "learned": receipt.learned,
            "receipt_sha256": receipt.sha256,
        }
        Ledger(self.log, self.kept).append(
            "erased",
            None,
            f"{receipt.predictions:,} predictions about one entity were erased, and learners have learned without "
            f"their {receipt.learned:,} labels; the receipt has sha256 {receipt.sha256}.",
            cause=person(),
            numbers=numbers,
            key=f"erased:{receipt.sha256}",
        )

    def _tell(self, text: str) -> None:
        """A line of progress now and then, beside what is printed in the end."""
        if time.monotonic() - self._told_at > _TELL_EVERY_S:
            self._told_at = time.monotonic()
            click.echo(f"{self.name}: {text}", err=True)


def _find(chosen: Settings, name: str, model: Model, key: bytes, entity: str) -> Erasure:
    kept = Streams(streams.connect(chosen.redis_url), name)
    _require_key(kept, key)
    log, masked = Log(chosen.log_folder, name, model.schema), entities.masked(key, name, entity)
    ids = forgetting.ids_of(kept, masked)  # before the log: what leaves the streams lies there by then
    logged = map(events.offset_id, log.offsets_of(masked))
    both = sorted({*ids, *logged}, key=events.entry_id)
    return Erasure(chosen, name, model, kept, log, masked, both, receipts.unfinished(chosen, name, masked))


def _require_key(kept: Streams, key: bytes) -> None:
    """Under another key than serving's, nothing would be found. Raises ConfigError."""
    mine = entities.fingerprint(key)
    for address, facts in kept.facts_of("serving", ServingFacts).items():
        if facts.entity_key not in ("", mine) and time.time() - facts.at < SILENT_S:
            raise ConfigError(
                f"serving at {address} masks entities with another key ({facts.entity_key}, here {mine}): set "
                "TILTYARD_ENTITY_KEY, or give the state folder with its entity.key"
            )


def _with(receipt: Receipt, gone: Gone) -> Receipt:
    return msgspec.structs.replace(receipt, streams=receipt.streams + gone)


def _printed(receipt: Receipt) -> str:
    if receipt.status == "nothing":
        return f"{receipt.model}: nothing is kept about it."
    lines = [
        f"{receipt.model}: {receipt.status}. {receipt.predictions:,} predictions, {receipt.streams.feedback:,} labels "
        f"in the streams, {receipt.logged_labels:,} in the log, {receipt.learned:,} that had been learned.",
        *(f"  {name} {what}." for name, what in receipt.learners.items()),
        *([f"  Redis: {receipt.redis}."] if receipt.redis else []),
        *(f"  Waits: {one}. Then run this again." for one in receipt.waits),
        *(f"  Remains: {one}" for one in receipt.remains),
    ]
    if receipt.status == "complete":
        lines.append(f"  Receipt: {receipt.sha256} (sha256; in receipts/ of the state folder, and in the ledger)")
    return "\n".join(lines)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
