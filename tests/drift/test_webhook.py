"""Messages to a web server: posted as JSON, tried again, never somewhere else, and its address told to nobody."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from contracts.mail_rules import Mail
from contracts.settings import Settings
from drift import webhook
from drift.letter import Letter
from drift.mail import Mailer
from drift.post import Post
from tests.conftest import free_port


@dataclass
class Room:
    """A web server that takes what is posted; answers are used up in order, then all is taken."""

    answers: list[int] = field(default_factory=list)
    posted: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    moved_to: str = ""
    slow_s: float = 0.0


@contextmanager
def serving(room: Room) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            room.posted.append((self.path, dict(self.headers), json.loads(body)))
            time.sleep(room.slow_s)
            self.send_response(room.answers.pop(0) if room.answers else 204)
            if room.moved_to:
                self.send_header("Location", room.moved_to)
            self.end_headers()

        def do_GET(self) -> None:
            room.posted.append(("GET", {}, None))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hooks/s3cret"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def post(folder: Path, where: str, now: float = 0.0) -> Post:
    return Post(Mailer(Settings(state=folder), clock=lambda: now, timeout_s=2), "shop", Mail(webhook=where))


def test_a_message_is_posted_as_json_beside_the_mail(tmp_path: Path) -> None:
    """With a sentence that chat rooms show, under a key that is the same for each attempt."""
    room = Room()
    with serving(room) as url:
        to = post(tmp_path, url)
        for _ in range(2):
            to.add("one", "alarm", [], Letter("It moved", "t", "<p>"), {"kind": "drift", "news": "begins"})
            to.send_due()
    ((path, headers, body),) = room.posted
    assert (path, headers["Content-Type"], headers["Idempotency-Key"]) == (
        "/hooks/s3cret", "application/json", "shop/one",
    )  # fmt: skip
    expected = {"id": "one", "model": "shop", "severity": "alarm", "at": 0.0, "text": "It moved"}
    assert body == {**expected, "kind": "drift", "news": "begins"}


def test_what_was_not_taken_is_posted_again_by_a_later_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """503 waits a minute, 400 is final; the logs name the host and nothing of the path."""
    caplog.set_level(logging.INFO)
    room = Room(answers=[503, 200, 400])
    with serving(room) as url:
        post(tmp_path, url).add("one", "info", [], Letter("s", "t", "<p>"), {})
        for now in (0.0, 59.0, 60.0, 999.0):
            post(tmp_path, url, now).send_due()
        assert len(room.posted) == 2
        post(tmp_path, url).add("two", "info", [], Letter("s", "t", "<p>"), {})
        for now in (0.0, 999.0):
            post(tmp_path, url, now).send_due()
    assert len(room.posted) == 3
    assert "503" in caplog.text
    assert "given up: 127.0.0.1: 400" in caplog.text
    assert "s3cret" not in caplog.text
    assert list((tmp_path / "outbox" / "shop").glob("*.hook")) == []


@pytest.mark.parametrize("code", [301, 302, 307, 308])
@pytest.mark.parametrize("scheme", ["file:///etc/passwd", "http://127.0.0.1:{port}/elsewhere", "ftp://127.0.0.1/x"])
def test_an_address_elsewhere_is_not_followed(code: int, scheme: str) -> None:
    """Neither to a file nor to another server: what is posted is for the address that was configured."""
    room = Room(answers=[code])
    with serving(room) as url:
        room.moved_to = scheme.format(port=url.split(":")[2].split("/")[0])
        refusal = webhook.post(url, b"{}", "k")
    assert refusal is not None
    assert (refusal.temporary, "not followed" in refusal.reason) == (False, True)
    assert len(room.posted) == 1


@pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://h/x", "env:NOT_SET", "data:,x", "https://"])
def test_only_the_web_is_posted_to(where: str) -> None:
    """Whatever a variable holds."""
    refusal = webhook.post(where, b"{}", "k")
    assert refusal is not None
    assert not refusal.temporary


def test_a_secret_address_may_stand_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it need not stand in a file."""
    room = Room()
    with serving(room) as url:
        monkeypatch.setenv("SHOP_HOOK", url)
        assert webhook.post("env:SHOP_HOOK", b"{}", "k") is None
    assert len(room.posted) == 1


def test_nobody_there_or_too_slow_is_for_later() -> None:
    """In bounded time, telling the host alone."""
    refusal = webhook.post(f"http://127.0.0.1:{free_port()}/s3cret", b"{}", "k")
    assert refusal is not None
    assert (refusal.temporary, "s3cret" in refusal.reason) == (True, False)
    room = Room(slow_s=0.5)
    with serving(room) as url:
        slow = webhook.post(url, b"{}", "k", timeout_s=0.1)
    assert slow is not None
    assert (slow.temporary, "timed out" in slow.reason) == (True, True)
