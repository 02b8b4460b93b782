"""The way to a mail server: its address as a URL, and one conversation with it."""

import contextlib
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from contracts.quantities import ConfigError

Tls = Literal["none", "starttls", "implicit"]

_PORTS: Mapping[Tls, int] = {"none": 25, "starttls": 587, "implicit": 465}
_LOCAL = ("localhost", "127.0.0.1", "::1")
_EXAMPLE = "write smtp://user:password@host:587?tls=starttls (tls: none, starttls or implicit; ca: a file)"


class Refusal(NamedTuple):
    """Why somebody did not get a mail, and whether trying again may help."""

    reason: str
    temporary: bool


@dataclass(frozen=True)
class Server:
    """A mail server; its `repr` leaves the password out."""

    host: str
    port: int
    tls: Tls
    user: str = ""
    password: str = ""
    ca: Path | None = None
    """Certificates to trust instead of the system's."""

    def __repr__(self) -> str:
        return f"{self.host}:{self.port} (tls={self.tls})"

    def deliver(self, message: bytes, sender: str, recipients: Sequence[str], timeout_s: float) -> dict[str, Refusal]:
        """Hands a message over, byte by byte as it is; returns those who do not get it.

        Each step may take `timeout_s`. Never raises.
        """
        try:
            refused = self._converse(message, sender, recipients, timeout_s)
        except (smtplib.SMTPException, OSError) as error:
            return dict.fromkeys(recipients, Refusal(f"{self!r}: {_reason(error)}", _is_temporary(error)))
        return {to: Refusal(f"{code} {_text(said)}", code < 500) for to, (code, said) in refused.items()}

    def _converse(
        self, message: bytes, sender: str, recipients: Sequence[str], timeout_s: float
    ) -> dict[str, tuple[int, bytes]]:
        client = self._connect(timeout_s)
        try:
            if self.tls == "starttls":
                client.starttls(context=self._context())
            if self.user:
                client.login(self.user, self.password)
            return client.sendmail(sender, list(recipients), message)
        except smtplib.SMTPRecipientsRefused as error:
            # Nobody got it. After a 421 smtplib names only those whom it had asked about by then.
            return {to: error.recipients.get(to, (421, b"the server hung up")) for to in recipients}
        finally:
            # The message has been accepted or not: a bad goodbye must not send it a second time.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                client.quit()
            client.close()

    def _connect(self, timeout_s: float) -> smtplib.SMTP:
        if self.tls == "implicit":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=timeout_s, context=self._context())
        return smtplib.SMTP(self.host, self.port, timeout=timeout_s)

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)


def parse(url: str) -> Server:
    """The server in smtp://user:password@host:port?tls=...&ca=... or smtps://. Without `tls`, smtp is starttls.

    Raises ConfigError, which never repeats the password.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except (ValueError, UnicodeError):
        raise _wrong("has no valid host and port") from None
    if parts.scheme not in ("smtp", "smtps") or not host:
        raise _wrong("names no mail server")
    if parts.path.strip("/") or parts.fragment:
        raise _wrong("has something after its host; in a password write / as %2F and # as %23")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options.keys() - {"tls", "ca"}:
        raise _wrong(f'has an unknown option "{name}"')
    tls = _tls(parts.scheme, options.get("tls"))
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise _wrong("has a user without a password, or a password without a user")
    if not (user + password).isascii():
        raise _wrong("has a user or password beyond ASCII, which SMTP cannot say")
    if user and tls == "none" and host not in _LOCAL:
        raise _wrong("would send its password in the clear: use tls=starttls or tls=implicit")
    return Server(host, port or _PORTS[tls], tls, user, password, _ca(options.get("ca")))


def _tls(scheme: str, given: str | None) -> Tls:
    wanted = given or ("implicit" if scheme == "smtps" else "starttls")
    if scheme == "smtps" and wanted != "implicit":
        raise _wrong(f"is smtps://, which means tls=implicit, and says tls={wanted}")
    for tls in get_args(Tls):
        if tls == wanted:
            return tls  # type: ignore[no-any-return]  # get_args forgets that it is a Tls
    raise _wrong(f'has tls="{wanted}"')


def _ca(given: str | None) -> Path | None:
    if given is None:
        return None
    try:
        ssl.create_default_context(cafile=given)
    except OSError as error:  # ssl.SSLError is one
        raise _wrong(f"has ca={given}, where no certificates can be read ({error.strerror or error})") from None
    return Path(given)


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"TILTYARD_SMTP_URL {what}; {_EXAMPLE}")


def _is_temporary(error: Exception) -> bool:
    """Server away, or busy by its own words; a wrong password or certificate stays wrong."""
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code < 500
    if isinstance(error, smtplib.SMTPException):
        return isinstance(error, smtplib.SMTPServerDisconnected)
    return not isinstance(error, ssl.SSLError)


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    return " ".join(str(error).split()) or type(error).__name__


def _text(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(text.split())
