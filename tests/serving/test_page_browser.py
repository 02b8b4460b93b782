"""The page in a real browser: what it shows, what it asks for, and how it keeps up. Needs Chromium."""

from collections.abc import Iterator

import msgspec
import pytest
import redis
from playwright.sync_api import Browser, Locator, Page

from contracts.facts import LearnFacts
from contracts.streams import Streams
from tests.serving import scene
from tests.serving.harness import Server, until

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PHONE = 390


@pytest.fixture
def address(redis_url: str) -> Iterator[str]:
    with scene.serving(redis_url) as url:
        yield url


@pytest.fixture
def facts(client: redis.Redis) -> LearnFacts:
    return scene.play(client)


@pytest.fixture(params=[1280, 900, PHONE])
def page(browser: Browser, address: str, facts: LearnFacts, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page open in a wide, a middling and a narrow window; fails where the browser complained or asked around."""
    context = browser.new_context(viewport={"width": request.param, "height": 844})
    opened, complaints, asked = context.new_page(), list[str](), list[str]()
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda sent: asked.append(sent.url))
    opened.goto(address)
    yield opened
    context.close()
    assert not complaints
    assert [url for url in asked if not url.startswith((f"{address}/", "data:"))] == []


def test_figures_on_the_screen_equal_the_facts(page: Page, facts: LearnFacts) -> None:
    """Not only in the source: visible, in the part of the page where they belong."""
    table = page.locator(".versions tbody tr")
    assert table.count() == len(facts.versions)
    for version in facts.versions:
        row = table.filter(has_text=f"v{version.version} " if version.version else "prior").inner_text()
        assert f"{100 * version.loss:.1f} %" in row
        assert f"{version.n:,}" in row
    for one in facts.comparisons:
        told = page.locator(".challenger").filter(has_text=f"v{one.challenger} {one.learner}").inner_text()
        assert one.reason in told
        assert f"{one.wins:,} times, the champion {one.losses:,}." in told


def test_learners_on_the_screen_equal_the_facts(page: Page, facts: LearnFacts) -> None:
    """What each has learned, how far it is behind, and, once opened, what it costs."""
    page.locator("summary", has_text="What learning costs").click()
    standings, costs = page.locator(".learners .standings").first, page.locator(".learners .costs")
    for name, one in facts.learners.items():
        told = standings.locator("tbody tr").filter(has_text=name).inner_text()
        assert f"{one.learned:,}" in told
        assert f"{facts.examples - one.position:,}" in told
        assert "revision 8,950" in told
        cost = costs.locator("tbody tr").filter(has_text=name).inner_text()
        assert f"{one.memory_mb:,.0f} of 2,048 MiB" in cost
        assert f"{one.amendments} of {facts.amendments}" in cost


def test_the_bars_of_the_delays_are_as_high_as_the_facts_say(page: Page, facts: LearnFacts) -> None:
    """Measured on the screen: the highest is the most common delay, half as many labels are half as high."""
    bars = page.locator(".delays .bar")
    counts = [labels for _, _, labels in facts.delays if labels]
    boxes = [bars.nth(i).bounding_box() for i in range(bars.count())]
    heights = [box["height"] for box in boxes if box is not None]
    assert len(heights) == len(counts)
    for labels, height in zip(counts, heights, strict=True):
        if labels >= 20:  # a lone label is drawn one pixel high, so that it can be seen
            assert height / max(heights) == pytest.approx(labels / max(counts), abs=0.02)


def test_nothing_is_wider_than_the_window(page: Page) -> None:
    """No sideways scrolling, on a phone either."""
    width, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= window


def test_charts_can_be_read_without_seeing_them(page: Page, facts: LearnFacts) -> None:
    """One loss chart is visible at each width, and each chart has a name that tells its figures."""
    assert page.get_by_role("img", name="Mistakes over time").count() == 1
    for one in facts.comparisons:
        name = f"Evidence for version {one.challenger} ({one.learner}) against version 3"
        drawn = page.get_by_role("img", name=name)
        assert f"Now {one.log_e / 2.302585092994046:.2f};" in (drawn.locator("> title").text_content() or "")
    assert page.locator(".loss .chart:visible .line").count() >= 4


def test_the_evidence_line_ends_where_the_facts_say(page: Page, facts: LearnFacts) -> None:
    """The height of the last point, measured on the screen between the axis's 0 and the threshold."""
    for one in facts.comparisons:
        chart = page.locator(".challenger").filter(has_text=f"v{one.challenger} {one.learner}").locator(".chart").nth(1)
        zero, threshold = (chart.locator(kind).bounding_box() for kind in (".zero", ".threshold"))
        marker = chart.locator(".marker").last.bounding_box()
        assert zero is not None
        assert threshold is not None
        assert marker is not None
        height = zero["y"] - (marker["y"] + marker["height"] / 2)
        shown = height / (zero["y"] - threshold["y"]) * 1.903
        assert shown == pytest.approx(one.log_e / 2.302585092994046, abs=0.02)


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_the_page_follows_what_changes_and_keeps_what_was_opened(
    page: Page, client: redis.Redis, facts: LearnFacts
) -> None:
    """Without a reload: a label learned, seen within seconds; a list opened stays open."""
    page.evaluate("window.stays = true")
    lines = scene.Lines("phishing", client, seq=50)
    for i in range(6):
        lines.write(facts.at, "retrained", None, f"line {i}")
    page.locator("summary", has_text="earlier").click()
    changed = msgspec.structs.replace(facts, orphans=4_321)
    Streams(client, "phishing").set_fact("learn", changed)
    page.get_by_text("4,321").wait_for(timeout=6_000)
    assert page.evaluate("window.stays") is True
    assert page.locator("details[open] summary", has_text="earlier").count() == 1


@pytest.mark.parametrize("page", [900], indirect=True)
def test_whoever_stands_on_something_stays_there_while_figures_change(
    page: Page, client: redis.Redis, facts: LearnFacts
) -> None:
    """Focus, place on the page and a matrix scrolled sideways survive the renewal of the part that they are in."""
    section = page.locator(".disagreements")
    button = section.get_by_role("button", name="Label disagreements")
    button.focus()
    page.evaluate("window.part = document.querySelector('.disagreements')")
    before = page.evaluate("scrollY")
    scene.ask_lately(Streams(client, "phishing"), later=True)
    until(lambda: page.evaluate("document.querySelector('.disagreements') !== window.part"), 8)
    assert page.evaluate("document.activeElement.textContent") == "Label disagreements"
    assert page.evaluate("scrollY") == pytest.approx(before, abs=2)
    matrix = page.locator(".scroll").first
    matrix.evaluate("one => { one.style.width = '80px'; one.scrollLeft = 30; window.old = one; }")
    changed = msgspec.structs.replace(facts.comparisons[0], uncovered=77)
    told = msgspec.structs.replace(facts, comparisons=(changed, *facts.comparisons[1:]))
    Streams(client, "phishing").set_fact("learn", told)
    page.get_by_text("77 more could not be compared").wait_for(timeout=8_000)
    assert page.evaluate("window.old.isConnected") is False


@pytest.mark.parametrize("page", [1280], indirect=True)
def test_segments_lie_on_the_screen_where_the_facts_say(page: Page, facts: LearnFacts) -> None:
    """Distances from the line at zero are as the bounds are, one to the other."""
    one = next(one for one in facts.comparisons if one.challenger == 4)
    chart = page.locator(".challenger").filter(has_text="v4 boosting").locator(".segments .chart")
    names, whiskers = chart.locator(".name").all_text_contents(), chart.locator(".whisker")
    assert set(names) == set(one.segments)
    zero, _ = ends(chart.locator(".zero"))
    for i, name in enumerate(names):
        left, right = ends(whiskers.nth(i))
        lower, upper = one.bounds[name]
        assert (right - zero) / (zero - left) == pytest.approx(upper / -lower, rel=0.01)


def ends(path: Locator) -> tuple[float, float]:
    """Left and right of what is drawn, without the width of the pen."""
    left, right = path.evaluate("one => { const box = one.getBBox(); return [box.x, box.x + box.width]; }")
    return left, right


@pytest.mark.parametrize("page", [900], indirect=True)
def test_on_paper_there_is_nothing_to_press(page: Page) -> None:
    """And no chart is wider than the sheet, in ink on white, whatever the screen's scheme is."""
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 690, "height": 990})
    assert page.locator("button:visible, nav:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".loss .chart:visible").count() == 1
    assert page.locator(".beside .chart:visible").count() == 3


@pytest.mark.parametrize("page", [1280], indirect=True)
def test_a_redis_that_went_away_is_announced(page: Page, client: redis.Redis) -> None:
    """While the page stands open, and until Redis is back."""
    page.get_by_text("as of").wait_for()
    alert = page.get_by_role("alert")
    with scene.hanging(client):
        alert.wait_for(timeout=10_000)
        assert "Redis does not answer" in alert.inner_text()
    alert.wait_for(state="detached", timeout=10_000)


@pytest.mark.parametrize("page", [900, PHONE], indirect=True)
def test_what_a_learner_needs_is_seen_at_once(page: Page, client: redis.Redis, facts: LearnFacts) -> None:
    """Warnings stand above every chart, fit the window, and come without a reload."""
    reason = "ValueError: " + 40 * "unbroken" + " (at the label of prediction 1763800000000-0)"
    held = "its answers moved by 0.71; publish it all the same with `tiltyard accept phishing tree`"
    learners = {
        "linear": msgspec.structs.replace(facts.learners["linear"], benched=reason),
        "tree": msgspec.structs.replace(facts.learners["tree"], held=held, rebuilding="17 corrections: 9 examples"),
    }
    Streams(client, "phishing").set_fact("learn", msgspec.structs.replace(facts, learners=learners))
    page.get_by_text("tiltyard pardon phishing linear").wait_for(timeout=6_000)
    assert page.locator(".alert.warning").count() == 2
    last, chart = page.locator(".alert.warning").last.bounding_box(), page.locator(".loss").bounding_box()
    assert last is not None
    assert chart is not None
    assert last["y"] < chart["y"]
    width, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= window


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_reads_without_a_script(browser: Browser, address: str, facts: LearnFacts, scheme: str) -> None:
    """Everything is in the first answer, and text stands out from its ground in both schemes."""
    context = browser.new_context(java_script_enabled=False, color_scheme="light" if scheme == "light" else "dark")
    opened = context.new_page()
    opened.goto(address)
    assert "Version 3 (boosting) answers" in opened.locator("h2").inner_text()
    assert opened.locator(".chart").count() >= 2 * len(facts.comparisons) + 2
    context.close()
    scripted = browser.new_context(color_scheme="light" if scheme == "light" else "dark")
    opened = scripted.new_page()
    opened.goto(address)
    for part in ("h2", ".why", ".caption", ".reason", ".verdict", ".standing", ".question", ".note", ".right", ".same"):
        assert contrast(opened, part) >= 4.5
    scripted.close()


def contrast(page: Page, part: str) -> float:
    """Ratio of luminances of the first such element's text and the page's ground, as WCAG 2.2 defines it."""
    text = page.evaluate("part => getComputedStyle(document.querySelector(part)).color", part)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    darker, lighter = sorted(luminance(colour) for colour in (text, ground))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of "rgb(r, g, b)"."""
    shares = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_api_documentation_needs_no_other_host(browser: Browser, server: Server) -> None:
    """`/docs` shows the models' own routes on a machine that reaches nothing else."""
    opened, asked = browser.new_page(), list[str]()
    opened.on("request", lambda sent: asked.append(sent.url))
    opened.goto(f"http://127.0.0.1:{server.port}/docs")
    opened.get_by_text("/models/fruit/predict").first.wait_for()
    opened.close()
    assert [url for url in asked if not url.startswith((f"http://127.0.0.1:{server.port}/", "data:"))] == []
