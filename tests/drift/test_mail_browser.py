"""The mail as people see it: rendered by a real browser, light and dark, wide and narrow."""

import io
import os
import random
import shutil
from base64 import b64encode
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from contracts.schema import Feature, Label, Schema, Value
from contracts.settings import Settings
from drift import picture
from drift.letter import compose, together
from drift.mail import File, Mailer
from tests.drift.mailroom import Mailbox, served
from tests.drift.test_letter import facts, story

pytestmark = pytest.mark.browser
NAMES = ("price", "a_column_with_a_very_long_name_that_nobody_would_ever_want_to_read_in_a_mail", "kind", "size")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; where CI is set it must be there."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=program, args=flags) as launched:
        yield launched


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> EmailMessage:
    """A digest of an alarm with its picture and a decision, as a server received it."""
    draw = random.Random(1)
    columns: list[dict[str, list[Value]]] = [
        {
            "price": [draw.lognormvariate(3 + up, 0.5) for _ in range(500)],
            NAMES[1]: [draw.gauss(up, 1) for _ in range(500)],
            "kind": [draw.choice("abc" if up else "cde") for _ in range(500)],
            "size": [draw.randrange(9) for _ in range(500)],
        }
        for up in (0, 1)
    ]
    schema = Schema(
        tuple(Feature(name, "category" if name == "kind" else "float") for name in NAMES), Label("regression")
    )
    drawn = picture.draw(*columns, schema, NAMES)
    report = facts(dict(zip(NAMES, (0.31, 0.22, 0.18, 0.01), strict=True)))
    links = {"Report": "http://127.0.0.1:8000/reports/shop/20251122T082640.000000Z.html"}
    about = story(
        "The loss rose from 0.21 to 0.35, and price moved", since=1_763_700_000.0, news="stands", before="alarm"
    )
    letter = together(
        "shop", [compose("shop", about, report, links, "moved.png"), compose("shop", story(), None, links)]
    )
    box = Mailbox()
    with served(box) as port:
        settings = Settings(state=tmp_path_factory.mktemp("mail"), smtp_url=f"smtp://127.0.0.1:{port}?tls=none")
        images = [File("moved.png", "image/png", drawn)]
        Mailer(settings).send(["a@example.org"], letter.subject, letter.text, letter.html, images=images)
    ((_, message),) = box.received
    return message


def shown(mail: EmailMessage) -> str:
    """Its page, with what it shows by cid put in, as a mail program does."""
    body = mail.get_body(("html",))
    assert body is not None
    page = str(body.get_content())
    for part in mail.walk():
        if part["Content-ID"]:
            address = f"data:{part.get_content_type()};base64,{b64encode(part.get_content()).decode()}"
            page = page.replace(f"cid:{part['Content-ID'].strip('<>')}", address)
    assert "cid:" not in page
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 800])
def test_the_mail_is_readable_wherever_it_is_opened(
    browser: Browser, mail: EmailMessage, width: int, scheme: str, tmp_path: Path
) -> None:
    """Nothing is cut off at the side, the picture is there, and text stands out from its ground."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]  # one of its literals
    try:
        page.set_content(shown(mail))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.images.length") == 1
        rows = page.evaluate("[...document.querySelectorAll('tr')].map(row => row.getBoundingClientRect().height)")
        assert max(rows) < 220  # no column is squeezed to a letter's width
        assert page.evaluate("document.images[0].naturalWidth") == 1280
        assert page.evaluate("document.images[0].getBoundingClientRect().width") > 0.8 * min(width, 640)
        colour = page.evaluate("getComputedStyle(document.querySelector('h1')).color")
        data = page.screenshot(full_page=True)
    finally:
        page.close()
    Path(os.environ.get("MAIL_PICTURES", tmp_path), f"mail-{scheme}-{width}.png").write_bytes(data)
    ground = sum(Image.open(io.BytesIO(data)).convert("RGB").getpixel((2, 2)))  # type: ignore[arg-type]  # of RGB, a tuple
    ink = sum(int(part) for part in colour[4:-1].split(","))
    assert abs(ink - ground) > 500
    assert (ground < 100) == (scheme == "dark")


def test_the_page_of_a_mail_fetches_and_runs_nothing(browser: Browser, mail: EmailMessage) -> None:
    """What a mail program would drop, or ask about, is not there."""
    page = browser.new_page()
    asked: list[str] = []
    try:
        page.on("request", lambda request: asked.append(request.url))
        page.set_content(shown(mail))
        page.wait_for_load_state("networkidle")
        assert page.locator("script, link, iframe, form, style").count() == 0
    finally:
        page.close()
    assert [url for url in asked if not url.startswith("data:")] == []
