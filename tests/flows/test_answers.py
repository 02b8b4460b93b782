"""What a person said on the page is done by the gate's next run: once, however often it is killed, or told why not."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from contracts import approvals
from contracts.approvals import Approval, Requests
from contracts.lease import LeaseTaken, held
from flows import approval
from flows.approval import AGAIN_S, LOOK_S, Waiting, carry_out
from registry.ledger import Ledger
from tests.flows.gate_scene import Scene
from tests.flows.test_approval import Killed

SAID = "Checked with the branch."


def say(scene: Scene, refuse: bool = False, version: int = 2) -> str:
    """As serving takes it, of the newest request; returns its id."""
    asked = [line for line in scene.lines("asked") if line.version == version][-1].seq
    return approvals.give(scene.place.streams, Approval(version, asked, "ann", SAID, refuse))


def open_answers(scene: Scene) -> list[str]:
    return list(approvals.given(scene.place.streams))


def test_a_yes_is_carried_out_in_the_persons_name(asking: Scene) -> None:
    """Promoted, and the answer is off its stream; the next run finds nothing to do."""
    say(asking)
    (done,) = carry_out(asking.place)
    assert done.startswith("Version 2 answers instead of 1")
    assert open_answers(asking) == []
    approved, promoted = asking.lines("approved", "promoted")
    assert approved.cause == promoted.cause == "ann (page)"
    assert approved.reason == f"Version 2 may answer instead of 1. {SAID}"
    assert carry_out(asking.place) == []
    assert asking.place.releases.board().champion == 2


def test_a_no_is_entered_and_nobody_is_asked_again(asking: Scene) -> None:
    """As the command's refusal."""
    say(asking, refuse=True)
    (done,) = carry_out(asking.place)
    assert done.startswith("Version 2 is refused as long as 1 answers")
    (line,) = asking.lines("declined")
    assert (line.cause, line.numbers["said"]) == ("ann (page)", SAID)
    asking.look()
    assert (open_answers(asking), asking.told("asked")) == ([], [("asked", 2)])


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        ({"v2": (90, 80)}, 'version 2 cannot be approved, its verdict is "continue" by now: So far 1.0 points fewer'),
        ({"v2": (95, 20)}, "version 2 has asked anew since, on other evidence"),
        (None, 'version 2 cannot be approved, its verdict is "ready" by now: 7.0 points fewer'),
    ],
    ids=["changed", "asked anew", "refused by another"],
)
def test_a_yes_that_comes_too_late_says_why(
    asking: Scene,
    meanwhile: dict[str, tuple[int, int]] | None,
    why: str,
) -> None:
    """A line of the ledger in the person's name; nothing is promoted, and it is not tried again."""
    say(asking)
    if meanwhile is None:
        approval.refuse(asking.place, 2, "bob", "Not before Christmas.")
    elif meanwhile == {"v2": (95, 20)}:
        asking.look(v2=(90, 80))
        asking.look(**meanwhile)
    else:
        asking.know(**meanwhile)
    (told,) = carry_out(asking.place)
    assert told.startswith(f"Yes to version 2 was not carried out: {why}")
    (line,) = asking.lines("refused")
    assert (line.cause, line.version, line.reason, line.numbers["said"]) == ("ann (page)", 2, told, SAID)
    assert line.numbers["asked"] == asking.lines("asked")[0].seq
    assert (carry_out(asking.place), open_answers(asking)) == ([], [])
    assert asking.told("promoted") == []


def test_of_two_answers_the_first_is_done(asking: Scene) -> None:
    """As when two people press at the same moment."""
    say(asking)
    say(asking, refuse=True)
    say(asking)
    _, second, third = carry_out(asking.place)
    assert second.startswith("No to version 2 was not carried out: version 2 does not ask for approval")
    assert third == "What ann (page) said of version 2 had been done before."
    assert asking.told("approved", "promoted", "declined", "refused") == [
        ("approved", 2), ("promoted", 2), ("refused", 2),
    ]  # fmt: skip


def test_an_answer_waits_while_another_run_decides(asking: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays on its stream for the next one."""
    say(asking)
    monkeypatch.setattr(approval, "WAIT_S", 0.1)
    with held(asking.place.client, asking.place.name, "promote"), pytest.raises(LeaseTaken):
        carry_out(asking.place)
    assert len(open_answers(asking)) == 1
    assert carry_out(asking.place)[0].startswith("Version 2 answers")


@pytest.mark.parametrize("refuse", [False, True], ids=["yes", "no"])
def test_killed_anywhere_it_comes_to_the_same_end(
    asking: Scene,
    monkeypatch: pytest.MonkeyPatch,
    refuse: bool,
) -> None:
    """Before each line, or before it is taken off its stream; the next run does it again."""
    say(asking, refuse)
    real_append, real_done, allowed = Ledger.append, approvals.done, 0

    def mortal(real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal allowed
            if allowed == 0:
                raise Killed
            allowed -= 1
            return real(*arguments, **named)

        return counted

    deaths = 0
    for step in range(9):
        allowed = step
        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "append", mortal(real_append))
            patched.setattr(approvals, "done", mortal(real_done))
            try:
                carry_out(asking.place)
                break
            except Killed:
                deaths += 1
                assert len(open_answers(asking)) == 1
    assert deaths >= 2
    ends = [("declined", 2)] if refuse else [("approved", 2), ("promoted", 2)]
    assert asking.told("approved", "promoted", "declined", "refused") == ends
    assert open_answers(asking) == []


def test_what_was_done_before_a_kill_is_not_called_impossible_after_it(asking: Scene) -> None:
    """Though the version was rolled back in between."""
    id_ = say(asking)
    said = approvals.given(asking.place.streams)[id_]
    carry_out(asking.place)
    approvals.give(asking.place.streams, said)
    asking.place.roles.roll_back(2, "It fails.", cause="guard")
    assert carry_out(asking.place) == ["What ann (page) said of version 2 had been done before."]
    assert asking.told("refused") == []
    assert asking.place.releases.board().champion == 1


def test_what_waits_is_published_until_it_is_answered(asking: Scene) -> None:
    """For the page, whose stream of lines forgets old ones."""
    approval.show(asking.place)
    fact = asking.place.streams.fact("requests", Requests)
    assert fact is not None
    assert list(fact.lines) == asking.lines("asked")
    say(asking, refuse=True)
    carry_out(asking.place)
    approval.show(asking.place)
    assert asking.place.streams.fact("requests", Requests) == Requests()


def test_the_learn_run_asks_at_once_for_each_answer_and_again_while_it_waits(
    client: redis.Redis,
    asking: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And for none where there is none, or while Redis is away."""
    waiting, now = Waiting(asking.place), 1_000.0
    assert not waiting.is_due(now)
    say(asking)
    assert not waiting.is_due(now + LOOK_S / 2)
    assert waiting.is_due(now + LOOK_S)
    assert not waiting.is_due(now + 2 * LOOK_S)
    say(asking, refuse=True)
    assert waiting.is_due(now + 3 * LOOK_S)
    assert not waiting.is_due(now + 3 * LOOK_S + AGAIN_S - 0.1)
    assert waiting.is_due(now + 4 * LOOK_S + AGAIN_S)
    with monkeypatch.context() as patched:

        def away(*_: object, **__: object) -> None:
            raise redis.ConnectionError

        patched.setattr(client.connection_pool, "get_connection", away)
        assert not waiting.is_due(now + 5 * AGAIN_S)
    carry_out(asking.place)
    assert not waiting.is_due(now + 9 * AGAIN_S)
