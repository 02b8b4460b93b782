"""Mails that arrive, wait to be tried again, or are kept: through SMTP where configured, else as .eml in the outbox."""

import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path

from contracts.mail_rules import is_address
from contracts.quantities import ConfigError
from contracts.settings import Settings
from drift import post_queue, shelf, smtp
from drift.post_queue import Entry
from drift.smtp import Refusal

log = logging.getLogger(__name__)

QUEUED = ".queued"
_USER, _HOST = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}", r"[A-Za-z0-9.-]{1,255}"
_SENDER = re.compile(f'(?:"?(?P<name>[^<>"]*)"? *(?P<open><))?(?P<user>{_USER})@(?P<host>{_HOST})(?(open)>)')
_SUBJECT_LENGTH = 200
_NO_SERVER = "no mail server is configured (TILTYARD_SMTP_URL)"


@dataclass(frozen=True)
class File:
    """An attachment; as an inline image the HTML shows it as `cid:NAME`. `type` is a media type such as image/png."""

    name: str
    type: str
    data: bytes


@dataclass(frozen=True)
class Sent:
    """What became of a mail. If it missed anybody (`refused`, with reasons) it lies in the outbox."""

    delivered: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    outbox: Path | None = None
    reason: str = ""
    """Why nothing was sent, or why it could not even be kept."""
    next_at: float | None = None
    """When it is tried again for those who were refused for now, in epoch seconds."""

    @property
    def sentence(self) -> str:
        parts = [f"sent to {', '.join(self.delivered)}"] if self.delivered else []
        parts += [f"not to {to}: {why}" for to, why in self.refused.items()]
        again = (
            "" if self.next_at is None else f", tried again from {datetime.fromtimestamp(self.next_at, UTC):%H:%M} UTC"
        )
        parts += [f"kept in the outbox as {self.outbox.name}{again}"] if self.outbox else []
        return "; ".join([*parts, self.reason] if self.reason else parts)


class Mailer:
    """Sends from one address; `pause` waits between the first attempts, `clock` tells epoch seconds."""

    def __init__(
        self,
        settings: Settings,
        timeout_s: float = 10.0,
        waits_s: Sequence[float] = (1, 5),
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ):
        """Raises ConfigError when the server's URL or the sender's address cannot be used."""
        self.server = smtp.parse(settings.smtp_url) if settings.smtp_url else None
        self.sender = _sender(settings.mail_from)
        self.outbox, self.timeout_s, self.waits_s = settings.outbox_folder, timeout_s, waits_s
        self.pause, self.clock = pause, clock

    def send(
        self,
        recipients: Sequence[str],
        subject: str,
        text: str,
        html: str,
        attachments: Sequence[File] = (),
        images: Sequence[File] = (),
    ) -> Sent:
        """Delivers a mail or keeps it in the outbox, and says which; never raises for what servers and disks do.

        A refused recipient does not stop the others. Temporary failures are tried again after each of `waits_s`; then
        the mail waits in the outbox for `retry`.
        """
        path, reason = self.queue(recipients, subject, text, html, attachments, images)
        return Sent(reason=reason) if path is None else self.deliver(path)

    def queue(
        self,
        recipients: Sequence[str],
        subject: str,
        text: str,
        html: str,
        attachments: Sequence[File] = (),
        images: Sequence[File] = (),
        folder: Path | None = None,
        items: Sequence[str] = (),
    ) -> tuple[Path | None, str]:
        """Puts a mail into the outbox, or another folder, to be delivered; or says why it is lost.

        `items` is what it tells of.
        """
        named = dict.fromkeys(recipients)
        if self.server is not None and not named:
            return None, "nobody is to get it (mail.recipients)"
        valid = [to for to in named if is_address(to)]
        refused = {_line(to): "is no address; write name@host" for to in named if to not in valid}
        message = self._message(valid, subject, text, html, attachments, images)
        words = re.sub(r"[^a-z0-9]+", "-", str(message["Subject"]).lower())[:60].strip("-")
        now = self.clock()
        path = (folder or self.outbox) / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{words}-{secrets.token_hex(3)}{QUEUED}"
        entry = Entry(to=tuple(valid), since=now, next_at=now, failed=refused, items=tuple(items))
        try:
            post_queue.write(path, entry, message.as_bytes())
        except OSError as error:
            log.error("mail_lost folder=%s reason=%s", self.outbox, error.strerror)
            return None, f"it could not be kept in {self.outbox}: {error.strerror}"
        return path, ""

    def retry(self) -> list[Sent]:
        """Delivers what lies in the outbox and is due; what another process delivers meanwhile is left to it.

        A server that takes nothing now is not asked about the rest: that is left to the next run.
        """
        now, done = self.clock(), list[Sent]()
        for path, entry in list(post_queue.waiting(self.outbox, QUEUED)):
            if entry.next_at <= now:
                done.append(self.deliver(path))
                if done[-1].next_at is not None and not done[-1].delivered:
                    break
        return done

    def deliver(self, path: Path) -> Sent:
        """Tries a queued mail now. Never raises for what servers and disks do."""
        with post_queue.held(path) as is_ours:
            found = post_queue.read(path) if is_ours else None
            if found is None:
                return Sent(reason="another process delivers it")
            try:
                return self._try(path, *found)
            except OSError as error:
                log.error("mail_unsettled file=%s reason=%s", path.name, error.strerror)
                return Sent(outbox=path, reason=f"the outbox cannot be written: {error.strerror}")

    def _try(self, path: Path, entry: Entry, data: bytes) -> Sent:
        """Raises OSError."""
        if self.server is None:
            return Sent(refused=entry.failed, outbox=_settle(path, entry, data), reason=_NO_SERVER)
        refusals = self._deliver(self.server, data, entry.to)
        temporary = {to: why.reason for to, why in refusals.items() if why.temporary}
        final = {to: why.reason for to, why in refusals.items() if not why.temporary}
        after = entry.after(temporary, final, self.clock())
        # Written before anything else: from here on a kill repeats nothing.
        post_queue.write(path, after, data)
        delivered = tuple(to for to in entry.to if to not in refusals)
        log.info("mail_sent delivered=%d refused=%d waiting=%d", len(delivered), len(after.failed), len(after.to))
        if after.to:
            return Sent(delivered, {**after.failed, **temporary}, path, next_at=after.next_at)
        return Sent(delivered, after.failed, _settle(path, after, data))

    def _deliver(self, server: smtp.Server, message: bytes, recipients: Sequence[str]) -> dict[str, Refusal]:
        """Those who do not get it, and why. A server that hangs up late may bring a mail twice, with one Message-ID."""
        failed: dict[str, Refusal] = {}
        waiting = list(recipients)
        for wait_s in (0.0, *self.waits_s):
            if not waiting:
                break
            if wait_s:
                log.info("mail_delayed recipients=%d wait_s=%g", len(waiting), wait_s)
                self.pause(wait_s)
            answers = server.deliver(message, self.sender.addr_spec, waiting, self.timeout_s)
            failed = {to: why for to, why in failed.items() if to not in waiting} | answers
            waiting = [to for to, refusal in answers.items() if refusal.temporary]
        return failed

    def _message(
        self,
        recipients: Sequence[str],
        subject: str,
        text: str,
        html: str,
        attachments: Sequence[File],
        images: Sequence[File],
    ) -> EmailMessage:
        message = EmailMessage(policy=policy.SMTP)
        message["From"] = self.sender
        message["To"] = ", ".join(recipients) or "undisclosed-recipients:;"
        message["Subject"] = _line(subject)[:_SUBJECT_LENGTH]
        message["Date"] = datetime.now(UTC)
        message["Message-ID"] = make_msgid(domain=self.sender.domain)
        message["Auto-Submitted"] = "auto-generated"  # no out-of-office answers, RFC 3834
        message.set_content(_encodable(text), cte="quoted-printable")
        message.add_alternative(_encodable(html), subtype="html", cte="quoted-printable")
        page = message.get_body(("html",))
        for image in images:
            kind, _, subtype = image.type.partition("/")
            page.add_related(image.data, kind, subtype, cid=f"<{_line(image.name)}>", filename=_line(image.name))  # type: ignore[union-attr]  # added above
        for file in attachments:
            kind, _, subtype = file.type.partition("/")
            message.add_attachment(file.data, kind, subtype, filename=_line(file.name))
        return message


def _settle(path: Path, entry: Entry, data: bytes) -> Path | None:
    """Takes a delivery out of the queue; the mail stays as .eml if it missed anybody, or was never tried."""
    kept = None
    if entry.failed or not entry.attempts:
        kept = path.with_suffix(".eml")
        head = f"X-Tiltyard-Undelivered: {', '.join(entry.failed)}\r\n" if entry.failed else ""
        shelf.write(kept, head.encode("ascii", "replace") + data)
    path.unlink(missing_ok=True)
    return kept


def _sender(text: str) -> Address:
    match = _SENDER.fullmatch(text)
    if match is None:
        raise ConfigError(f'TILTYARD_MAIL_FROM: {text!r} is no address; write name@host or "Name <name@host>"')
    return Address(_line(match["name"] or ""), match["user"], match["host"])


def _line(text: str) -> str:
    """One printable line: a header cannot be ended from inside."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
