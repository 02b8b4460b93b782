"""What stands beside a challenger's evidence equals the facts: labels, guardrails, segments, answers, latency."""

import json
import re
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from contracts.config import parse
from contracts.events import Decision, Feedback, Prediction, Shadow
from contracts.facts import ComparisonFacts, GuardFacts, LearnFacts
from contracts.quantities import seconds
from contracts.releases import Board, Releases
from contracts.streams import Streams
from registry.evidence import Evidence
from serving import page_compare
from serving.page_words import advantage
from tests.serving import scene
from tests.serving.scene import Lines, get, serving, words

MODEL = scene.configuration().model("phishing")
MANY = [f"kind {i}" for i in range(12)]


@pytest.fixture
def address(redis_url: str) -> Iterator[str]:
    with serving(redis_url) as url:
        yield url


def challengers(page: str) -> dict[int, str]:
    """What is told of each challenger, by version."""
    section = page[page.index('<section class="challengers"') : page.index('<section class="disagreements"')]
    told = [words(part) for part in section.split('<div class="challenger">')[1:]]
    return {int(match[1]): one for one in told if (match := re.search(r"v(\d+) ", one))}


def test_labels_guardrails_and_audit_are_told_as_the_facts_say(address: str, client: redis.Redis) -> None:
    """Each challenger has its own."""
    facts = scene.play(client)
    told = challengers(get(address)[1])
    assert set(told) == {one.challenger for one in facts.comparisons}
    for one in facts.comparisons:
        labelled, asked = (sum(group[i] for group in one.asked.values()) for i in (0, 1))
        assert labelled < asked
        assert (
            f"Of {asked:,} questions that they answered differently, {labelled:,} have labels: "
            f"{100 * labelled / asked:.0f} %, and 80 % are needed."
        ) in told[one.challenger]
        brier = Evidence.from_json(one.guardrails["brier"])
        lower, _ = one.bounds["brier"]
        state = "holds" if lower >= -0.02 else "suffers"
        assert f"brier {advantage(brier.mean)} {advantage(lower)} 2.0 {state}" in told[one.challenger]
        audit = Evidence.from_json(one.audit or "")
        assert f"{audit.n:,} labels came after maturity: {advantage(audit.mean)} points" in told[one.challenger]


def test_segments_are_drawn_with_the_bounds_of_the_facts(address: str, client: redis.Redis) -> None:
    """Readable without seeing them, too; a shown disadvantage differs in shape."""
    facts = scene.play(client)
    page = get(address)[1]
    for one in facts.comparisons:
        told = ", ".join(
            f"{name} {advantage(evidence.mean)} points"
            for name, evidence in sorted(
                ((name, Evidence.from_json(text)) for name, text in one.segments.items()), key=lambda item: -item[1].n
            )
        )
        assert f"<title>Advantage by segment: {told}.</title>" in page
    worse = sum(one.bounds[name][1] < 0 for one in facts.comparisons for name in one.segments)
    assert worse > 0
    assert page.count('d="M-5 -4h10l-5 9z"') == worse


def test_the_agreement_matrix_is_that_of_the_facts(address: str, client: redis.Redis) -> None:
    """Champion's answers by row, challenger's by column."""
    facts = scene.play(client)
    told = challengers(get(address)[1])
    for one in facts.comparisons:
        n = {(mine, other): count for mine, other, count in one.answers}
        same = 100 * (n[0, 0] + n[1, 1]) / sum(n.values())
        assert (
            f"legitimate {n[0, 0]:,} {n[0, 1]:,} phishing {n[1, 0]:,} {n[1, 1]:,} "
            f"The same answer to {same:.1f} % of {sum(n.values()):,} questions."
        ) in told[one.challenger]


def bands(page: str) -> dict[int, ElementTree.Element]:
    """The drawing of each challenger's band."""
    drawn = re.findall(r"<figcaption>Advantage in points</figcaption>(<svg.*?</svg>)</figure>", page, re.DOTALL)
    found = [ElementTree.fromstring(one) for one in drawn]
    return {int(re.findall(r"of version (\d+) ", one.findtext("title") or "")[0]): one for one in found}


def at_of(one: ComparisonFacts) -> float:
    """When the newest question of a comparison was asked."""
    return float(json.loads(one.evidence)["ended_at"])


def test_the_band_lies_over_time_as_the_facts_say(address: str, client: redis.Redis) -> None:
    """Each kept state where its newest question was asked, and the present one at the end, as high as its figures."""
    facts = scene.play(client)
    drawn = bands(get(address)[1])
    assert set(drawn) == {one.challenger for one in facts.comparisons}
    for one in facts.comparisons:
        paths = {path.get("class", ""): path.get("d", "") for path in drawn[one.challenger].iter("path")}
        line = next(path for kind, path in paths.items() if kind.startswith("line"))
        corners = [tuple(map(float, corner.split())) for corner in line[1:].split("L")]
        zero, least = (float(re.findall(r"[ -](-?[\d.]+)H", paths[kind])[0]) for kind in ("zero", "threshold"))
        assert (zero - corners[-1][1]) / (zero - least) * MODEL.gate.min_gain == pytest.approx(one.gain, abs=1e-3)
        known = [(at, mean) for (n, _, mean, _, _), at in zip(one.curve, one.curve_at, strict=True) if n < one.n]
        times = [at for at, _ in known] + [at_of(one)]
        assert len(corners) == len(times) > 50
        scale = (corners[-1][0] - corners[0][0]) / (times[-1] - times[0])
        for (x, _), at in zip(corners, times, strict=True):
            assert x == pytest.approx(corners[0][0] + scale * (at - times[0]), abs=0.11)


def stretched(one: ComparisonFacts, begin: float, end: float) -> ComparisonFacts:
    """As if its questions had been asked evenly between two epoch seconds."""
    times = tuple(begin + (end - begin) * n / one.n for n, *_ in one.curve)
    evidence = json.dumps(json.loads(one.evidence) | {"started_at": begin, "ended_at": end})
    return msgspec.structs.replace(one, curve_at=times, evidence=evidence, started_at=begin)


def test_the_chosen_time_narrows_the_band(address: str, client: redis.Redis) -> None:
    """A comparison of ten days: the last day, the last hour; and nothing of one that ended two days ago."""
    facts, day = scene.play(client), 86_400.0
    first, second = facts.comparisons[0], facts.comparisons[1]
    told = (stretched(first, facts.at - 10 * day, facts.at), stretched(second, facts.at - 9 * day, facts.at - 2 * day))
    Streams(client, "phishing").set_fact("learn", msgspec.structs.replace(facts, comparisons=told))
    for span, since_s in (("all", None), ("7d", 7 * day), ("24h", day), ("1h", 3_600.0)):
        page = get(f"{address}/?span={span}")[1]
        drawn = bands(page)
        kept = [n for (n, *_), at in zip(told[0].curve, told[0].curve_at, strict=True)
                if since_s is None or at >= facts.at - since_s + 30]  # fmt: skip
        title = drawn[first.challenger].findtext("title") or ""
        assert f", {min([*kept, first.n]):,} to {first.n:,} labelled questions." in title
        assert (second.challenger in drawn) is (span in ("all", "7d"))
        assert ("Nothing was compared in this time." in words(page)) is (span in ("24h", "1h"))


def test_what_happened_is_marked_at_its_time(address: str, client: redis.Redis) -> None:
    """By shape, by name and in words; a correction that moved only another challenger is not."""
    facts = scene.play(client)
    one = next(one for one in facts.comparisons if one.challenger == 4)
    lines, end = Lines("phishing", client, seq=60), at_of(one)
    for ago, kind, numbers in (
        (200.0, "policy", {}),
        (80.0, "corrected", {"moved": {"4": {"pairs": 3}}}),
        (40.0, "corrected", {"moved": {"2": {"pairs": 3}}}),
    ):
        lines.write(end - ago, kind, None, "because", numbers=numbers)
    drawn = bands(get(address)[1])
    shapes = [path.get("class", "").split()[1] for path in drawn[4].iter("path") if "happened" in path.get("class", "")]
    assert sorted(shapes) == ["correction", "correction", "drift", "role", "rules"]
    poles = [path.get("d", "") for path in drawn[4].iter("path") if path.get("class") == "pole dotted"]
    places = [float(pole[1:].split()[0]) for pole in poles]
    enrolled = next(line.at for line in Streams(client, "phishing").decisions() if line.kind == "enrolled")
    last = float(
        next(path.get("d", "") for path in drawn[4].iter("path") if "line" in path.get("class", ""))
        .split("L")[-1]
        .split()[0]
    )
    for at in (enrolled, end - 200, end - 80):
        expected = places[0] + (last - places[0]) * (at - enrolled) / (end - enrolled)
        assert min(abs(place - expected) for place in places) < 0.2
    clock = time.strftime("%H:%M", time.localtime(end - 200))
    assert f"{clock} rules" in (drawn[4].findtext("title") or "")
    assert "labels corrected or erased" in words(get(address)[1])


def test_whole_seasons_are_drawn_as_the_gate_counts_them(redis_url: str, client: redis.Redis) -> None:
    """From the first question of the comparison on."""
    facts = scene.play(client)
    one = next(one for one in facts.comparisons if one.challenger == 4)
    with serving(redis_url, scene.configuration(scene.TOML + 'gate.season = "1m"\n')) as address:
        page = get(address)[1]
    lines = [path for path in bands(page)[4].iter("path") if path.get("class") == "cycle"]
    assert len(lines) == int((at_of(one) - one.started_at) // 60) > 2
    assert "a whole season of 1m" in words(page)


def test_a_comparison_of_an_older_learn_loop_lies_over_its_questions(address: str, client: redis.Redis) -> None:
    """Times were not kept then."""
    facts = scene.play(client)
    told = tuple(msgspec.structs.replace(one, curve_at=()) for one in facts.comparisons)
    Streams(client, "phishing").set_fact("learn", msgspec.structs.replace(facts, comparisons=told))
    for version, drawn in bands(get(address)[1]).items():
        one = next(one for one in facts.comparisons if one.challenger == version)
        first, last = one.curve[0][0], one.n
        assert f"Drawn from {first} to {last:,} labelled questions." in (drawn.findtext("title") or "")


def test_many_classes_are_told_by_their_most_frequent_disagreements() -> None:
    """A matrix of a hundred columns tells nobody anything."""
    model = parse(
        f'[models.kinds]\nfeatures = {{a = "float"}}\nlabel = {{task = "multiclass", classes = {json.dumps(MANY)}}}\n'
        'learners.linear = {algorithm = "linear"}'
    ).models["kinds"]
    answers = ((0, 0, 900), *((i, i + 1, 10 + i) for i in range(11)))
    found = page_compare.beside(comparison(answers=answers), model).agreement
    assert found is not None
    assert found.rows == ()
    assert found.pairs[:2] == (("kind 10", "kind 11", 20), ("kind 9", "kind 10", 19))
    assert len(found.pairs) == 10


def comparison(**known: Any) -> ComparisonFacts:
    return ComparisonFacts(
        champion=1, challenger=2, learner="tree", started_at=0.0, n=100, wins=5, losses=3, gain=0.02,
        needed=4.38, uncovered=0, evidence=Evidence.of_counts(100, 5, 3).to_json(), **known,
    )  # fmt: skip


def test_what_doubts_the_figures_is_told() -> None:
    """Errors beyond the clip, and young wins where labels are corrected."""
    model = msgspec.structs.replace(MODEL, gate=msgspec.structs.replace(MODEL.gate, correction_lag="7d"))
    notes = page_compare.beside(comparison(clipped=8, young=(40, 40.0), corrected=0.031), model).notes
    assert notes == (
        "8.0 % of errors were larger than what counts. The clip is too small for such errors (gate.clip).",
        "40 of its wins are younger than 7d; 3.1 % of labels are corrected.",
    )
    assert page_compare.beside(comparison(clipped=2), MODEL).notes == ("2.0 % of errors were larger than what counts.",)


def test_a_guardrail_without_evidence_is_not_shown_yet() -> None:
    """It keeps a promotion back until it is."""
    (guardrail,) = page_compare.beside(comparison(), MODEL).guardrails
    assert (guardrail.name, guardrail.state) == ("brier", "not shown yet")


def test_latency_stands_side_by_side(address: str, client: redis.Redis) -> None:
    """The champion's as it answers, challengers' as they shadow, with how many were scored at once."""
    scene.play(client)
    told = words(get(address)[1])
    assert "v3 boosting answering 180 µs 1.05 200 µs 750 µs" in told
    for version, learner, per_row, at_once in ((2, "tree", "8.89", 50), (1, "linear", "4.44", 100)):
        assert f"v{version} {learner} in shadow {per_row} µs {at_once} – –" in told


def test_examples_tell_what_was_asked_answered_and_true(address: str, client: redis.Redis) -> None:
    """Newest first: three that wait for their label, without who said what, then such as have one."""
    scene.play(client)
    page = get(address)[1]
    section = page[page.index('<section class="disagreements"') : page.index('<section class="speeds"')]
    rows = [words(row) for row in section.split("<tr>")[2:]]
    assert len(rows) == 8
    assert [row.endswith("none yet ") for row in rows[:4]] == [True, True, True, False]
    kept = Streams(client, "phishing")
    asked = {
        time.strftime("%H:%M:%S", time.localtime(int(id_.split("-")[0]) / 1000)): fields
        for id_, fields in kept.follow("predictions", "0-0") if fields[b"e"]
    }  # fmt: skip
    for row in rows:
        row_values = msgspec.msgpack.decode(asked[row.split()[0]][b"e"], type=Prediction).row
        assert f"url_length {row_values[0]:.4g}, anchors {row_values[1]}, https" in row
        answers = re.findall(r"(legitimate|phishing)", row)
        assert len(set(answers[:4])) == 2, "somebody differs"
        assert ("legitimate or phishing; told with the label" in row) == row.endswith("none yet ")
    assert section.count('aria-label="right"') + section.count('aria-label="wrong"') == 5 * 4


def test_examples_of_a_model_of_values_mark_who_came_nearest(redis_url: str, client: redis.Redis) -> None:
    """And nobody is asked to label disagreements first."""
    toml = (
        '[models.price]\nfeatures = {rooms = "int"}\n'
        'label = {task = "regression"}\nlearners.linear = {algorithm = "linear"}'
    )
    known, kept = parse(toml), Streams(client, "price")
    Releases(client, "price").set_board(Board(champion=1, challengers=(2,)))
    id_ = kept.append(Prediction(1, 0, (100.0,), (3,), known.models["price"].schema.fingerprint))
    kept.append_shadows([(id_, Shadow({2: (0, (120.0,))}))])
    kept.add_feedback(Feedback(id_, 117.0), seconds("1h"))
    with serving(redis_url, known) as address:
        page = get(address)[1]
    told = words(page)
    assert "Where answers to the newest 1 questions of this tenure lie farthest apart." in told
    assert "rooms 3 100 ✗ 120 ✓ 117" in told
    assert "data-queue" not in page


def test_the_range_of_time_is_chosen_by_a_link(address: str, client: redis.Redis) -> None:
    """Curves and decisions begin with it; what refreshes the page keeps to it; another word means all."""
    facts = scene.play(client)
    old = [Decision(90, facts.at - 7_200, "phishing", "refused", 9, "far too late", "ada", {}, "k", "", "h")]
    Streams(client, "phishing").mirror(old[0])
    for span, is_told in (("all", True), ("24h", True), ("1h", False), ("nonsense", True)):
        page = get(f"{address}/models/phishing/page?span={span}")[1]
        assert ("far too late" in words(page)) == is_told
    assert 'data-fragment="/models/phishing/fragment?span=all"' in page
    page = get(f"{address}/?span=1h")[1]
    assert 'data-fragment="/fragment?span=1h"' in page
    assert '<a href="/?span=1h" aria-current="true">' in page


def test_one_model_of_several_is_told_at_length_on_its_own_page(redis_url: str, client: redis.Redis) -> None:
    """The overview stays short, and its fragments cost no thousand questions."""
    second = scene.TOML.replace("[models.phishing]", "[models.other]")
    known = parse(scene.TOML + second)
    scene.play(client)
    with serving(redis_url, known) as address:
        overview, page = get(address)[1], get(f"{address}/models/phishing/page")[1]
    assert "Who answered what" not in overview
    assert 'href="/models/phishing/page">Coverage, guardrails' in overview
    assert "Who answered what" in page


def test_the_learn_loops_other_figures_do_not_break_old_facts(address: str, client: redis.Redis) -> None:
    """Facts of a learn loop that knows nothing of bounds are shown without them."""
    facts: LearnFacts = scene.play(client)
    plain = tuple(msgspec.structs.replace(one, bounds={}, answers=(), asked={}) for one in facts.comparisons)
    Streams(client, "phishing").set_fact("learn", msgspec.structs.replace(facts, comparisons=plain))
    page = get(address)[1]
    assert "Segments" not in page
    assert "brier" in page


def test_the_champions_probation_is_told_as_the_facts_say(address: str, client: redis.Redis) -> None:
    """With what happens where the meter is full; never as a probability."""
    facts = scene.play(client)
    page = get(address)[1]
    told = words(page)
    assert "Version 3 is on probation: on 4,963 questions it was compared with version 1 (linear)" in told
    assert "Evidence for the former champion 0.54 of 3.00 (log₁₀ R)" in told
    for changes in ({"previous": None}, {"version": 1, "previous": 3}):
        watched = msgspec.structs.replace(scene.WATCHED, **changes)
        Streams(client, "phishing").set_fact("learn", msgspec.structs.replace(facts, champion=watched))
        time.sleep(0.6)
        assert "is on probation: on" not in words(get(address)[1])


def test_what_speaks_against_the_champion_is_a_warning(address: str, client: redis.Redis) -> None:
    """A broken rule that nobody can follow, and a champion that is worse than it was."""
    facts, kept = scene.play(client), Streams(client, "phishing")
    guard = GuardFacts(at=facts.at, version=3, alert="In 12 s 9 of 300 questions got no answer; max_failures is 0.01.")
    kept.set_fact("guard", guard)
    watched = msgspec.structs.replace(scene.WATCHED, worse_than_itself_at=2_310)
    kept.set_fact("learn", msgspec.structs.replace(facts, champion=watched))
    page = get(address)[1]
    assert page.count('class="alert warning"') == 2
    assert str(guard.alert) in words(page)
    assert "Version 3 does worse than in its own past, shown after 2,310 labelled questions." in words(page)


def test_a_winner_that_waits_for_a_person_says_what_to_type(address: str, client: redis.Redis) -> None:
    """Until it is answered, or has not won any more."""
    facts = scene.play(client)
    lines = Lines("phishing", client, seq=60)
    lines.write(facts.at, "asked", 4, "Version 4 asks to answer instead of 3: 2.0 points fewer mistakes.")
    page = get(address)[1]
    assert "<code>tiltyard approve 4 --model phishing</code>" in page
    assert "<code>tiltyard refuse 4 --model phishing --reason TEXT</code>" in page
    lines.write(facts.at, "declined", 4, "Version 4 is not wanted.", cause="ada")
    time.sleep(0.6)
    assert "tiltyard approve" not in get(address)[1]


def test_a_decision_leads_to_its_dossier(redis_url: str, client: redis.Redis, tmp_path: Path) -> None:
    """Where there is one."""
    scene.play(client)
    promoted = next(line for line in Streams(client, "phishing").decisions() if line.kind == "promoted")
    name = f"{promoted.seq:06}-promoted-version-3.html"
    (tmp_path / "dossiers" / "phishing").mkdir(parents=True)
    (tmp_path / "dossiers" / "phishing" / name).write_text("why")
    with serving(redis_url, state=tmp_path) as address:
        page = get(address)[1]
    assert page.count(f'<a href="/dossiers/phishing/{name}">Dossier</a>') == 1
    assert page.count("/dossiers/") == 1
