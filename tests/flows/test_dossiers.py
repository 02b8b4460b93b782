"""What is kept and mailed of each decision, and that it happens once."""

import email
import re
import time
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path

import pytest

from drift import shelf
from flows import dossiers
from tests.flows.gate_scene import Scene


def keep(scene: Scene) -> list[str]:
    return [path.name for path in dossiers.keep(scene.place, scene.place.learn_facts(), time.time())]


def page(scene: Scene, name: str) -> str:
    return (scene.place.settings.dossier_folder / scene.place.name / name).read_text()


def mails(scene: Scene) -> list[EmailMessage]:
    found = sorted(scene.place.settings.outbox_folder.glob("*.eml"))
    return [email.message_from_bytes(path.read_bytes(), policy=default) for path in found]


def test_each_decision_gets_a_page_and_a_mail_once(scene: Scene) -> None:
    """A promotion and a challenger that is worse; looking again, or keeping again, writes nothing more."""
    scene.look(v2=(90, 20), v3=(10, 90))
    (promoted,) = scene.lines("promoted")
    (worse,) = (line for line in scene.lines("verdict") if line.numbers["decision"] == "retire")
    names = [f"{line.seq:06}-{line.kind}-version-{line.version}.html" for line in (worse, promoted)]
    assert keep(scene) == names
    assert keep(scene) == []
    assert promoted.reason in page(scene, names[1])
    first, second = sorted(mails(scene), key=lambda mail: str(mail["Subject"]))
    assert first["Subject"].endswith("Version 2 (constant) answers instead of version 1 (constant)")
    assert second["Subject"].endswith("Version 3 (constant) is worse than version 1 (constant)")
    assert promoted.reason in first.get_body(("plain",)).get_content()
    link = f"{scene.place.settings.serving_url}/dossiers/{scene.place.name}/{names[1]}"
    assert f"With its chart: {link}" in first.get_body(("plain",)).get_content().replace("=\n", "")
    assert f'href="{link}"' in first.get_body(("html",)).get_content()
    (attached,) = first.iter_attachments()
    assert attached.get_content() == page(scene, names[1]).replace("\r\n", "\n")


def test_a_page_needs_nothing_but_itself(scene: Scene) -> None:
    """No script, and nothing to fetch."""
    scene.look(v2=(90, 20))
    (name,) = keep(scene)
    tags: list[str] = []

    class Seen(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.extend([tag, *(attribute for attribute, _ in attrs)])

    Seen().feed(page(scene, name))
    assert not {"script", "link", "img", "iframe", "src", "href"} & set(tags)
    assert not re.search(r"https?:|url\(|@import", page(scene, name))


def test_what_disk_or_mail_refuse_is_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decision stands all the same, and the run does not fail."""

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    scene.look(v2=(90, 20))
    with monkeypatch.context() as patch:
        patch.setattr(shelf, "write", full)
        assert keep(scene) == []
    assert len(keep(scene)) == 1


def test_mails_of_decisions_can_be_switched_off(scene: Scene) -> None:
    """The page is kept all the same."""
    quiet = scene.ruled(f"[models.{scene.place.name}.mail]\ndecisions = false\n")
    quiet.look(v2=(90, 20))
    assert len(keep(quiet)) == 1
    assert mails(quiet) == []


def test_what_happened_long_ago_is_kept_and_not_mailed(scene: Scene) -> None:
    """As after an update to a version that writes dossiers."""
    scene.look(v2=(90, 20))
    assert len(dossiers.keep(scene.place, scene.place.learn_facts(), time.time() + 2 * 86_400)) == 1
    assert mails(scene) == []


def test_what_a_person_did_has_a_page_too(scene: Scene) -> None:
    """With the reason and the name, and without evidence that nobody asked for."""
    scene.place.roles.retire(3, "It costs too much.", cause="ann")
    (name,) = keep(scene)
    assert "It costs too much." in page(scene, name)
    assert "ann did it; no comparison decided this." in page(scene, name)


def test_a_request_carries_its_dossier(asking: Scene) -> None:
    """With the whole comparison, and how to say yes or no; mailed, since somebody is to come and answer."""
    (name,) = keep(asking)
    (asked,) = asking.lines("asked")
    assert name == f"{asked.seq:06}-asked-version-2.html"
    told, model = page(asking, name), asking.place.name
    assert asked.reason in told
    assert "Evidence: log10 E = " in told
    assert f"`tiltyard refuse 2 --model {model} --reason TEXT`" in told
    (mail,) = mails(asking)
    assert mail["Subject"].endswith(
        "Version 2 (constant) has won against version 1 (constant) and asks a person to let it answer"
    )
