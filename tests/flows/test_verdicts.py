"""What the gate tells the ledger beside the changes it makes: verdicts, rules and refusals."""

import pytest

from flows.verdicts import enter_changes, standing
from registry.ledger import Ledger
from tests.flows.gate_scene import Scene


def test_a_verdict_is_entered_once_per_change_with_its_numbers(scene: Scene) -> None:
    """From collecting over continue to the promotion; looking again changes nothing."""
    assert scene.look(v2=(0, 0), v3=(20, 15)) == []
    assert scene.look(v2=(20, 15), v3=(21, 15)) == []
    scene.look()
    (three, two) = scene.lines("verdict")
    assert (three.version, three.numbers["was"], three.numbers["decision"]) == (3, "collecting", "continue")
    assert (three.numbers["n"], three.numbers["wins"], three.numbers["losses"]) == (1_000, 20, 15)
    assert three.reason.startswith("So far 0.5 points fewer mistakes")
    assert two.version == 2
    scene.look(v2=(90, 20))
    assert scene.told("verdict", "promoted") == [("verdict", 3), ("verdict", 2), ("verdict", 2), ("promoted", 2)]
    assert scene.place.roles.ledger.verify() is None


def test_a_new_tenure_begins_every_comparison_anew(scene: Scene) -> None:
    """The same decision against another champion is another verdict."""
    scene.look(v2=(90, 20), v3=(20, 15))
    scene.look(v1=(20, 15), v3=(20, 15))
    assert [version for _, version in scene.told("verdict")] == [2, 3, 3, 1]


def test_two_gates_that_look_at_once_enter_one_change(scene: Scene) -> None:
    """As one whose lease ran out while it was looking: the line of the first is the line of both."""
    scene.know(v2=(20, 15))
    lines = scene.lines()
    found = standing(scene.place, scene.place.releases.board(), lines, 0.0)
    for _ in range(2):
        enter_changes(scene.place, lines, found)
    assert scene.told("verdict") == [("verdict", 2)]


def test_the_gate_enters_its_rules_and_every_change_of_them(scene: Scene) -> None:
    """The whole table at first, then old and new values; the same rules are not entered again."""
    scene.look()
    scene.look()
    other = scene.ruled("alpha = 0.1\nseason = '24h'\n")
    other.look()
    scene.look()
    first, second, third = scene.lines("policy")
    assert first.numbers["gate"]["alpha"] == 0.05
    assert first.reason == "These rules decide from now on."
    assert second.numbers["changed"] == {"alpha": [0.05, 0.1], "season": [None, "24h"]}
    assert second.reason == 'gate.alpha is 0.1, was 0.05; gate.season is "24h", was not set.'
    assert third.numbers["changed"] == {"alpha": [0.1, 0.05], "season": ["24h", None]}


def test_the_rules_are_in_the_ledger_before_anything_is_decided_by_them(scene: Scene) -> None:
    """Whoever replays it knows what they were."""
    scene.look(v2=(90, 20))
    kinds = [line.kind for line in scene.lines()]
    assert kinds.index("policy") < kinds.index("verdict") < kinds.index("promoted")


def test_a_winner_that_cannot_be_promoted_is_refused_once_and_the_next_one_takes_over(scene: Scene) -> None:
    """Deleted in MLflow, say: told in the ledger, and no reason to keep another winner waiting."""
    client = scene.place.registry._mlflow
    client.delete_model_version(scene.place.name, "2")
    scene.know(v2=(90, 10))
    for _ in range(2):
        (done,) = scene.look()
        assert "Version 2 has won and cannot be promoted: version 2 of" in done
    assert scene.told("refused", "promoted") == [("refused", 2)]
    refused, promoted = scene.look(v3=(80, 20))
    assert "cannot be promoted" in refused
    assert promoted.startswith("Version 3 answers instead of 1")
    assert scene.told("refused", "promoted") == [("refused", 2), ("promoted", 3)]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(3))
def test_a_gate_killed_between_its_lines_writes_each_of_them_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Rules, verdict, promotion: killed before any of them, the next look goes on from there."""
    real, done = Ledger.append, []

    def counted(*arguments, **named):
        if len(done) == step:
            raise Killed
        done.append(named)
        return real(*arguments, **named)

    scene.know(v2=(90, 20))
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "append", counted)
        with pytest.raises(Killed):
            scene.look()
    scene.look()
    scene.look()
    assert scene.told("policy", "verdict", "promoted") == [("policy", None), ("verdict", 2), ("promoted", 2)]
