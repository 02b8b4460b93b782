"""A request answered in a real browser: what is typed, pressed and then shown. Needs Chromium."""

import time
from collections.abc import Iterator

import pytest
import redis
from playwright.sync_api import Browser, Locator, Page

from contracts import approvals
from contracts.approvals import Approval
from contracts.facts import LearnerFacts, LearnFacts
from contracts.releases import Board, Releases
from contracts.streams import Streams
from tests.serving import scene
from tests.serving.harness import Server, until

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PHONE = 390
ASKED = 60


@pytest.fixture
def ledger(server: Server, client: redis.Redis) -> scene.Lines:
    """Of `fruit`, where version 2 has won and asks."""
    Releases(client, "fruit").set_board(Board(1, (2,)))
    lines = scene.Lines("fruit", client, seq=ASKED)
    lines.write(
        time.time(), "asked", 2, "Version 2 asks to answer instead of 1: 2.0 points fewer.", numbers={"over": 1}
    )
    return lines


@pytest.fixture
def kept(client: redis.Redis) -> Streams:
    return Streams(client, "fruit")


@pytest.fixture(params=[1280])
def page(browser: Browser, server: Server, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A new person's page, not yet opened; fails where the browser complained or asked elsewhere."""
    context = browser.new_context(viewport={"width": request.param, "height": 844}, color_scheme="dark")
    opened, complaints, asked = context.new_page(), list[str](), list[str]()
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda sent: asked.append(sent.url))
    yield opened
    context.close()
    assert not complaints
    assert [url for url in asked if not url.startswith((f"http://127.0.0.1:{server.port}/", "data:"))] == []


def opened(page: Page, server: Server) -> Locator:
    """The request on the page of all models."""
    page.goto(f"http://127.0.0.1:{server.port}/")
    request = page.get_by_role("group", name="Version 2 (?) waits for your answer")
    request.wait_for()
    return request


@pytest.mark.parametrize("page", [1280, PHONE], indirect=True)
def test_a_request_is_answered_by_keyboard_and_the_page_tells_what_came_of_it(
    page: Page, server: Server, kept: Streams, ledger: scene.Lines
) -> None:
    """Enter in a field answers nothing, Tab leads on; it lies on the stream, and the form gives way to the news."""
    request = opened(page, server)
    width, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= window
    request.get_by_label("Your name").focus()
    page.keyboard.type("Ada")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("Checked with the branch.")
    page.keyboard.press("Enter")
    assert approvals.given(kept) == {}
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    request.get_by_text("Taken. It is carried out within seconds.").wait_for()
    ((id_, said),) = approvals.given(kept).items()
    assert said == Approval(2, ASKED, "Ada", "Checked with the branch.")
    page.get_by_text("Ada let it answer at").wait_for()
    assert page.get_by_role("button", name="Let it answer").count() == 0
    Releases(kept.client, "fruit").set_board(Board(2, (1,), 1))
    ledger.write(time.time(), "approved", 2, "Version 2 may answer.", numbers={"asked": ASKED}, cause="Ada (page)")
    ledger.write(time.time(), "promoted", 2, "It has won.", Board(2, (1,), 1), cause="Ada (page)")
    approvals.done(kept, id_)
    page.get_by_text("Ada (page): Version 2 may answer.").wait_for()
    assert page.locator("[data-request]").count() == 0


@pytest.mark.usefixtures("ledger")
def test_a_refusal_needs_a_name_and_a_reason(page: Page, server: Server, kept: Streams) -> None:
    """The field that is missing is said and stood on; the name is there the next time."""
    request = opened(page, server)
    refuse = request.get_by_role("button", name="Refuse")
    refuse.click()
    request.get_by_text("Your name is needed, for the ledger.").wait_for()
    page.keyboard.type("Bob")
    refuse.click()
    request.get_by_text("A reason is needed, for the ledger.").wait_for()
    page.keyboard.type("Not before Christmas.")
    refuse.click()
    until(lambda: approvals.given(kept), 5)
    ((id_, said),) = approvals.given(kept).items()
    assert said == Approval(2, ASKED, "Bob", "Not before Christmas.", refuse=True)
    approvals.done(kept, id_)
    request = opened(page, server)
    request.get_by_label("Your name").focus()
    assert request.get_by_label("Your name").input_value() == "Bob"


def test_what_is_typed_survives_what_changes_around_it(
    page: Page, server: Server, ledger: scene.Lines, kept: Streams
) -> None:
    """Other news in the same part of the page, and a part that comes new."""
    request = opened(page, server)
    request.get_by_label("Your name").fill("Ada")
    request.get_by_label("Reason").fill("Half a reason")
    page.get_by_role("link", name="Tiltyard").focus()
    ledger.write(time.time(), "declined", 3, "Version 3 may not answer.", numbers={"asked": 3}, cause="Bob (page)")
    page.get_by_text("Bob (page): Version 3 may not answer.").wait_for()
    assert request.get_by_label("Your name").input_value() == "Ada"
    learner = LearnerFacts(learned=1, last_feedback_id="0-0", state_hash="")
    facts = LearnFacts(
        at=time.time(), last_feedback_id="0-0", feedback=0, joined=0, orphans=0, duplicates=0, corrections=0, late=0,
        uncovered=0, pending=0, matured=0, dead_letters=0, loss="zero_one", delay_s=None, learners={"linear": learner},
        versions=(), comparisons=(),
    )  # fmt: skip
    kept.set_fact("learn", facts)
    page.get_by_role("heading", name="Learners").wait_for()
    assert request.get_by_label("Reason").input_value() == "Half a reason"


def test_an_answer_that_is_not_taken_says_why(
    browser: Browser, server: Server, ledger: scene.Lines, kept: Streams
) -> None:
    """As when its verdict has changed since the page was looked at; another may then be tried."""
    page = browser.new_page()  # not the fixture's: this browser has reason to complain
    page.route("**/fragment*", lambda route: route.abort())
    request = opened(page, server)
    ledger.write(time.time(), "verdict", 2, "So far 1.0 points fewer.")
    request.get_by_label("Your name").fill("Ada")
    request.get_by_label("Reason").fill("Checked.")
    request.get_by_role("button", name="Let it answer").click()
    request.get_by_text("Not taken: version: version 2 does not ask any more").wait_for()
    assert request.get_by_role("button", name="Let it answer").is_enabled()
    assert approvals.given(kept) == {}
    page.close()
