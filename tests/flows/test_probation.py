"""What becomes of a champion under probation."""

import time
from typing import Any

from contracts import events
from contracts.facts import ScoringFacts, ShadowFacts, WatchFacts
from flows.promote import decide_roles
from tests.flows.gate_scene import Scene


def watch(scene: Scene, **known: Any) -> WatchFacts:
    """An alarm of the watch on the present champion."""
    board = scene.place.releases.board()
    told = {
        "version": board.champion, "since": events.offset(board.since), "previous": board.previous, "n": 700,
        "log_r": 7.1, "needed": 6.9, "alarmed_at": 640, "limit": None, "worse_than_itself_at": None,
    }  # fmt: skip
    return WatchFacts(**(told | known))


def test_an_alarm_lets_the_predecessor_answer_again(scene: Scene) -> None:
    """At once, with the numbers in the ledger; what was rolled back never returns."""
    scene.look(v2=(90, 20))
    scene.know(watch(scene))
    (told,) = decide_roles(scene.place, time.time())
    assert told.startswith("Version 1 answers instead of 2: The version before it, 1, is better: shown after 640 ")
    (line,) = scene.lines("rolled_back")
    assert (line.version, line.numbers["watch"]["alarmed_at"], line.numbers["over"]) == (2, 640, 2)
    assert scene.place.releases.board().champion == 1
    assert scene.place.roles.barred() == {2}


def test_an_alarm_about_another_tenure_is_none(scene: Scene) -> None:
    """Facts are a second old: the champion, its reign and its predecessor must be the ones of now."""
    scene.look(v2=(90, 20))
    for other in ({"version": 3}, {"since": 5}, {"previous": 3}, {"alarmed_at": None}):
        scene.know(watch(scene, **other))
        assert decide_roles(scene.place, time.time()) == []
    assert scene.place.releases.board().champion == 2


def test_a_challenger_that_computes_for_too_long_is_held_back(scene: Scene) -> None:
    """It would be taken out of service for it as soon as it answered."""
    slow = ScoringFacts(rows=500, turns=5, total_s=100.0)
    facts = ShadowFacts(at=time.time(), position="0-0", scored=500, versions={2: 0}, refused={}, scoring={2: slow})
    scene.place.streams.set_fact("shadow", facts)
    assert scene.look(v2=(90, 20)) == []
    assert "it takes 200 ms for each row, and gate.max_latency is 100ms" in scene.lines("verdict")[-1].reason
    scene.place.streams.set_fact("shadow", ShadowFacts(at=1, position="0-0", scored=0, versions={}, refused={}))
    scene.look(v2=(90, 20))
    assert scene.told("promoted") == [("promoted", 2)]


def test_other_rules_are_tried_beside_the_ones_that_decide(scene: Scene) -> None:
    """What they would do is a line of its own, once per change, and never done."""
    dry = scene.ruled(
        "min_gain = 0.5\n[models.scene.gate.dry_run]\nmin_gain = 0.005\n".replace("scene", scene.place.name)
    )
    dry.look(v2=(20, 19))
    dry.look()
    (tried,) = dry.lines("dry_run")
    assert (tried.version, tried.numbers["decision"]) == (2, "continue")
    assert dry.lines("verdict")[-1].numbers["decision"] == "give_up"
    assert dry.place.releases.board().champion == 1
