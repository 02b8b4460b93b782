"""The page tells what the facts say, whatever state the rest is in, and says so where it cannot know."""

import re
import statistics
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis

from contracts.config import parse
from contracts.facts import LearnerFacts, LearnFacts, ShadowFacts
from contracts.releases import Board, Releases
from contracts.streams import Streams
from serving.page_words import advantage
from tests.conftest import free_port
from tests.serving import scene
from tests.serving.scene import Lines, get, serving, words

HOSTILE = "<script>alert(1)</script>\"'&"
PRIOR = Board(champion=0)


@pytest.fixture
def address(redis_url: str) -> Iterator[str]:
    """A server of the page, on an empty database."""
    with serving(redis_url) as url:
        yield url


def test_the_first_sentence_says_who_answers_since_when_and_what_it_gains(address: str, client: redis.Redis) -> None:
    """It is made of the decision's own time and numbers."""
    scene.play(client)
    promoted = next(line for line in Streams(client, "phishing").decisions() if line.kind == "promoted")
    told = words(get(address)[1])
    since = time.strftime("%H:%M", time.localtime(promoted.at))
    gain, lower = (f"{100 * promoted.numbers[name]:.1f}" for name in ("gain", "lower"))
    assert (
        f"Version 3 (boosting) answers since {since}; "
        f"it makes {gain} points fewer mistakes than linear (at least {lower})."
    ) in told
    assert told.count("However often you look") == 2, "the reason stands below the sentence and in the list"


def test_every_figure_on_the_page_equals_the_facts(address: str, client: redis.Redis) -> None:
    """Versions, challengers and stream health are shown as published."""
    facts = scene.play(client)
    told = words(get(address)[1])
    champion = next(f for f in facts.versions if f.version == 3)
    assert champion.accuracy is not None
    assert f"{100 * champion.accuracy:.1f} % right, of {champion.n:,} labelled" in told
    for version in facts.versions:
        assert f"{100 * version.loss:.1f} % {version.n:,} " in told
    for one in facts.comparisons:
        assert one.reason in told
        assert f"On {one.n:,} labelled requests only one of the two was right on {one.wins + one.losses:,}: " in told
        assert f"the challenger was right {one.wins:,} times, the champion {one.losses:,}." in told
        gain, lower, upper = map(advantage, (one.gain, one.lower, one.upper))
        assert f"{gain} points, between {lower} and {upper}" in told
        log10_e = f"{one.log_e / 2.302585092994046:.2f}".replace("-", "−")
        assert f"Evidence {log10_e} of 1.90 (log₁₀ E)" in told
    for label, value in (
        ("labels not yet matured", facts.pending),
        ("labels matured into evidence", facts.matured),
        ("late learned, never evidence", facts.late),
        ("uncovered without an honest shadow score", facts.uncovered),
        ("corrections the newest label wins", facts.corrections),
        ("duplicates counted once", facts.duplicates),
        ("orphans their prediction is unknown", facts.orphans),
        ("dead letters 1 feedback", 1),
        ("questions ahead of the shadow scorer", 0),
    ):
        assert f"{label} {value:,}" in told
    assert "3.21 s median label delay 90 % within 5.5 s, 99 % within 9.75 s" in told
    assert "9,000 questions asked 8,960 labels came back" in told


def test_every_learner_is_shown_as_it_says_of_itself(address: str, client: redis.Redis) -> None:
    """What it has learned, how far it is behind the journal, what is public, and what that costs."""
    facts = scene.play(client)
    told = words(get(address)[1])
    behind = {name: facts.examples - one.position for name, one in facts.learners.items()}
    assert behind == {"linear": 8, "tree": 600}
    for name, one in facts.learners.items():
        standing = rf"{name} v{one.version} learning {one.learned:,} {behind[name]:,} revision 8,950 \d+ s ago"
        assert re.search(standing, told)
    assert "linear 4.31 kB in 12 ms 8 ms 213 of 2,048 MiB 9, 38.8 kB 16 of 17" in told
    assert "tree 3.46 MB in 12 ms 8 ms 391 of 2,048 MiB 9, 38.8 kB 16 of 17" in told
    assert "State hashes: linear 0f3a9c52d1e7 at 8,900 labels;" in told
    assert "in the journal 1.23 MB 8,952" in told
    assert "amended there relearned where they were learned 17" in told
    assert "Half come within 3.21 s, 90 % within 5.5 s, 99 % within 9.75 s, of the newest 1,000." in told


def trouble(client: redis.Redis, facts: LearnFacts, **changes: Any) -> None:
    """`linear` says something else of itself."""
    learners = facts.learners | {"linear": msgspec.structs.replace(facts.learners["linear"], **changes)}
    Streams(client, "phishing").set_fact("learn", msgspec.structs.replace(facts, learners=learners))


def test_a_benched_learner_is_a_warning_that_says_how_it_ends(address: str, client: redis.Redis) -> None:
    """With the reason, and the command to type."""
    trouble(client, scene.play(client), benched="ArithmeticError: cannot learn 13 (at the label of prediction 5-0)")
    page = get(address)[1]
    assert page.count('class="alert warning"') == 1
    assert "<code>tiltyard pardon phishing linear</code>" in page
    told = words(page)
    assert "linear no longer learns: ArithmeticError: cannot learn 13 (at the label of prediction 5-0)." in told
    assert "linear v1 benched 8,940" in told
    assert "benched, revision 8,950" in told


def test_a_held_revision_is_a_warning_that_says_how_it_ends(address: str, client: redis.Redis) -> None:
    """Since when, why, and the command that publishes it."""
    now = time.time()
    held = "its answers moved by 0.71; publish it all the same with `tiltyard accept phishing linear`"
    trouble(client, scene.play(client), held=held, held_since=now)
    page = get(address)[1]
    assert page.count('class="alert warning"') == 1
    assert "<code>tiltyard accept phishing linear</code>" in page
    since = time.strftime("%H:%M", time.localtime(now))
    assert f"The newest revision of linear is held since {since}: its answers moved by 0.71;" in words(page)


def test_a_frozen_learner_is_told_with_who_and_why(address: str, client: redis.Redis) -> None:
    """As a note and no warning: somebody chose it."""
    trouble(client, scene.play(client), frozen=True)
    at = time.time()
    lines, reason = Lines("phishing", client, seq=60), "linear: nothing is published until it is unfrozen. An audit."
    lines.write(at, "frozen", 1, reason, numbers={"learners": ["linear"]}, cause="ada")
    page = get(address)[1]
    assert 'class="alert warning"' not in page
    assert "<code>tiltyard unfreeze phishing --reason TEXT</code>" in page
    told, clock = words(page), time.strftime("%H:%M", time.localtime(at))
    assert f"Frozen: linear, since {clock} by ada: An audit. Learning goes on, nothing is published." in told
    assert "linear v1 frozen 8,940" in told


def test_learners_in_need_are_told_before_they_stop(address: str, client: redis.Redis) -> None:
    """Memory that is nearly full, a process that is silent, and corrections that are being relearned."""
    facts = scene.play(client)
    rebuilding = "3 corrections: 12,400 examples learned anew"
    trouble(client, facts, memory_mb=1_900.0, at=facts.at - 60, rebuilding=rebuilding)
    told = words(get(address)[1])
    assert "linear has 1,900 of 2,048 MiB of memory in use; beyond memory_mb it is benched." in told
    assert "linear has been silent for 60 s. Labels are kept, and learned when it is back." in told
    assert f"linear v1 learning {rebuilding} 8,940" in told


def test_a_learner_that_has_published_nothing_says_when_it_will(address: str, client: redis.Redis) -> None:
    """Or that its version is retired."""
    facts = scene.play(client)
    trouble(client, facts, version=None)
    assert "nothing yet from 200 labels on" in words(get(address)[1])
    trouble(client, facts, version=7)
    time.sleep(0.6)
    assert "nothing more version 7 is retired" in words(get(address)[1])


def test_negatives_of_a_time_out_are_counted_with_what_they_were_learned_as(
    redis_url: str, client: redis.Redis
) -> None:
    """Where that is the rule."""
    facts = scene.play(client)
    Streams(client, "phishing").set_fact("learn", msgspec.structs.replace(facts, timed_out=321))
    with serving(redis_url, parse(f'{scene.TOML}labels.on_timeout = "negative"')) as address:
        assert "timed out learned as legitimate 321" in words(get(address)[1])


def test_decisions_and_drift_are_told_with_their_reasons(address: str, client: redis.Redis) -> None:
    """Newest first, and the report is linked."""
    scene.play(client)
    page = get(address)[1]
    told = words(page)
    assert told.index("Enrolled v4") < told.index("Promoted v3") < told.index("Bootstrap v1")
    assert "linear is the first to have learned 200 labels" in told
    assert "2 of 4 columns have drifted (url_length most, 0.31)" in told
    assert 'href="/reports/phishing/20261122T104000Z.html"' in page


def test_each_model_has_a_page_and_an_unknown_one_has_none(address: str, client: redis.Redis) -> None:
    """`/models/NAME/page` shows one model; another name is 404."""
    scene.play(client)
    assert "Version 3 (boosting) answers" in get(f"{address}/models/phishing/page")[1]
    assert "<html" not in get(f"{address}/models/phishing/fragment")[1]
    assert get(f"{address}/models/fishing/page")[0] == 404


def test_lag_is_what_came_less_what_was_read(address: str, client: redis.Redis) -> None:
    """Labels ahead of the learn flow, questions ahead of the shadow scorer, less those that it had to bury."""
    streams = Streams(client, "phishing")
    scene.append(streams, 50, labelled=30)
    client.xadd(streams.key("predictions"), {"e": b""})
    client.xadd(streams.key("predictions"), {"e": b""})
    streams.bury("predictions", "5-0", {}, "has no field 'e'")
    streams.set_fact("learn", learn(feedback=18))
    streams.set_fact("shadow", ShadowFacts(at=time.time(), position="1-0", scored=50, versions={}))
    told = words(get(address)[1])
    assert "labels ahead of the learn flow 12" in told
    assert "questions ahead of the shadow scorer 1" in told


def test_a_stale_serving_process_is_marked(address: str, client: redis.Redis) -> None:
    """The silent one says since when; the live one says what it answers with and on which provider."""
    scene.play(client)
    page = get(address)[1]
    assert page.count('class="stale"') == 1
    told = words(page)
    assert "127.0.0.1:8000 answers with v3, CPUExecutionProvider, 8,997 answered" in told
    assert "127.0.0.1:8001 silent since" in told


def test_what_people_write_is_shown_and_never_run(redis_url: str, client: redis.Redis) -> None:
    """Titles, reasons, causes, columns, report names and refusals are text, wherever they stand."""
    config = parse(scene.TOML.replace("Phishing websites", "<script>alert(1)</script>\\\"'&"))
    scene.play(client)
    streams, now = Streams(client, "phishing"), time.time()
    client.delete(streams.key("decisions"))
    board = Board(champion=3, challengers=(2, 1), previous=1)
    Lines("phishing", client).write(now, HOSTILE, 3, HOSTILE, board, {"gain": HOSTILE}, cause=HOSTILE)
    fact = scene.drift(now)
    streams.set_fact(
        "watch",
        msgspec.structs.replace(fact, sentence=HOSTILE, report=f"{HOSTILE}.html", columns={HOSTILE: 0.5}),
    )
    process = msgspec.structs.replace(scene.process(now, HOSTILE), refused=HOSTILE, provider=HOSTILE)
    streams.set_fact(f"serving:{HOSTILE}", process)
    with serving(redis_url, config) as address:
        page = get(address)[1]
    assert "alert(1)</script>" not in page
    assert words(page).count(HOSTILE) >= 7
    assert 'href="/reports/phishing/%3Cscript' in page
    assert 'aria-labelledby="phishing-headline"' in page


def test_before_anything_was_published_the_page_says_what_is_missing(address: str) -> None:
    """An empty database is a state like any other."""
    told = words(get(address)[1])
    assert "Nothing answers yet." in told
    assert "No version has been published" in told
    assert "Nothing has been decided yet." in told
    assert "No drift report yet." in told
    assert "No serving process has reported." in told


def test_before_the_first_question_the_page_shows_how_to_ask(address: str, client: redis.Redis) -> None:
    """The example fits the model's schema."""
    Releases(client, "phishing").set_board(PRIOR)
    told = words(get(address)[1])
    assert "The prior answers: the same scores every time" in told
    assert "Nothing has been asked yet. A first question:" in told
    assert """{"features":{"url_length":0.5,"anchors":1,"https":true,"registrar":"a"}}""" in told


def test_before_the_first_label_the_page_shows_how_to_give_one(address: str, client: redis.Redis) -> None:
    """Questions without labels teach nothing, so the page asks for them, with an id that exists."""
    Releases(client, "phishing").set_board(PRIOR)
    scene.append(Streams(client, "phishing"), 124, labelled=0)
    told = words(get(address)[1])
    assert "124 questions asked, and no label has come back yet." in told
    assert """{"prediction_id":"1123-0","label":"legitimate"}""" in told


def test_while_the_prior_answers_the_page_counts_towards_the_bootstrap(address: str, client: redis.Redis) -> None:
    """One sees how far the first learner is."""
    Releases(client, "phishing").set_board(PRIOR)
    Streams(client, "phishing").set_fact("learn", learn(learned=120))
    assert "to have learned 200 labels takes over; linear has learned 120." in words(get(address)[1])


def test_a_silent_learn_flow_is_said_after_30_s(address: str, client: redis.Redis) -> None:
    """Not before, and with what happens to the labels meanwhile."""
    streams = Streams(client, "phishing")
    streams.set_fact("learn", learn(at=time.time() - 25))
    assert "silent" not in words(get(address)[1])
    streams.set_fact("learn", learn(at=time.time() - 45))
    time.sleep(0.6)
    assert re.search(r"The learn flow has been silent for 4\d s. Labels are kept", words(get(address)[1]))


def test_facts_of_another_version_are_named_and_the_rest_is_shown(address: str, client: redis.Redis) -> None:
    """An update of only some processes must not blank the page."""
    scene.play(client)
    client.hset(Streams(client, "phishing").key("facts"), "watch", b'{"at": "yesterday"}')
    told = words(get(address)[1])
    assert "not understood: watch." in told
    assert "Version 3 (boosting) answers" in told


def test_comparisons_with_a_former_champion_are_not_shown(address: str, client: redis.Redis) -> None:
    """Right after a promotion the learn flow still reports the tenure before."""
    scene.play(client)
    Releases(client, "phishing").set_board(Board(champion=4, challengers=(2, 1, 3), previous=3))
    told = words(get(address)[1])
    assert "Version 4 (boosting) answers." in told
    assert "Challengers" not in told


def test_a_rollback_is_told_as_one(address: str, client: redis.Redis) -> None:
    """The champion is who the line's board names, not the version that the line is about."""
    scene.play(client)
    board = Board(champion=1, challengers=(2,))
    Releases(client, "phishing").set_board(board)
    reason = "3.0 points more mistakes than version 1."
    Lines("phishing", client, seq=99).write(time.time(), "rolled_back", 3, reason, board, cause="Ada")
    told = words(get(address)[1])
    assert re.search(r"Version 1 \(linear\) answers since \d\d:\d\d; version 3 was rolled back\.", told)
    assert "3.0 points more mistakes than version 1. — Ada" in told


def test_a_newer_fit_of_the_same_learner_beats_a_version_not_a_name(address: str, client: redis.Redis) -> None:
    """Version 4 and version 3 are both called boosting."""
    scene.play(client)
    board = Board(champion=4, challengers=(2, 1, 3), previous=3)
    Releases(client, "phishing").set_board(board)
    lines = Lines("phishing", client, seq=99)
    lines.write(time.time(), "promoted", 4, "better", board, numbers={"mean": 0.055, "lower": 0.007})
    assert "it makes 5.5 points fewer mistakes than version 3 (at least 0.7)." in words(get(address)[1])


def test_values_are_told_in_their_own_units(redis_url: str, client: redis.Redis) -> None:
    """A regression model has errors, not mistakes."""
    toml = (
        '[models.price]\nfeatures = {rooms = "int"}\n'
        'label = {task = "regression"}\nlearners.linear = {algorithm = "linear"}'
    )
    curve = tuple((time.time() - 100 + i, 25, 12_000.0 - 100 * i) for i in range(40))
    version: Any = {"version": 1, "learner": "linear", "n": 1000, "loss": 10_050.0, "accuracy": None, "curve": curve}
    fact = msgspec.json.decode(msgspec.json.encode(learn()), type=dict)
    client.hset(
        Streams(client, "price").key("facts"),
        "learn",
        msgspec.json.encode(fact | {"loss": "absolute", "versions": [version]}),
    )
    Releases(client, "price").set_board(Board(champion=1))
    with serving(redis_url, parse(toml)) as address:
        page = get(address)[1]
    assert "Mean absolute error over time" in words(page)
    assert "10,050 mean absolute error on 1,000 labelled lately 8,450" in words(page)
    assert ">10,000</text>" in page


def test_the_page_answers_while_redis_is_away_from_the_start() -> None:
    """It says so, with the address and without the password."""
    port = free_port()
    with serving(f"redis://:secret@127.0.0.1:{port}/0") as address:
        status, page, _ = get(address)
    assert status == 200
    told = words(page)
    assert f"Redis does not answer at 127.0.0.1:{port}" in told
    assert "Questions are still answered" in told
    assert "Not known while Redis is away." in told
    assert "secret" not in page


def test_when_redis_goes_away_the_last_figures_stay_and_are_dated(address: str, client: redis.Redis) -> None:
    """A Redis that hangs does not hang the page, and comes back without a restart."""
    scene.play(client)
    get(address)
    time.sleep(0.6)
    deadline = time.monotonic() + 10
    with scene.hanging(client):
        while "Redis does not answer" not in (told := words(get(address)[1])):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        began = time.monotonic()
        get(address)
        assert time.monotonic() - began < 0.5
    assert re.search(r"Everything below is as of \d\d:\d\d:\d\d\.", told)
    assert "Version 3 (boosting) answers" in told
    while "Redis does not answer" in words(get(address)[1]):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_page_refers_to_nothing_elsewhere_but_by_links(address: str, client: redis.Redis) -> None:
    """No fonts, no scripts, no pictures from other hosts; and the policy forbids them besides."""
    scene.play(client)
    _, page, headers = get(address)
    elsewhere = set(re.findall(r'(\w+)="https?://[^"]*"', page))
    assert elsewhere <= {"href"}
    assert re.findall(r"<link[^>]*>", page)[0].count("data:image") == 1
    assert "default-src 'none'" in headers["content-security-policy"]
    assert 'href="http://127.0.0.1:5000/#/models/phishing/versions/3"' in page
    assert 'href="http://127.0.0.1:4200"' in page


def test_the_page_answers_within_200_ms(address: str, client: redis.Redis) -> None:
    """With full curves of a dozen versions; each answer is rendered anew."""
    facts = scene.play(client)
    curve = tuple((facts.at - 240 + i, 1000, 0.1 + 0.05 * (i % 7) / 7) for i in range(240))
    versions = tuple(
        msgspec.structs.replace(facts.versions[1], version=version, curve=curve) for version in range(1, 13)
    )
    running = tuple((i * 200, i / 120, 0.01, -0.02, 0.04) for i in range(1, 240))
    comparisons = tuple(msgspec.structs.replace(one, curve=running) for one in facts.comparisons)
    Streams(client, "phishing").set_fact(
        "learn", msgspec.structs.replace(facts, versions=versions, comparisons=comparisons)
    )
    get(address)
    taken = []
    for _ in range(5):
        time.sleep(0.55)
        began = time.perf_counter()
        get(address)
        taken.append(time.perf_counter() - began)
    assert statistics.median(taken) < 0.2


def learn(at: float | None = None, feedback: int = 0, learned: int = 0) -> LearnFacts:
    """A learn loop that has little to tell."""
    return LearnFacts(
        at=time.time() if at is None else at,
        last_feedback_id="0-0",
        feedback=feedback,
        joined=0,
        orphans=0,
        duplicates=0,
        corrections=0,
        late=0,
        uncovered=0,
        pending=0,
        matured=0,
        dead_letters=0,
        loss="zero_one",
        delay_s=None,
        learners={"linear": LearnerFacts(learned=learned, last_feedback_id="0-0", state_hash="a")},
        versions=(),
        comparisons=(),
    )
