"""The labelling queue in a real browser: what a person is shown, by key, and what then lies in the stream."""

import json
from collections.abc import Iterator

import pytest
import redis
from playwright.sync_api import Browser, Locator, Page

from contracts import events
from contracts.config import parse
from contracts.events import Feedback, Prediction, Shadow
from contracts.releases import Board, Releases
from contracts.settings import Settings
from contracts.streams import Streams
from tests.serving.harness import Server, until
from tests.serving.harness import serving as running
from tests.serving.test_disagreements import NO, YES, ask

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PHONE = 390
MANY = [f"kind {i}" for i in range(30)]
KINDS = (
    '[models.kinds]\nfeatures = {a = "float"}\nlearners.linear = {algorithm = "linear"}\n'
    f'label = {{task = "multiclass", classes = {json.dumps(MANY)}}}\n'
)


@pytest.fixture
def kept(client: redis.Redis, server: Server) -> Streams:
    """Of a model with one challenger."""
    Releases(client, "fruit").set_board(Board(1, (2,)))
    return Streams(client, "fruit")


@pytest.fixture(params=[1280])
def page(browser: Browser, server: Server, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A new person's page, not yet opened; fails where the browser complained or asked elsewhere."""
    context = browser.new_context(viewport={"width": request.param, "height": 844})
    opened, complaints, asked = context.new_page(), list[str](), list[str]()
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda sent: asked.append(sent.url))
    yield opened
    context.close()
    assert not complaints
    assert [url for url in asked if not url.startswith((f"http://127.0.0.1:{server.port}/", "data:"))] == []


def start(page: Page, server: Server, name: str = "Ada") -> Locator:
    """The open queue of a person who has typed their name."""
    page.goto(f"http://127.0.0.1:{server.port}/models/fruit/page")
    page.get_by_role("button", name="Label disagreements").click()
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    queue = page.get_by_role("dialog")
    queue.locator("#queue-choices button").first.wait_for()
    return queue


def labels(kept: Streams) -> list[Feedback]:
    return [events.decode(Feedback, fields) for _, fields in kept.follow("feedback", "0-0")]


def test_a_label_given_by_key_lies_in_the_stream(page: Page, server: Server, kept: Streams) -> None:
    """With the name that was typed once; each key is a class, in class order, and the next question follows."""
    older, newer = ask(kept, YES, NO, age_s=9, row=(0.25, 4.0)), ask(kept, YES, NO, age_s=3, row=(7.5, -1.0))
    queue = start(page, server)
    assert queue.locator("#queue-features").inner_text().split() == ["a", "7.5", "b", "-1"]
    assert "1 more here" in queue.locator("#queue-state").inner_text()
    page.keyboard.press("2")
    queue.get_by_text("0.25", exact=True).wait_for()
    page.keyboard.press("1")
    queue.get_by_text("2 labelled").wait_for()
    assert [(one.prediction_id, one.label, one.reporter) for one in labels(kept)] == [
        (newer, "true", "Ada"), (older, "false", "Ada"),
    ]  # fmt: skip


def test_who_said_what_is_told_only_afterwards(page: Page, server: Server, kept: Streams) -> None:
    """Both answers are marked alike before, and in class order; then one reads who was right."""
    ask(kept, YES, NO)
    queue = start(page, server)
    assert queue.locator(".answered").count() == 2
    assert [text.split()[1] for text in queue.locator("#queue-choices button").all_inner_texts()] == ["false", "true"]
    assert "champion" not in queue.inner_text()
    page.keyboard.press("2")
    told = queue.get_by_role("status")
    told.get_by_text("You said true.").wait_for()
    assert told.inner_text() == "You said true. v1, the champion, said true ✓; v2 said false ✗."


def test_nothing_is_labelled_without_a_name(page: Page, server: Server, kept: Streams) -> None:
    """It is asked for first, kept for the next time, and typing it presses no key of the queue."""
    ask(kept, YES, NO)
    page.goto(f"http://127.0.0.1:{server.port}/models/fruit/page")
    page.get_by_role("button", name="Label disagreements").click()
    choice = page.locator("#queue-choices button").first
    choice.wait_for()
    assert choice.is_disabled()
    page.keyboard.type("su1")
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    assert labels(kept) == []
    page.reload()
    page.get_by_role("button", name="Label disagreements").click()
    choice.wait_for()
    assert page.get_by_label("Your name").input_value() == "su1"
    page.keyboard.press("1")
    until(lambda: [one.reporter for one in labels(kept)] == ["su1"], 5)


def test_a_question_is_skipped_and_one_that_was_labelled_comes_back(page: Page, server: Server, kept: Streams) -> None:
    """`s` leaves it, `u` goes back; another answer is a correction, and counts."""
    ask(kept, YES, NO, age_s=9, row=(1.0, 0.0))
    newer = ask(kept, YES, NO, age_s=3, row=(2.0, 0.0))
    queue = start(page, server)
    page.keyboard.press("1")
    queue.get_by_text("1 labelled").wait_for()
    page.keyboard.press("s")
    queue.get_by_text("No disagreement waits").wait_for()
    page.keyboard.press("u")
    page.keyboard.press("u")
    queue.get_by_text("You said false; another answer replaces it.").wait_for()
    page.keyboard.press("2")
    queue.get_by_text("It replaces an earlier label.").wait_for()
    assert [(one.prediction_id, one.label) for one in labels(kept)] == [(newer, "false"), (newer, "true")]


def test_what_is_asked_meanwhile_appears_by_itself(page: Page, server: Server, kept: Streams) -> None:
    """And one that has matured says that its label decides nothing."""
    ask(kept, YES, NO, age_s=700, row=(3.0, 0.0))
    queue = start(page, server)
    assert "It has matured" in queue.locator("#queue-counts").inner_text()
    page.keyboard.press("s")
    ask(kept, YES, NO, row=(44.0, 0.0))
    queue.get_by_text("44", exact=True).wait_for(timeout=8_000)
    assert "Counts as evidence for another 10 min" in queue.locator("#queue-counts").inner_text()


def test_a_label_that_is_not_taken_is_said_and_asked_for_again(browser: Browser, server: Server, kept: Streams) -> None:
    """As when its prediction has expired meanwhile; with the reason that the server gives."""
    id_ = ask(kept, YES, NO)
    opened = browser.new_page()  # not the fixture's: this browser has reason to complain
    queue = start(opened, server)
    kept.client.xdel(kept.key("predictions"), id_)
    opened.keyboard.press("1")
    queue.get_by_text("The label was not taken").wait_for()
    assert "is no prediction of fruit" in queue.get_by_role("status").inner_text()
    assert queue.locator("#queue-features").inner_text().split()[0] == "a"
    opened.close()


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_the_queue_fits_a_phone(page: Page, server: Server, kept: Streams) -> None:
    """And is answered by touch."""
    ask(kept, YES, NO)
    queue = start(page, server)
    width, window = page.evaluate("[document.getElementById('queue').scrollWidth, innerWidth]")
    assert width <= window
    queue.get_by_role("button", name="true").click()
    until(lambda: [one.label for one in labels(kept)] == ["true"], 5)


def test_among_many_classes_the_answered_ones_come_first_and_others_are_found_by_name(
    browser: Browser, where: Settings, client: redis.Redis
) -> None:
    """Keys are those of the first nine; `/` finds the rest, and Enter takes what was found."""
    where.config.write_text(KINDS)
    schema = parse(KINDS).models["kinds"].schema
    kept = Streams(client, "kinds")
    Releases(client, "kinds").set_board(Board(1, (2,)))
    for i in (1, 2):
        scores = [tuple(float(k == answer) for k in range(30)) for answer in (20, 7)]
        id_ = kept.append(Prediction(1, 0, scores[0], (float(i),), schema.fingerprint))
        kept.append_shadows([(id_, Shadow({2: (0, scores[1])}))])
    with running(where, ready=False) as server:
        opened = browser.new_page()
        opened.goto(f"http://127.0.0.1:{server.port}/models/kinds/page")
        opened.get_by_role("button", name="Label disagreements").click()
        opened.get_by_label("Your name").fill("Ada")
        opened.keyboard.press("Enter")
        choices = opened.locator("#queue-choices button")
        choices.first.wait_for()
        assert [text.split("\n")[0] for text in choices.all_inner_texts()[:3]] == ["1 kind 7", "2 kind 20", "3 kind 0"]
        opened.keyboard.press("2")
        opened.get_by_text("1 labelled").wait_for()
        opened.keyboard.press("/")
        opened.keyboard.type("kind 29")
        opened.keyboard.press("Enter")
        opened.get_by_text("2 labelled").wait_for()
        opened.close()
    assert [one.label for one in labels(kept)] == ["kind 20", "kind 29"]
