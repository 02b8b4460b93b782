"""Mails against a real server: they arrive, or they lie in the outbox, and which is said."""

import socket
import subprocess
import sys
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.quantities import ConfigError
from contracts.settings import Settings
from drift import post_queue
from drift.mail import File, Mailer, Sent
from tests.conftest import free_port
from tests.drift.mailroom import Mailbox, certificate, served

PICTURE = File("bars.png", "image/png", b"\x89PNG picture")


def mailer(folder: Path, url: str = "", now: float = 0.0) -> tuple[Mailer, list[float]]:
    """A mailer at a time, that notes its pauses instead of making them."""
    pauses: list[float] = []
    where = Settings(state=folder, smtp_url=url, mail_from="Tiltyard <tilt@example.org>")
    return Mailer(where, timeout_s=5, waits_s=(1.0, 5.0), pause=pauses.append, clock=lambda: now), pauses


def kept(sent: Sent) -> EmailMessage:
    assert sent.outbox is not None
    message = message_from_bytes(sent.outbox.read_bytes(), policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_a_mail_arrives_encrypted_and_with_a_login(tmp_path: Path) -> None:
    """STARTTLS with a verified certificate, AUTH, text and HTML twins, picture inline, report attached."""
    box, pem = Mailbox(), certificate(tmp_path)
    with served(box, pem) as port:
        post, pauses = mailer(tmp_path, f"smtp://ann:s3cret%2F@127.0.0.1:{port}?ca={pem}")
        report = File("report.html", "text/html", b"<p>report</p>")
        page = '<p>ü</p><img src="cid:bars.png">'
        sent = post.send(["a@example.org", "b@example.org"], "Drift: ü", "täxt", page, [report], [PICTURE])
    assert sent == Sent(("a@example.org", "b@example.org"))
    assert sent.sentence == "sent to a@example.org, b@example.org"
    assert (pauses, list((tmp_path / "outbox").iterdir())) == ([], [])
    ((recipients, message),) = box.received
    assert recipients == ["a@example.org", "b@example.org"]
    assert (message["Subject"], message["From"]) == ("Drift: ü", "Tiltyard <tilt@example.org>")
    assert message["To"] == "a@example.org, b@example.org"
    assert message["Date"] is not None
    assert message["Message-ID"].endswith("@example.org>")
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "text/html",
    ]
    parts = list(message.walk())
    assert parts[2].get_content().strip() == "täxt"  # type: ignore[attr-defined]
    assert parts[4].get_content().strip() == page  # type: ignore[attr-defined]
    assert (parts[5]["Content-ID"], parts[6].get_filename()) == ("<bars.png>", "report.html")


# aiosmtpd does not see that its whole connection is encrypted.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
def test_a_mail_arrives_through_tls_from_the_first_byte(tmp_path: Path) -> None:
    """smtps:// is for servers without STARTTLS."""
    box, pem = Mailbox(), certificate(tmp_path)
    with served(box, pem, implicit=True) as port:
        post, _ = mailer(tmp_path, f"smtps://ann:s3cret%2F@127.0.0.1:{port}?ca={pem}")
        assert post.send(["a@example.org"], "s", "t", "<p>").delivered == ("a@example.org",)
    assert len(box.received) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("smtp://ann:s3cret%2F@127.0.0.1:{port}", "certificate verify failed"),
        ("smtp://ann:s3cret%2F@localhost:{port}?ca={pem}", "certificate verify failed"),
        ("smtp://ann:wrong@127.0.0.1:{port}?ca={pem}", "535"),
        ("smtp://127.0.0.1:{port}?ca={pem}", "530"),
        ("smtp://127.0.0.1:{port}?tls=none", "530"),
        ("smtps://127.0.0.1:{port}?ca={pem}", "SSL"),
    ],
)
def test_what_cannot_get_better_is_not_tried_again(tmp_path: Path, url: str, said: str) -> None:
    """Unknown certificate, other host, wrong password, no login, no encryption: kept at once, reason and all."""
    box, pem = Mailbox(), certificate(tmp_path)
    with served(box, pem) as port:
        post, pauses = mailer(tmp_path, url.format(port=port, pem=pem))
        sent = post.send(["a@example.org"], "Drift", "t", "<p>")
    assert (sent.delivered, pauses, box.received) == ((), [], [])
    assert said in sent.refused["a@example.org"]
    assert "s3cret" not in sent.sentence
    assert kept(sent)["X-Tiltyard-Undelivered"] == "a@example.org"


def test_a_server_without_encryption_gets_nothing_that_should_be_encrypted(tmp_path: Path) -> None:
    """STARTTLS that is not offered is no reason to go on in the clear."""
    box = Mailbox()
    with served(box) as port:
        post, pauses = mailer(tmp_path, f"smtp://127.0.0.1:{port}")
        sent = post.send(["a@example.org"], "Drift", "t", "<p>")
    assert (box.received, pauses) == ([], [])
    assert "STARTTLS" in sent.refused["a@example.org"]
    assert sent.outbox is not None


def test_one_refused_recipient_does_not_stop_the_others(tmp_path: Path) -> None:
    """The others get theirs once; the refused one is named, and the mail is kept."""
    box = Mailbox(recipients={"gone@example.org": ["550 no such user"]})
    with served(box) as port:
        post, pauses = mailer(tmp_path, f"smtp://127.0.0.1:{port}?tls=none")
        sent = post.send(["gone@example.org", "no address", "a@example.org", "b@example.org"], "Drift", "t", "<p>")
    assert [recipients for recipients, _ in box.received] == [["a@example.org", "b@example.org"]]
    assert sent.delivered == ("a@example.org", "b@example.org")
    assert sent.refused == {"gone@example.org": "550 no such user", "no address": "is no address; write name@host"}
    assert pauses == []
    assert kept(sent)["X-Tiltyard-Undelivered"] == "no address, gone@example.org"
    assert "not to gone@example.org: 550 no such user" in sent.sentence


def test_a_recipient_refused_for_now_is_tried_again_alone(tmp_path: Path) -> None:
    """Greylisting: the others do not get the mail twice."""
    box = Mailbox(recipients={"grey@example.org": ["451 come back later"]})
    with served(box) as port:
        post, pauses = mailer(tmp_path, f"smtp://127.0.0.1:{port}?tls=none")
        sent = post.send(["grey@example.org", "a@example.org"], "Drift", "t", "<p>")
    assert [recipients for recipients, _ in box.received] == [["a@example.org"], ["grey@example.org"]]
    assert box.received[0][1]["Message-ID"] == box.received[1][1]["Message-ID"]
    assert (sent.delivered, sent.refused, sent.outbox) == (("grey@example.org", "a@example.org"), {}, None)
    assert pauses == [1.0]


def test_a_server_that_hangs_up_has_delivered_to_nobody(tmp_path: Path) -> None:
    """421 to the first of two: smtplib names that one only, yet neither got the mail."""
    box = Mailbox(recipients={"a@example.org": ["421 going down"] * 3})
    with served(box) as port:
        post, pauses = mailer(tmp_path, f"smtp://127.0.0.1:{port}?tls=none")
        sent = post.send(["a@example.org", "b@example.org"], "Drift", "t", "<p>")
    assert (box.received, sent.delivered, pauses) == ([], (), [1.0, 5.0])
    assert sent.refused == {"a@example.org": "421 going down", "b@example.org": "421 the server hung up"}
    assert kept(sent)["Subject"] == "Drift"


def test_a_busy_server_gets_the_mail_later_and_a_final_no_is_final(tmp_path: Path) -> None:
    """451 to the message is tried again; 554 is not."""
    box = Mailbox(data=["451 busy"])
    with served(box) as port:
        post, pauses = mailer(tmp_path, f"smtp://127.0.0.1:{port}?tls=none")
        assert post.send(["a@example.org"], "s", "t", "<p>").delivered == ("a@example.org",)
        assert (pauses, box.attempts) == ([1.0], 2)
        box.data = ["554 looks like spam"]
        sent = post.send(["a@example.org"], "s", "t", "<p>")
    assert (box.attempts, len(pauses)) == (3, 1)
    assert "554 looks like spam" in sent.refused["a@example.org"]
    assert sent.outbox is not None


def test_a_server_that_is_down_sends_the_mail_to_the_outbox(tmp_path: Path) -> None:
    """After every wait was waited for; the reason is the system's."""
    post, pauses = mailer(tmp_path, f"smtp://127.0.0.1:{free_port()}?tls=none")
    sent = post.send(["a@example.org"], "Drift: 3 of 9", "text", "<p>html", [PICTURE])
    assert pauses == [1.0, 5.0]
    assert "Connection refused" in sent.refused["a@example.org"]
    message = kept(sent)
    assert (message["Subject"], message["To"]) == ("Drift: 3 of 9", "a@example.org")
    assert [part.get_filename() for part in message.iter_attachments()] == ["bars.png"]
    assert sent.outbox is not None
    assert sent.outbox.parent == tmp_path / "outbox"
    assert "drift-3-of-9" in sent.outbox.name


def test_what_could_not_be_delivered_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    """Another process, with the same message, once; not before its time, and the longer the later."""
    post, _ = mailer(tmp_path, f"smtp://127.0.0.1:{free_port()}?tls=none")
    first = post.send(["a@example.org"], "Drift", "t", "<p>")
    assert first.next_at == 60.0
    assert "tried again from 00:01 UTC" in first.sentence
    assert "X-Tiltyard-Undelivered" not in kept(first)
    (second,) = mailer(tmp_path, f"smtp://127.0.0.1:{free_port()}?tls=none", now=60.0)[0].retry()
    assert second.next_at == 180.0
    box = Mailbox()
    with served(box) as port:
        url = f"smtp://127.0.0.1:{port}?tls=none"
        assert mailer(tmp_path, url, now=179.0)[0].retry() == []
        assert mailer(tmp_path, url, now=180.0)[0].retry() == [Sent(("a@example.org",))]
        assert mailer(tmp_path, url, now=999.0)[0].retry() == []
    ((recipients, message),) = box.received
    assert (recipients, message["Subject"], message["X-Tiltyard-Queue"]) == (["a@example.org"], "Drift", None)
    assert list((tmp_path / "outbox").iterdir()) == []


def test_who_was_reached_gets_nothing_again(tmp_path: Path) -> None:
    """Of three, one is refused for good and one for now: only that one is asked again, the other is told of."""
    box = Mailbox(recipients={"grey@x": ["451 later"] * 3, "gone@x": ["550 no such user"]})
    with served(box) as port:
        url = f"smtp://127.0.0.1:{port}?tls=none"
        first = mailer(tmp_path, url)[0].send(["a@x", "grey@x", "gone@x"], "Drift", "t", "<p>")
        assert (first.delivered, set(first.refused)) == (("a@x",), {"grey@x", "gone@x"})
        (second,) = mailer(tmp_path, url, now=100.0)[0].retry()
    assert [recipients for recipients, _ in box.received] == [["a@x"], ["grey@x"]]
    assert (second.delivered, second.refused) == (("grey@x",), {"gone@x": "550 no such user"})
    assert kept(second)["X-Tiltyard-Undelivered"] == "gone@x"
    assert second.outbox is not None
    assert [path.name for path in (tmp_path / "outbox").iterdir()] == [second.outbox.name]


def test_a_server_that_is_down_is_asked_once_a_run_and_later_gets_all(tmp_path: Path) -> None:
    """However many mails wait: a run of the watch takes seconds, not its waits times their number."""
    down = f"smtp://127.0.0.1:{free_port()}?tls=none"
    for name in ("one", "two", "three"):
        mailer(tmp_path, down)[0].queue(["a@example.org"], name, "t", "<p>")
    post, pauses = mailer(tmp_path, down)
    assert (len(post.retry()), pauses) == (1, [1.0, 5.0])
    box = Mailbox()
    with served(box) as port:
        mailer(tmp_path, f"smtp://127.0.0.1:{port}?tls=none", now=60.0)[0].retry()
    assert sorted(message["Subject"] for _, message in box.received) == ["one", "three", "two"]


def test_after_three_days_a_mail_is_given_up_and_kept(tmp_path: Path) -> None:
    """With whom it missed; nobody tries it again."""
    url = f"smtp://127.0.0.1:{free_port()}?tls=none"
    mailer(tmp_path, url)[0].send(["a@example.org"], "Drift", "t", "<p>")
    (last,) = mailer(tmp_path, url, now=3 * 86_400.0)[0].retry()
    assert last.next_at is None
    assert kept(last)["X-Tiltyard-Undelivered"] == "a@example.org"
    assert mailer(tmp_path, url, now=9 * 86_400.0)[0].retry() == []


def test_two_processes_deliver_a_mail_once(tmp_path: Path) -> None:
    """Whoever comes second leaves it to the first."""
    box = Mailbox()
    with served(box) as port:
        post, _ = mailer(tmp_path, f"smtp://127.0.0.1:{port}?tls=none")
        path, _ = post.queue(["a@example.org"], "Drift", "t", "<p>")
        assert path is not None
        with post_queue.held(path) as is_ours:
            assert is_ours
            (left,) = post.retry()
        (done,) = post.retry()
    assert (left.delivered, left.reason) == ((), "another process delivers it")
    assert done.delivered == ("a@example.org",)
    assert len(box.received) == 1


def test_a_kill_between_two_mails_loses_and_repeats_none(tmp_path: Path) -> None:
    """A process that was killed in the middle of the second conversation; the next one sends that one again."""
    box = Mailbox()
    with served(box) as port, socket.create_server(("127.0.0.1", 0)) as silent:
        state, stuck = tmp_path / "s", f"smtp://127.0.0.1:{silent.getsockname()[1]}?tls=none"
        code = (
            "import sys\nfrom pathlib import Path\n"
            "from contracts.settings import Settings\nfrom drift.mail import Mailer\n"
            "for url, name in zip(sys.argv[2:], ('first', 'second')):\n"
            "    Mailer(Settings(state=Path(sys.argv[1]), smtp_url=url)).send(['a@example.org'], name, 't', '<p>')\n"
        )
        url = f"smtp://127.0.0.1:{port}?tls=none"
        process = subprocess.Popen([sys.executable, "-c", code, str(state), url, stuck])
        try:
            silent.settimeout(60)
            line, _ = silent.accept()
        finally:
            process.kill()
            process.wait()
        line.close()
        assert [message["Subject"] for _, message in box.received] == ["first"]
        (sent,) = Mailer(Settings(state=state, smtp_url=url)).retry()
    assert sent.delivered == ("a@example.org",)
    assert [message["Subject"] for _, message in box.received] == ["first", "second"]


def test_a_server_that_never_speaks_is_given_up(tmp_path: Path) -> None:
    """It accepts the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = Settings(state=tmp_path, smtp_url=f"smtp://127.0.0.1:{silent.getsockname()[1]}?tls=none")
        sent = Mailer(where, timeout_s=0.2, waits_s=()).send(["a@example.org"], "s", "t", "<p>")
    assert "timed out" in sent.refused["a@example.org"]
    assert sent.outbox is not None


def test_without_a_server_mails_go_to_the_outbox(tmp_path: Path) -> None:
    """With or without recipients, so that a first try shows what teams would get; whole files only."""
    post, _ = mailer(tmp_path)
    sent = post.send([], "Drift", "t", "<p>")
    assert sent.reason == "no mail server is configured (TILTYARD_SMTP_URL)"
    assert kept(sent)["To"] == "undisclosed-recipients:;"
    assert kept(post.send(["a@example.org"], "Drift", "t", "<p>"))["To"] == "a@example.org"
    assert [path.suffix for path in (tmp_path / "outbox").iterdir()] == [".eml", ".eml"]


def test_a_mail_to_nobody_is_not_sent(tmp_path: Path) -> None:
    """A server is configured, and this model has no recipients."""
    post, _ = mailer(tmp_path, "smtp://127.0.0.1:1?tls=none")
    assert post.send([], "Drift", "t", "<p>") == Sent(reason="nobody is to get it (mail.recipients)")


def test_an_outbox_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The flow goes on; the report is still in its folder."""
    (tmp_path / "outbox").write_text("a file where the folder should be")
    sent = mailer(tmp_path)[0].send(["a@example.org"], "Drift", "t", "<p>")
    assert sent.outbox is None
    assert "could not be kept" in sent.sentence


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_no_text_makes_a_header_of_its_own(subject: str, name: str, recipient: str) -> None:
    """Whatever stands in a subject, a file name or an address: the headers are ours alone."""
    post = Mailer(Settings(mail_from="tilt@example.org"))
    message = post._message(["a@example.org"], subject, subject, subject, [File(name, "text/x", b"")], [PICTURE])
    read = message_from_bytes(message.as_bytes(), policy=policy.default)
    assert {key.lower() for key in read} <= {
        *("from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type")
    }
    assert read["To"] == "a@example.org"


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x0b", "\x85", "\u2028", "\x00"])
def test_a_hostile_subject_stays_one_line(tmp_path: Path, end: str) -> None:
    """And a hostile recipient is refused, also in the outbox's headers."""
    subject = f"Drift{end}Bcc: victim@example.org{end}{end}body"
    sent = mailer(tmp_path)[0].send([f"a@example.org{end}Bcc: v@example.org"], subject, "t", "<p>")
    message = kept(sent)
    assert message["Bcc"] is None
    assert message["Subject"] == "Drift Bcc: victim@example.org body"
    assert message["X-Tiltyard-Undelivered"] == "a@example.org Bcc: v@example.org"


@pytest.mark.parametrize("sender", ["", "nobody", "a@b\nBcc: c@d", "a@b, c@d", "ü@example.org"])
def test_a_sender_that_is_no_address_is_refused_at_the_start(tmp_path: Path, sender: str) -> None:
    """Not at the first alarm."""
    with pytest.raises(ConfigError, match="TILTYARD_MAIL_FROM"):
        Mailer(Settings(state=tmp_path, mail_from=sender))


@pytest.mark.parametrize("sender", ["tilt@host", "<tilt@host>", "Tilt Yard <tilt@host>", '"Tilt Yard" <tilt@host>'])
def test_a_sender_may_have_a_name(tmp_path: Path, sender: str) -> None:
    """Quoted or not."""
    address = Mailer(Settings(state=tmp_path, mail_from=sender)).sender
    assert address.addr_spec == "tilt@host"
    assert address.display_name == ("Tilt Yard" if "Tilt" in sender else "")
