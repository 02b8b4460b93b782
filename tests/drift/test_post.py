"""A model's post against a real mail server: who hears of what, when, together with what, and only once."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from contracts.alarm_facts import Severity
from contracts.mail_rules import Mail, To
from contracts.settings import Settings
from drift import shelf
from drift.letter import Letter
from drift.mail import File, Mailer
from drift.post import Post, audience, decision_audience
from tests.drift.mailroom import Mailbox, served

NOON = 1_763_812_800.0
HOUR = 3_600.0
WRITES = 5


def post(folder: Path, rules: Mail, port: int | None = None, now: float = NOON) -> Post:
    url = "" if port is None else f"smtp://127.0.0.1:{port}?tls=none"
    return Post(Mailer(Settings(state=folder, smtp_url=url), 5, (), clock=lambda: now), "shop", rules)


def add(to: Post, id_: str, people: Sequence[str] = ("a@x",), severity: Severity = "info", **more: Any) -> None:
    page = f"<html><body><p>Body of {id_}</p></body></html>"
    to.add(id_, severity, people, Letter(f"[Tiltyard] shop: about {id_}", f"Text of {id_}\n", page), {}, **more)


def got(box: Mailbox) -> list[tuple[list[str], str]]:
    return [(recipients, message["Subject"]) for recipients, message in box.received]


def test_each_severity_has_its_readers() -> None:
    """`recipients` hear of all, who is listed under a severity of it and of what is worse; nobody twice."""
    rules = Mail(recipients=("all@x",), to=To(info=("i@x",), warning=("w@x",), alarm=("a@x",), decisions=("d@x",)))
    assert audience(rules, "info") == ("all@x", "i@x")
    assert audience(rules, "warning") == ("all@x", "i@x", "w@x")
    assert audience(rules, "alarm") == ("all@x", "i@x", "w@x", "a@x")
    assert decision_audience(rules) == ("all@x", "d@x")
    assert decision_audience(Mail(recipients=("all@x",), decisions=False, to=To(decisions=("d@x",)))) == ("d@x",)


def test_messages_go_at_once_and_each_alone(tmp_path: Path) -> None:
    """Where nothing says otherwise."""
    box = Mailbox()
    with served(box) as port:
        letters = post(tmp_path, Mail(), port)
        add(letters, "one", ["a@x", "a@x", "b@x"])
        add(letters, "two")
        assert [sent.delivered for sent in letters.send_due()] == [("a@x", "b@x"), ("a@x",)]
    assert got(box) == [(["a@x", "b@x"], "[Tiltyard] shop: about one"), (["a@x"], "[Tiltyard] shop: about two")]


def test_a_message_said_again_is_sent_once(tmp_path: Path) -> None:
    """While it waits, and long after it went: a run that was killed says the same once more."""
    box = Mailbox()
    with served(box) as port:
        letters = post(tmp_path, Mail(), port)
        for _ in range(3):
            add(letters, "one")
            add(letters, "one")
            letters.send_due()
    assert len(box.received) == 1


def test_a_digest_is_one_mail_with_all_of_it(tmp_path: Path) -> None:
    """For each who gets other things another one; alarms go at once; pictures come along."""
    box, rules = Mailbox(), Mail(digest="hourly")
    with served(box) as port:
        morning = post(tmp_path, rules, port)
        add(morning, "one", ["a@x", "b@x"], images=[File("one.png", "image/png", b"1")])
        add(post(tmp_path, rules, now=NOON + 1), "two", ["a@x", "c@x"], images=[File("two.png", "image/png", b"2")])
        add(post(tmp_path, rules, now=NOON + 2), "three", ["a@x", "c@x"])
        add(morning, "fire", ["b@x"], "alarm")
        morning.send_due()
        assert got(box) == [(["b@x"], "[Tiltyard] shop: about fire")]
        post(tmp_path, rules, port, NOON + HOUR - 1).send_due()
        assert len(box.received) == 1
        post(tmp_path, rules, port, NOON + HOUR).send_due()
        post(tmp_path, rules, port, NOON + 2 * HOUR).send_due()
    digest = {tuple(recipients): message for recipients, message in box.received[1:]}
    assert {people: message["Subject"] for people, message in digest.items()} == {
        ("a@x",): "[Tiltyard] shop: 3 messages: about one; about two; about three",
        ("b@x",): "[Tiltyard] shop: about one",
        ("c@x",): "[Tiltyard] shop: 2 messages: about two; about three",
    }
    whole = digest[("a@x",)]
    text, page = (whole.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert page is not None
    for one in ("one", "two", "three"):
        assert f"Text of {one}" in text.get_content()
        assert f"Body of {one}" in page.get_content()
    assert page.get_content().count("<body") == 1
    assert [part["Content-ID"] for part in whole.walk() if part["Content-ID"]] == ["<one.png>", "<two.png>"]


def test_what_came_at_night_comes_in_the_morning_in_one_mail(tmp_path: Path) -> None:
    """Alarms wait only where they are told to."""
    box, rules = Mailbox(), Mail(quiet_hours="11:00-14:00", quiet_alarms="wait")
    with served(box) as port:
        add(post(tmp_path, rules, port), "one")
        add(post(tmp_path, rules, port, NOON + HOUR), "two", severity="alarm")
        post(tmp_path, rules, port, NOON + HOUR).send_due()
        assert box.received == []
        post(tmp_path, rules, port, NOON + 2 * HOUR).send_due()
    assert got(box) == [(["a@x"], "[Tiltyard] shop: 2 messages: about one; about two")]


def test_without_a_server_the_outbox_gets_it_also_for_nobody(tmp_path: Path) -> None:
    """So that a first try shows what teams would get."""
    letters = post(tmp_path, Mail())
    add(letters, "one", [])
    letters.send_due()
    (path,) = (tmp_path / "outbox").glob("*.eml")
    assert b"Text of one" in path.read_bytes()


def test_with_a_server_and_nobody_to_hear_it_nothing_is_sent_or_kept(tmp_path: Path) -> None:
    """And it is over with."""
    box = Mailbox()
    with served(box) as port:
        letters = post(tmp_path, Mail(), port)
        add(letters, "one", [])
        assert letters.send_due() == []
    assert (box.received, list((tmp_path / "outbox" / "shop").glob("one*"))) == ([], [])


def test_killed_at_any_write_everything_is_told_once(tmp_path: Path) -> None:
    """Processes that die at their n-th file, two mails with two groups of readers; the next ones go on."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from contracts.mail_rules import Mail\n"
        "from drift import shelf\n"
        "from tests.drift.test_post import HOUR, NOON, WRITES, add, post\n"
        "write, rules = shelf.write, Mail(digest='hourly')\n"
        "def dying(path, data):\n"
        "    global left\n"
        "    if not left: os._exit(9)\n"
        "    left -= 1\n"
        "    write(path, data)\n"
        "for left in range(WRITES):\n"
        "    folder = Path(sys.argv[1]) / str(left)\n"
        "    add(post(folder, rules), 'one', ['a@x', 'b@x'])\n"
        "    add(post(folder, rules), 'two', ['a@x'])\n"
        "    if not (child := os.fork()):\n"
        "        shelf.write = dying\n"
        "        post(folder, rules, int(sys.argv[2]), NOON + HOUR).send_due()\n"
        "        os._exit(0)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9\n"
    )
    box, rules = Mailbox(), Mail(digest="hourly")
    with served(box) as port:
        subprocess.run([sys.executable, "-c", code, str(tmp_path), str(port)], check=True)
        early = [message["Message-ID"] for _, message in box.received]
        for n in range(WRITES):
            again = post(tmp_path / str(n), rules, port, NOON + HOUR)
            add(again, "one", ["a@x", "b@x"])
            again.send_due()
            post(tmp_path / str(n), rules, port, NOON + 2 * HOUR).send_due()
    told = Counter((to, message["Subject"].count("about")) for people, message in box.received for to in people)
    twice = len(box.received) - len({message["Message-ID"] for _, message in box.received})
    assert set(told) == {("a@x", 2), ("b@x", 1)}
    # Only what the server had taken in when the process died, before that was noted, may come again.
    assert sum(told.values()) == 2 * WRITES + twice
    assert twice <= len(early)


def test_a_disk_that_is_full_keeps_the_message_for_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing raises, and nothing is lost that had been taken."""

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    box = Mailbox()
    with served(box) as port:
        letters = post(tmp_path, Mail(), port)
        add(letters, "one")
        with monkeypatch.context() as patch:
            patch.setattr(shelf, "write", full)
            assert letters.send_due() == []
        letters.send_due()
    assert len(box.received) == 1
    assert os.listdir(tmp_path / "outbox") == ["shop"]
