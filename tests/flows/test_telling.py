"""What people are told of a model's drift, from the facts that the watch makes known to their mailboxes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from contracts.alarm_facts import AlarmFacts, Severity
from contracts.config import parse
from contracts.facts import DriftFacts
from contracts.settings import Settings
from drift.letter import Letter
from drift.mail import File
from flows import telling
from flows.place import Place, open_place
from tests.drift.mailroom import Mailbox, served
from tests.flows.world import CONFIG

NOW = 1_763_812_800.0
MOVED = "1 of 1 columns moved: x (0.31 against 0.10)"
COLUMNS = {"x": [float(n) for n in range(100)], "c": ["a", None] * 50}


@dataclass
class Team:
    """A model with its mail rules, a mail server, and the clock of the watch's looks."""

    box: Mailbox
    folder: Path
    client: redis.Redis
    port: int
    looks: int = 0

    def place(self, rules: str = 'recipients = ["team@x"]') -> Place:
        url = f"smtp://127.0.0.1:{self.port}?tls=none"
        settings = Settings(state=self.folder, smtp_url=url, mlflow_url=f"sqlite:///{self.folder}/mlflow.db")
        text = f"{CONFIG}\n[models.m.mail]\n{rules}\n"
        return open_place("m", parse(text).model("m"), settings, self.client)

    def look(self, place: Place, alarm: bool = False, judged: Severity | None = None, new: bool = True) -> list[str]:
        """One run of the watch every ten minutes: the subjects of what it mailed."""
        self.looks += new
        now = NOW + self.looks * 600
        place.streams.set_fact("watch", facts(now, alarm))
        if judged is not None:
            said = f"The measured loss is {'as usual' if judged in ('none', 'info') else '0.35'}"
            place.streams.set_fact("alarm", AlarmFacts(at=now, version=1, severity=judged, sentence=said, budget=1.0))
        before = len(self.box.received)
        telling.tell(place, now)
        return [message["Subject"].strip().removeprefix("[Tiltyard] m: ") for _, message in self.box.received[before:]]


def facts(at: float, alarm: bool) -> DriftFacts:
    moved = {"x": 0.31 if alarm else 0.01}
    return DriftFacts(
        at=at, report=f"{at:.0f}.html", alarm=alarm, share=float(alarm), columns=moved, drifted=("x",) if alarm else (),
        sentence=MOVED if alarm else "0 of 1 columns moved", reference_rows=5000, current_rows=1000,
        thresholds={"x": 0.1}, methods={"x": "Wasserstein distance"},
    )  # fmt: skip


@pytest.fixture
def team(client: redis.Redis, tmp_path: Path) -> Iterator[Team]:
    box = Mailbox()
    with served(box) as port:
        yield Team(box, tmp_path, client, port)


def test_an_alarm_that_stands_for_a_day_is_two_mails(team: Team) -> None:
    """By the report alone, where nobody judged: when it begins, and when two reports say that it is over."""
    place = team.place()
    told = [team.look(place, alarm=True) for _ in range(100)] + [team.look(place) for _ in range(5)]
    assert [mails for mails in told if mails] == [
        [f"drift alarm: {MOVED}"],
        ["drift alarm is over: 0 of 1 columns moved"],
    ]
    _, over = team.box.received
    assert "It began on 2025-11-22 12:10 UTC." in over[1].get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_each_reader_hears_from_their_severity_on(team: Team) -> None:
    """Inputs that drift, then a loss that moves, then calm: who wants alarms alone hears nothing else."""
    place = team.place('to = {info = ["i@x"], warning = ["w@x"], alarm = ["a@x"]}')
    course: list[Severity] = ["info", "alarm", "info", "info", "none", "none"]
    told = [team.look(place, alarm=one != "none", judged=one) for one in course]
    assert [mails for mails in told if mails] == [
        [f"drift of inputs: {MOVED}"],
        ["drift alarm, was drift of inputs: The measured loss is 0.35"],
        ["drift alarm eased to drift of inputs: The measured loss is as usual"],
        ["drift of inputs is over: 0 of 1 columns moved"],
    ]
    readers = [recipients for recipients, _ in team.box.received]
    assert readers == [["i@x"], ["i@x", "w@x", "a@x"], ["i@x", "w@x", "a@x"], ["i@x"]]


def test_inputs_are_told_of_before_any_champion_is_watched(team: Team) -> None:
    """Who judges losses has nothing to say yet."""
    assert team.look(team.place(), alarm=True, judged="none") == [f"drift of inputs: {MOVED}"]


def test_an_alarm_without_any_report_is_told(team: Team) -> None:
    """Labels may say what too few rows cannot."""
    place = team.place()
    place.streams.set_fact(
        "alarm", AlarmFacts(at=NOW, version=1, severity="warning", sentence="A detector fired", budget=1.0)
    )
    telling.tell(place, NOW)
    ((_, message),) = team.box.received
    assert message["Subject"] == "[Tiltyard] m: drift warning: A detector fired"


def test_all_reports_go_to_who_wants_them_all_each_once(team: Team) -> None:
    """Also while nothing is news; a look that made no new report tells of none."""
    place = team.place('recipients = ["team@x"]\nwhen = "always"')
    assert team.look(place) == ["drift report: 0 of 1 columns moved"]
    assert team.look(place, new=False) == []
    assert team.look(place, alarm=True) == [f"drift alarm: {MOVED}"]
    assert team.look(place, alarm=True) == [f"drift alarm: {MOVED}"]


def test_a_run_that_was_killed_before_it_noted_what_it_told_tells_nothing_twice(team: Team) -> None:
    """The same message has the same name, however often it is said."""
    place = team.place()
    standing = team.folder / "outbox" / "m" / "standing.json"
    team.look(place)
    before = standing.read_bytes()
    assert len(team.look(place, alarm=True)) == 1
    standing.write_bytes(before)
    assert team.look(place, alarm=True) == []
    assert team.look(place, alarm=True) == []


def test_the_mail_shows_what_moved_and_has_the_report_where_it_is_small_enough(team: Team) -> None:
    """The picture of the newest report inline, the report attached or only linked; pictures go with their reports."""
    place = team.place('recipients = ["team@x"]\nattach_mb = 0.001')
    reports = place.settings.report_folder / "m"
    reports.mkdir(parents=True)
    (reports / "gone.png").write_bytes(b"")
    for n, size in ((1, 100), (2, 10_000)):
        now = facts(NOW + n * 600, alarm=True)
        (reports / now.report).write_text("r" * size)
        telling.keep_picture(place, now, COLUMNS, COLUMNS)
        team.look(place, alarm=True)
        (team.folder / "outbox" / "m" / "standing.json").unlink()  # so that the second is news as well
        (team.folder / "outbox" / "m" / "told.json").unlink()
    assert sorted(path.suffix for path in reports.iterdir()) == [".html", ".html", ".png", ".png"]
    small, large = (message for _, message in team.box.received)
    for message in (small, large):
        (shown,) = (part for part in message.walk() if part.get_content_type() == "image/png")
        page = message.get_body(("html",))
        assert page is not None
        assert f'src="cid:{shown["Content-ID"].strip("<>")}"' in page.get_content()
        assert shown.get_content().startswith(b"\x89PNG")
        assert "/reports/m/" in page.get_content()
    assert [part.get_content_type() for part in small.iter_attachments()] == ["text/html"]
    assert list(large.iter_attachments()) == []


def test_decisions_go_to_who_wants_them_and_wait_for_the_digest(team: Team) -> None:
    """With drift in one mail, at the hour; each once."""
    place = team.place('recipients = ["team@x"]\nto = {decisions = ["boss@x"]}\ndigest = "daily"')
    letter, page = (
        Letter("[Tiltyard] m: Version 2 answers", "t\n", "<body>won</body>"),
        File("d.html", "text/html", b"d"),
    )
    for _ in range(2):
        telling.tell_decision(place, "decision-7", letter, {}, page, {})
        telling.send(place)
    assert team.box.received == []
    (waiting,) = (team.folder / "outbox" / "m").glob("*.waiting")
    kept: dict[str, Any] = msgspec.json.decode(waiting.read_bytes())
    assert kept["to"] == ["team@x", "boss@x"]


def test_a_disk_that_is_full_stops_no_watch(team: Team) -> None:
    """It is logged, and told once there is room."""
    place = team.place()
    (team.folder / "outbox").write_text("a file where the folder should be")
    assert team.look(place, alarm=True) == []
    (team.folder / "outbox").unlink()
    assert team.look(place, alarm=True) == [f"drift alarm: {MOVED}"]
