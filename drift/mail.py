"""Mails that arrive or are kept: through SMTP where configured, else, and on failure, as .eml in the outbox folder."""

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

from contracts.quantities import ConfigError
from contracts.settings import Settings
from drift import shelf, smtp
from drift.smtp import Refusal

log = logging.getLogger(__name__)

_USER, _HOST = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}", r"[A-Za-z0-9.-]{1,255}"
_ADDRESS = re.compile(f"{_USER}@{_HOST}")
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
    """What became of a mail. If it missed anybody (`refused`, with reasons) it also lies in the outbox."""

    delivered: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    outbox: Path | None = None
    reason: str = ""
    """Why nothing was sent, or why it could not even be kept."""

    @property
    def sentence(self) -> str:
        parts = [f"sent to {', '.join(self.delivered)}"] if self.delivered else []
        parts += [f"not to {to}: {why}" for to, why in self.refused.items()]
        parts += [f"kept in the outbox as {self.outbox.name}"] if self.outbox else []
        return "; ".join([*parts, self.reason] if self.reason else parts)


class Mailer:
    """Sends from one address; `pause` waits between attempts."""

    def __init__(
        self,
        settings: Settings,
        timeout_s: float = 10.0,
        waits_s: Sequence[float] = (1, 5, 25),
        pause: Callable[[float], None] = time.sleep,
    ):
        """Raises ConfigError when the server's URL or the sender's address cannot be used."""
        self.server = smtp.parse(settings.smtp_url) if settings.smtp_url else None
        self.sender = _sender(settings.mail_from)
        self.outbox, self.timeout_s, self.waits_s, self.pause = settings.outbox_folder, timeout_s, waits_s, pause

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

        A refused recipient does not stop the others; temporary failures are tried again after each of `waits_s`.
        """
        named = dict.fromkeys(recipients)
        valid = [to for to in named if _ADDRESS.fullmatch(to)]
        refused = {_line(to): "is no address; write name@host" for to in named if to not in valid}
        message = self._message(valid, subject, text, html, attachments, images)
        if self.server is None:
            return self._keep(message, Sent(refused=refused, reason=_NO_SERVER))
        if not named:
            return Sent(reason="nobody is to get it (mail.recipients)")
        refused |= self._deliver(self.server, message, valid)
        sent = Sent(tuple(to for to in valid if to not in refused), refused)
        log.info("mail_sent delivered=%d refused=%d", len(sent.delivered), len(refused))
        return self._keep(message, sent) if refused else sent

    def _deliver(self, server: smtp.Server, message: EmailMessage, recipients: Sequence[str]) -> dict[str, str]:
        """Those who do not get it, and why. A server that hangs up late may bring a mail twice, with one Message-ID."""
        failed: dict[str, Refusal] = {}
        waiting = list(recipients)
        for wait_s in (0.0, *self.waits_s):
            if not waiting:
                break
            if wait_s:
                log.info("mail_delayed recipients=%d wait_s=%g", len(waiting), wait_s)
                self.pause(wait_s)
            answers = server.deliver(message, waiting, self.timeout_s)
            failed = {to: why for to, why in failed.items() if to not in waiting} | answers
            waiting = [to for to, refusal in answers.items() if refusal.temporary]
        return {to: refusal.reason for to, refusal in failed.items()}

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

    def _keep(self, message: EmailMessage, sent: Sent) -> Sent:
        if sent.refused:
            message["X-Tiltyard-Undelivered"] = ", ".join(sent.refused)
        words = re.sub(r"[^a-z0-9]+", "-", str(message["Subject"]).lower())[:60].strip("-")
        path = self.outbox / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{words}-{secrets.token_hex(3)}.eml"
        try:
            shelf.write(path, message.as_bytes())
        except OSError as error:
            log.error("mail_lost folder=%s reason=%s", self.outbox, error.strerror)
            reason = f"it could not be kept in {self.outbox} either: {error.strerror}"
            return Sent(sent.delivered, sent.refused, None, f"{sent.reason}; {reason}" if sent.reason else reason)
        return Sent(sent.delivered, sent.refused, path, sent.reason)


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
