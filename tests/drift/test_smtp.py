"""The address of a mail server."""

from pathlib import Path

import pytest

from contracts.quantities import ConfigError
from drift.smtp import Server, parse


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.org", Server("mail.example.org", 587, "starttls")),
        ("smtp://u%40x:p%2Fw@h:2525?tls=starttls", Server("h", 2525, "starttls", "u@x", "p/w")),
        ("smtps://u:p@h", Server("h", 465, "implicit", "u", "p")),
        ("smtps://h?tls=implicit", Server("h", 465, "implicit")),
        ("smtp://h?tls=implicit", Server("h", 465, "implicit")),
        ("smtp://h?tls=none", Server("h", 25, "none")),
        ("smtp://u:p@127.0.0.1:1025?tls=none", Server("127.0.0.1", 1025, "none", "u", "p")),
        ("smtp://[::1]:1025?tls=none", Server("::1", 1025, "none")),
        ("smtp://bücher.example", Server("xn--bcher-kva.example", 587, "starttls")),
    ],
)
def test_a_url_names_server_and_encryption(url: str, server: Server) -> None:
    """Without a word about it, the connection is encrypted."""
    assert parse(url) == server


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mail.example.org:25", "names no mail server"),
        ("http://h", "names no mail server"),
        ("smtp://", "names no mail server"),
        ("smtp://h:port", "no valid host and port"),
        ("smtp://h:99999", "no valid host and port"),
        ("smtp://[::1", "no valid host and port"),
        (f"smtp://{'a' * 70}.org", "no valid host and port"),
        ("smtp://u:secret/x@h", "no valid host and port"),
        ("smtp://h/secret", "something after its host"),
        ("smtp://h?tsl=none", 'unknown option "tsl"'),
        ("smtp://h?tls=yes", 'tls="yes"'),
        ("smtps://h?tls=none", "means tls=implicit"),
        ("smtp://u@h", "user without a password"),
        ("smtp://u:sécret@h", "beyond ASCII"),
        ("smtp://u:secret@h?tls=none", "in the clear"),
        ("smtp://u:secret@h?ca=/nowhere.pem", "no certificates can be read"),
    ],
)
def test_a_url_that_cannot_be_used_says_why_and_how_without_the_password(url: str, said: str) -> None:
    """Each message shows the right form."""
    with pytest.raises(ConfigError) as caught:
        parse(url)
    assert said in str(caught.value)
    assert "smtp://user:password@host:587" in str(caught.value)
    assert "secret" not in str(caught.value).replace("h/secret", "")


def test_a_file_without_certificates_is_refused_at_once(tmp_path: Path) -> None:
    """Not at the first mail."""
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"ca=.*no certificates"):
        parse(f"smtp://h?ca={tmp_path / 'ca.pem'}")


def test_the_password_stays_out_of_logs() -> None:
    """A server is named by host, port and encryption."""
    assert repr(parse("smtp://u:secret@h")) == "h:587 (tls=starttls)"
