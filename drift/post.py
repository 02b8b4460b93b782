"""What people are told, by the rules of [models.NAME.mail]: who hears of it, when, together with what, and only once.

A message lies in the model's folder of the outbox until it may go. Then mails are made of what is due, one for all who
get the same, beside it; the list of what has been told decides whether they count. They are moved into the outbox's
queue after it, and dropped if it was not written: killed anywhere, everything is told once.
"""

import fcntl
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from contracts.alarm_facts import Severity
from contracts.mail_rules import SEVERITIES, Mail
from drift import post_queue, shelf, webhook
from drift.letter import Letter, together
from drift.mail import QUEUED, File, Mailer, Sent
from drift.post_queue import Entry
from drift.post_times import due

log = logging.getLogger(__name__)

_WAITING, _HOOK, _TOLD = ".waiting", ".hook", "told.json"
_REMEMBERED = 1_000


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell; `id` is the same when it is said again."""

    id: str
    at: float
    due_at: float
    to: tuple[str, ...]
    letter: Letter
    images: tuple[File, ...] = ()
    attachments: tuple[File, ...] = ()


def audience(rules: Mail, severity: Severity) -> tuple[str, ...]:
    """Who hears of drift of this severity that begins, changes, stands or ends."""
    reached = SEVERITIES.index(severity)
    lists = [getattr(rules.to, name) for name in SEVERITIES[1 : reached + 1]]
    return (*rules.recipients, *(to for names in lists for to in names))


def decision_audience(rules: Mail) -> tuple[str, ...]:
    """Who hears of decisions; the outbox does, too, where nobody is named and `decisions` stands."""
    return (*(rules.recipients if rules.decisions else ()), *rules.to.decisions)


def _groups(messages: Iterable[Message]) -> dict[tuple[str, ...], list[str]]:
    """Who gets which messages in one mail, by their ids: what had to wait comes together, anything else alone."""
    waited: dict[str, list[str]] = {}
    groups: dict[tuple[str, ...], list[str]] = {}
    for message in messages:
        if message.due_at <= message.at:
            groups[(message.id,)] = list(message.to)
            continue
        for to in message.to or ("",):
            waited.setdefault(to, []).append(message.id)
    for to, ids in waited.items():
        groups.setdefault(tuple(ids), []).extend([to] if to else [])
    return groups


class Post:
    """The post of one model."""

    def __init__(self, mailer: Mailer, model: str, rules: Mail):
        self.mailer, self.model, self.rules = mailer, model, rules
        self.folder = mailer.outbox / model

    def add(
        self,
        id_: str,
        severity: Severity,
        to: Sequence[str],
        letter: Letter,
        payload: Mapping[str, Any],
        images: Sequence[File] = (),
        attachments: Sequence[File] = (),
    ) -> None:
        """Takes a message, to be sent by `send_due` when its time has come. Said again, it changes nothing.

        `payload` is for the webhook, where there is one. Raises OSError when it cannot be kept.
        """
        now = self.mailer.clock()
        message = Message(
            id=id_,
            at=now,
            due_at=due(self.rules, severity, now),
            to=tuple(dict.fromkeys(to)),
            letter=letter,
            images=tuple(images),
            attachments=tuple(attachments),
        )
        with self._alone():
            path, hook = self.folder / f"{id_}{_WAITING}", self.folder / f"{id_}{_HOOK}"
            if path.exists() or id_ in self._told():
                return
            if self.rules.webhook:
                head = {"id": id_, "model": self.model, "severity": severity, "at": now, "text": letter.subject}
                post_queue.write(
                    hook, Entry(to=("webhook",), since=now, next_at=now), msgspec.json.encode({**payload, **head})
                )
            shelf.write(path, msgspec.json.encode(message))

    def send_due(self) -> list[Sent]:
        """Sends what may go now, and tries again what is due; what became of it. Never raises."""
        try:
            with self._alone():
                self._gather(self.mailer.clock())
        except OSError as error:
            log.error("mail_waits model=%s reason=%s", self.model, error.strerror or error)
        self._post_hooks()
        return self.mailer.retry()

    def _gather(self, now: float) -> None:
        """Makes mails of what is due. Raises OSError."""
        self._finish()
        ready = {message.id: message for message in self._waiting() if message.due_at <= now}
        for ids, people in _groups(ready.values()).items():
            self._make([ready[id_] for id_ in ids], people)
        if ready:
            shelf.write(self.folder / _TOLD, msgspec.json.encode([*self._told(), *ready][-_REMEMBERED:]))
            self._finish()

    def _finish(self) -> None:
        """Sends the mails about what has been told on their way, and forgets the others: they are made again."""
        told = set(self._told())
        for path, entry in list(post_queue.waiting(self.folder, QUEUED)):
            if told.issuperset(entry.items):
                path.replace(self.mailer.outbox / path.name)
            else:
                path.unlink()
        for path in list(self.folder.glob(f"*{_WAITING}")):
            if path.stem in told:
                path.unlink()

    def _make(self, messages: Sequence[Message], people: Sequence[str]) -> None:
        """Raises OSError."""
        letter = messages[0].letter if len(messages) == 1 else together(self.model, [one.letter for one in messages])
        path, reason = self.mailer.queue(
            people,
            letter.subject,
            letter.text,
            letter.html,
            [file for message in messages for file in message.attachments],
            [file for message in messages for file in message.images],
            folder=self.folder,
            items=[message.id for message in messages],
        )
        if path is None and people:
            raise OSError(reason)
        if path is None:
            log.info("mail_not_sent model=%s reason=%s", self.model, reason)

    def _post_hooks(self) -> None:
        """A server that takes nothing now is not asked about the rest."""
        now = self.mailer.clock()
        for path, entry in list(post_queue.waiting(self.folder, _HOOK)):
            if entry.next_at <= now:
                with post_queue.held(path) as is_ours:
                    if is_ours and (found := post_queue.read(path)) is not None and not self._post_hook(path, *found):
                        return

    def _post_hook(self, path: Path, entry: Entry, body: bytes) -> bool:
        """Whether it is over and done with."""
        refusal = webhook.post(self.rules.webhook, body, f"{self.model}/{path.stem}", self.mailer.timeout_s)
        reasons = {} if refusal is None else {"webhook": refusal.reason}
        is_temporary = refusal is not None and refusal.temporary
        after = entry.after(reasons if is_temporary else {}, {} if is_temporary else reasons, self.mailer.clock())
        try:
            if after.to:
                post_queue.write(path, after, body)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            log.error("webhook_unsettled model=%s reason=%s", self.model, error.strerror)
        outcome = "taken" if refusal is None else f"{'waits' if after.to else 'given up'}: {refusal.reason}"
        log.info("webhook_posted model=%s message=%s outcome=%s", self.model, path.stem, outcome)
        return not after.to

    def _waiting(self) -> Iterator[Message]:
        """In the order in which they were said."""
        found = []
        for path in self.folder.glob(f"*{_WAITING}"):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Message))
            except (OSError, msgspec.DecodeError) as error:
                log.warning("message_unreadable file=%s reason=%s", path.name, error)
        yield from sorted(found, key=lambda message: (message.at, message.id))

    def _told(self) -> list[str]:
        try:
            return msgspec.json.decode((self.folder / _TOLD).read_bytes(), type=list[str])
        except (OSError, msgspec.DecodeError):
            return []

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process moves this model's messages meanwhile; nobody holds this for longer than a disk takes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
