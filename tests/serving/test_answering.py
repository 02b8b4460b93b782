"""What serving counts of each version, before any label comes."""

import time

import numpy as np
import redis

from contracts.facts import AnsweringFacts, ServingFacts
from contracts.streams import Streams
from serving.counts import Counts, Durations
from tests.serving.harness import Server, constant, crown, graph, release, until
from tests.serving.test_predict import ROOTS

LIMIT_S = 0.1


def told(client: redis.Redis, server: Server, version: int) -> AnsweringFacts:
    """What the server made known of a version."""
    facts = Streams(client, "fruit").fact(f"serving:127.0.0.1:{server.port}", ServingFacts)
    return AnsweringFacts() if facts is None else facts.versions.get(version, AnsweringFacts())


def test_each_version_is_told_by_what_it_answered_and_where_it_failed(server: Server, client: redis.Redis) -> None:
    """Answers by class and failures by kind, within about a second; a former version keeps its own."""
    crown(client, release(constant((0.25, 0.75)), 7))
    until(lambda: server.predict()[1]["version"] == 7)
    for _ in range(4):
        server.predict()
    crown(client, release(graph(ROOTS, {}, 2, 2), 8))
    until(lambda: server.predict(a=4.0, b=1.0)[1]["version"] == 8)
    for a in (-1.0, -2.0, -3.0):
        assert server.predict(a=a, b=1.0)[0] == 500
    until(lambda: told(client, server, 8).not_finite >= 3, 3)
    good, bad = told(client, server, 7), told(client, server, 8)
    assert (good.raised, good.not_finite, good.failed) == (0, 0, 0)
    assert good.by_class[0] == 0
    assert good.by_class[1] == good.answered >= 5
    assert (bad.raised, bad.not_finite, bad.failed) == (0, 3, 3)
    assert bad.by_class[0] == bad.answered >= 1
    assert bad.turns == bad.answered + 3
    assert 0 < bad.median_s <= bad.p99_s < 1
    assert 0 < bad.scoring_s < bad.turns


def test_the_same_is_in_the_metrics_by_version(server: Server, client: redis.Redis) -> None:
    """Counters end in _total, durations are histograms in seconds."""
    crown(client, release(constant((0.25, 0.75)), 9))
    until(lambda: server.predict()[1]["version"] == 9)
    labels = 'model="fruit",version="9"'
    before = server.metric(f'answers_total{{{labels},label="true"}}')
    server.predict()
    assert server.metric(f'answers_total{{{labels},label="true"}}') == before + 1
    assert server.metric(f'answers_total{{{labels},label="false"}}') == 0
    assert server.metric(f'scoring_failures_total{{{labels},kind="not_finite"}}') == 0
    assert server.metric(f"scoring_slow_total{{{labels}}}") == 0
    assert server.metric(f"scoring_seconds_count{{{labels}}}") == before + 1


def test_a_question_that_is_repeated_fails_once_a_second() -> None:
    """A client that sends one bad question again and again is one sign, not many."""
    tally = Counts(2, LIMIT_S).of(1)
    assert [tally.fail(("a", 1.0), raised=True) for _ in range(3)] == [True, False, False]
    tally.fail(("b", 1.0), raised=False)
    facts = tally.facts()
    assert (facts.raised, facts.not_finite, facts.failed) == (3, 1, 2)
    tally.fail(("a", 1.0), raised=True)
    assert tally.facts().failed == 3


def test_a_turn_is_slow_only_where_the_version_itself_computed_for_so_long() -> None:
    """Waiting for a busy machine is not the version's doing; after the first long turn its own time is measured."""
    tally = Counts(2, LIMIT_S).of(1)
    tally.turn(0.5, None)
    assert (tally.slow, tally.suspect > 0) == (0, True)
    tally.turn(0.5, 0.01)
    assert tally.slow == 0
    tally.turn(0.5, 0.4)
    assert tally.slow == 1
    while tally.suspect:
        tally.turn(0.001, 0.001)
    assert tally.facts().slow == 1


def test_only_the_newest_versions_are_kept() -> None:
    """A process that lives long meets many."""
    counts = Counts(1, LIMIT_S)
    for version in range(20):
        counts.of(version)
    assert list(counts.versions) == list(range(12, 20))


def test_quantiles_are_bounds_that_so_many_kept() -> None:
    """Close enough from above; 0 before the first."""
    seconds, kept = np.random.default_rng(0).lognormal(-6, 1, 10_000), Durations()
    assert kept.quantile(0.5) == 0
    for one in seconds:
        kept.add(float(one))
    for share in (0.5, 0.9, 0.99):
        exact = float(np.quantile(seconds, share))
        assert exact <= kept.quantile(share) <= 2.6 * exact
    kept.add(60.0)
    assert kept.quantile(1.0) == 2.5


def test_counting_costs_next_to_nothing() -> None:
    """Two of the fifty microseconds and more that an answer takes, also where each turn has one question only."""
    tally, n = Counts(2, LIMIT_S).of(1), 20_000

    def once() -> float:
        began = time.process_time()
        for _ in range(n):
            tally.turn(0.0005, None)
            tally.by_class[1] += 1
        return (time.process_time() - began) / n

    assert min(once() for _ in range(5)) < 2e-6
