"""Winners that ask a person, and champions that are given time."""

import json
from pathlib import Path

import pytest

from contracts import config
from flows import approval, deployments
from flows.approve import approve as approve_flow
from registry.ledger import Ledger
from registry.promotion import Stale
from tests.flows.conftest import PERSON
from tests.flows.gate_scene import CONFIG, Scene


def approve(scene: Scene, version: int = 2) -> str:
    return approval.approve(scene.place, version, "ann", "Checked with the branch.")


def refuse(scene: Scene, version: int = 2) -> str:
    return approval.refuse(scene.place, version, "bob", "Not before Christmas.")


def test_a_winner_asks_once_with_its_whole_verdict_and_nothing_is_carried_out(asking: Scene) -> None:
    """Looking again asks nobody again; the run names the commands, and goes on with its other duties."""
    told, retired = asking.look(v3=(10, 90))
    assert "Version 2 waits for a person" in told
    assert f"`tiltyard approve 2 --model {asking.place.name}`" in told
    assert f"{asking.place.settings.serving_url}/models/{asking.place.name}/page, where its dossier is" in told
    assert retired.startswith("Version 3 left the shadow")
    (line,) = asking.lines("asked")
    assert (line.version, line.numbers["decision"], line.numbers["wins"], line.numbers["over"]) == (2, "promote", 90, 1)
    assert line.reason.startswith("Version 2 asks to answer instead of 1: 7.0 points fewer mistakes")
    assert asking.told("promoted", "approved") == []
    assert asking.place.releases.board().champion == 1


def test_an_approval_carries_it_out_in_the_persons_name(asking: Scene) -> None:
    """Approved once, promoted once, however often it is said; then nothing asks any more."""
    assert approve(asking).startswith("Version 2 answers instead of 1: 7.0 points fewer mistakes")
    assert approve(asking) == "Version 2 answers already."
    asked, approved, promoted = asking.lines("asked", "approved", "promoted")
    assert (approved.cause, approved.numbers["asked"]) == ("ann", asked.seq)
    assert approved.reason == "Version 2 may answer instead of 1. Checked with the branch."
    assert (promoted.cause, promoted.version, promoted.numbers["over"]) == ("ann", 2, 1)
    assert asking.look() == []


def test_an_approval_of_what_has_not_won_any_more_is_stale(asking: Scene) -> None:
    """Labels that came meanwhile, say: the reason says where it stands, and nothing is done."""
    asking.know(v2=(90, 80))
    with pytest.raises(Stale, match=r'approved, its verdict is "continue" by now: So far 1\.0 points fewer'):
        approve(asking)
    assert asking.told("approved", "promoted") == []
    with pytest.raises(Stale, match="version 9 cannot be approved, it is not compared with the champion"):
        approve(asking, 9)


def test_what_has_not_asked_is_neither_approved_nor_refused(scene: Scene) -> None:
    """Its next look asks."""
    scene.ruled(PERSON).know(v2=(90, 20))
    for answer in (approve, refuse):
        with pytest.raises(Stale, match="version 2 does not ask for approval"):
            answer(scene)


def test_a_refusal_holds_as_long_as_the_champion_answers(asking: Scene) -> None:
    """It is held back in the person's name, asks nobody again, and another winner asks instead."""
    assert refuse(asking).startswith("Version 2 is refused as long as 1 answers")
    assert refuse(asking).startswith("Version 2 is refused as long as 1 answers")
    asking.look()
    asking.look(v2=(20, 15))
    asking.look(v2=(90, 20), v3=(80, 20))
    (line,) = asking.lines("declined")
    assert (line.cause, line.numbers["said"]) == ("bob", "Not before Christmas.")
    assert asking.told("asked", "promoted") == [("asked", 2), ("asked", 3)]
    held = next(line for line in asking.lines("verdict") if line.numbers["decision"] == "ready")
    assert held.reason.endswith("held back: bob refused it: Not before Christmas.")
    with pytest.raises(Stale, match=r'its verdict is "ready" by now: .* held back: bob refused it'):
        approve(asking)
    approve(asking, 3)
    assert asking.place.releases.board().champion == 3
    asking.look(v2=(90, 20))
    assert asking.told("asked")[-1] == ("asked", 2)


def test_a_refusal_after_the_approval_comes_too_late(asking: Scene) -> None:
    """Whoever was first is named, where the approval was not carried out before its command was killed."""
    approve_without_carrying_it_out(asking)
    with pytest.raises(Stale, match="ann has approved version 2 before"):
        refuse(asking)
    assert asking.told("declined") == []


def test_a_verdict_that_lapses_takes_its_request_with_it(asking: Scene) -> None:
    """Once it has won again, it asks again; an approval of the first request does not count for the second."""
    approve_without_carrying_it_out(asking)
    asking.look(v2=(90, 80))
    assert asking.told("promoted") == []
    asking.look(v2=(95, 20))
    assert asking.told("asked", "approved", "promoted") == [("asked", 2), ("approved", 2), ("asked", 2)]


class Killed(BaseException):
    """The process ends here."""


def approve_without_carrying_it_out(scene: Scene) -> None:
    """As a command that is killed between its two lines."""

    def killed(*_: object) -> str:
        raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(approval, "hand_over", killed)
        with pytest.raises(Killed):
            approve(scene)


@pytest.mark.parametrize("again", ["gate", "person"])
def test_an_approval_that_was_killed_is_carried_out_by_whoever_comes_next(asking: Scene, again: str) -> None:
    """The gate's next look, or the same command again; promoted once, in the person's name."""
    approve_without_carrying_it_out(asking)
    if again == "gate":
        (done,) = asking.look()
        assert done.startswith("Version 2 answers instead of 1")
    else:
        approve(asking)
    (promoted,) = asking.lines("promoted")
    assert promoted.cause == "ann"
    assert asking.told("asked", "approved") == [("asked", 2), ("approved", 2)]


def test_a_rollback_asks_nobody(asking: Scene) -> None:
    """Though another winner waits for its answer, the predecessor that wins under probation is back at once."""
    asking.ask()
    approve(asking)
    asking.look(v1=(0, 0), v3=(90, 10))
    asking.look(v1=(70, 15))
    assert asking.told("asked", "promoted", "rolled_back") == [
        ("asked", 2),
        ("promoted", 2),
        ("asked", 3),
        ("rolled_back", 2),
    ]
    assert asking.place.releases.board().champion == 1


def test_a_champion_is_given_time(scene: Scene) -> None:
    """Held back with the reason, then promoted by the same evidence; asking a person waits as long."""
    cooling = scene.ruled('cool_down = "1h"\n')
    assert cooling.look(v2=(90, 20)) == []
    (line,) = cooling.lines("verdict")
    assert line.numbers["decision"] == "ready"
    assert "good enough, but held back: the champion has answered for" in line.reason
    assert "gate.cool_down is 1h" in line.reason
    assert scene.ruled(f'cool_down = "1h"\n{PERSON}').look() == []
    (done,) = cooling.look(after_s=3_601)
    assert done.startswith("Version 2 answers instead of 1")
    assert [line.numbers["decision"] for line in cooling.lines("verdict")] == ["ready", "promote"]


def test_a_rollback_does_not_wait_for_the_champion_to_cool_down(scene: Scene) -> None:
    """It is a promotion that has to."""
    scene.look(v2=(90, 20))
    cooling = scene.ruled('cool_down = "1h"\n')
    (done,) = cooling.look(v1=(90, 20), v3=(95, 10))
    assert done.startswith("Version 1 answers instead of 2")
    assert cooling.lines()[-1].kind == "rolled_back"


def test_a_person_answers_on_prefects_own_page(asking: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A deployment of its own, without a schedule: no run waits and no lease is held until somebody runs it."""
    place = asking.place
    (tmp_path / "tiltyard.toml").write_text(CONFIG.format(name=place.name) + PERSON)
    for variable, value in (
        ("STATE", str(place.settings.state)),
        ("CONFIG", str(tmp_path / "tiltyard.toml")),
        ("MLFLOW_URL", place.settings.mlflow_url),
        ("REDIS_URL", "redis://127.0.0.1:{port}/0".format(**place.client.connection_pool.connection_kwargs)),
    ):
        monkeypatch.setenv(f"TILTYARD_{variable}", value)
    (made,) = deployments.of(config.load(tmp_path / "tiltyard.toml"), [approve_flow])
    assert (made.name, made.schedules) == (place.name, [])
    assert made.parameters == {"model": place.name}
    asked_for = made._parameter_openapi_schema.model_dump()
    assert asked_for["required"] == ["model", "version", "person", "reason"]
    assert "Prefect does not tell it" in json.dumps(asked_for)
    told = approve_flow.fn(place.name, 2, "ann", "Checked.")
    assert told.startswith("Version 2 answers instead of 1")
    assert asking.lines("approved")[0].cause == "ann (Prefect)"
    with pytest.raises(Stale, match="does not ask"):
        approve_flow.fn(place.name, 3, "ann", "Checked.", refuse=True)


@pytest.mark.parametrize("step", range(3))
def test_a_gate_that_asks_killed_anywhere_asks_once(scene: Scene, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Before its rules, the verdict or the request."""
    asking, real, done = scene.ruled(PERSON), Ledger.append, []

    def counted(*arguments, **named):
        if len(done) == step:
            raise Killed
        done.append(arguments[1])
        return real(*arguments, **named)

    asking.know(v2=(90, 20))
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "append", counted)
        with pytest.raises(Killed):
            asking.look()
    asking.look()
    asking.look()
    assert asking.told("policy", "verdict", "asked") == [("policy", None), ("verdict", 2), ("asked", 2)]
