"""What a person says to a request: taken where there is one, and refused with the field and the reason elsewhere."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
import redis

from contracts import approvals
from contracts.approvals import Approval, Requests
from contracts.releases import Board, Releases
from contracts.streams import Streams
from serving.page_facts import DECISIONS_READ
from tests.serving import scene
from tests.serving.harness import Server, until

YES: dict[str, Any] = {"version": 2, "person": "Ada", "reason": "Checked with the branch."}
ASKED = 60


@pytest.fixture
def ledger(server: Server, client: redis.Redis) -> scene.Lines:
    """Of `fruit`, where version 2 has won and asks by line 60; a server whose Redis was emptied before."""
    Releases(client, "fruit").set_board(Board(1, (2, 3)))
    lines = scene.Lines("fruit", client, seq=ASKED)
    lines.write(
        time.time(), "asked", 2, "Version 2 asks to answer instead of 1: 2.0 points fewer.", numbers={"over": 1}
    )
    return lines


@pytest.fixture
def kept(client: redis.Redis) -> Streams:
    return Streams(client, "fruit")


def say(server: Server, body: Any, model: str = "fruit", **headers: str) -> tuple[int, Any]:
    """Status and answer, as a program gets them; a header's name has _ for -."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(f"http://127.0.0.1:{server.port}/models/{model}/approvals", data, named)
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]


def page(server: Server, part: str) -> str:
    """The words of the page, once they have a part."""
    return str(until(lambda: told if part in (told := scene.words(server.ask("GET", "/")[1])) else "", 5))


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("refuse", [False, True])
def test_an_answer_is_taken_with_a_receipt_and_lies_on_the_stream(server: Server, kept: Streams, refuse: bool) -> None:
    """With the line that asked, so that it answers no other request; blanks and line breaks are single blanks."""
    status, receipt = say(server, YES | {"person": " Ada  L.\n", "reason": "Checked\nwith it.", "refuse": refuse})
    assert (status, receipt["status"]) == (202, "taken")
    assert approvals.given(kept) == {receipt["approval_id"]: Approval(2, ASKED, "Ada L.", "Checked with it.", refuse)}


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"person": " \n"}, "person"),
        ({"person": "A" * 81}, "person"),
        ({"person": "Ada\u001b[2J"}, "person"),
        ({"reason": ""}, "reason"),
        ({"reason": 7}, "reason"),
        ({"version": "2"}, "version"),
        ({"version": True}, "version"),
        ({"refuse": "no"}, "refuse"),
        ({"approve": True}, "approve"),
    ],
)
def test_a_wrong_field_is_named(server: Server, kept: Streams, wrong: dict[str, Any], field: str) -> None:
    """Empty, too long, of a wrong type, unknown, or not fit for a terminal."""
    status, error = say(server, YES | wrong)
    assert (status, error.get("field", error["reason"])) == (422, field)
    assert approvals.given(kept) == {}


def test_what_is_no_answer_at_all_is_refused(server: Server) -> None:
    """No JSON, nothing, too much, and a model that is not there."""
    assert say(server, b"{")[0] == 400
    assert say(server, b"") == (400, {"reason": "the body is empty"})
    assert say(server, b" " * 20_000)[0] == 413
    status, error = say(server, YES, model="frui")
    assert (status, 'did you mean "fruit"?' in error["reason"]) == (404, True)


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "same-origin", "content_type": "application/json; charset=utf-8"}, 202),
    ],
)
def test_another_sites_page_cannot_answer(server: Server, kept: Streams, headers: dict[str, str], status: int) -> None:
    """What a browser sends to a stranger without asking is no JSON, or says where it comes from."""
    assert say(server, YES, **headers)[0] == status
    assert len(approvals.given(kept)) == (status == 202)


def test_what_does_not_ask_is_not_answered(server: Server, ledger: scene.Lines, kept: Streams) -> None:
    """404 where it never did; 409 where it was answered, its verdict has changed, or it has asked anew since."""
    assert say(server, YES | {"version": 3}) == (404, {"field": "version", "reason": "version 3 does not ask"})
    now = time.time()
    for kind in ("verdict", "asked", "declined"):
        ledger.write(now, kind, 2, "As it is.")
        if kind == "asked":
            status, error = say(server, YES | {"asked": ASKED})
            assert (status, error["field"]) == (409, "asked")
            assert "has asked anew since (ledger line 62)" in error["reason"]
        else:
            assert say(server, YES)[0] == 409
    ledger.write(now, "asked", 2, "Again.", numbers={"over": 1})
    ledger.write(now, "promoted", 3, "It has won.", Board(3, (2, 1), 1))
    ledger.write(now, "enrolled", 4, "It joins.", Board(3, (2, 1, 4), 1))
    Releases(kept.client, "fruit").set_board(Board(3, (2, 1, 4), 1))
    assert say(server, YES)[0] == 409
    assert approvals.given(kept) == {}


@pytest.mark.usefixtures("ledger")
def test_while_one_answer_is_carried_out_there_is_no_second(server: Server, kept: Streams) -> None:
    """Whoever was first is named, until it is done or turned out to be impossible."""
    say(server, YES)
    status, error = say(server, YES | {"person": "Bob", "refuse": True})
    assert status == 409
    assert error["reason"].startswith("Ada let it answer 0 s ago")
    approvals.done(kept, next(iter(approvals.given(kept))))
    assert say(server, YES)[0] == 202


def test_a_request_is_known_however_much_has_happened_since(server: Server, ledger: scene.Lines, kept: Streams) -> None:
    """The page reads the newest lines only; what waits is published by the gate, and lines since then are newer."""
    kept.set_fact("requests", Requests(tuple(ledger.written)))
    for i in range(DECISIONS_READ):
        ledger.write(time.time(), "corrected", None, f"{i} corrections.")
    assert "Version 2 (?) waits for your answer" in page(server, "waits for your answer")
    assert say(server, YES)[0] == 202
    ledger.write(time.time(), "declined", 2, "Not wanted.")
    assert say(server, YES)[0] == 409


@pytest.mark.usefixtures("ledger")
def test_nothing_is_called_taken_while_redis_is_away(server: Server, client: redis.Redis, kept: Streams) -> None:
    """It is to be sent again."""
    with scene.hanging(client):
        status, error = say(server, YES)
    assert (status, "the answer was not taken" in error["reason"]) == (503, True)
    assert approvals.given(kept) == {}


def test_the_page_tells_what_was_said_and_what_became_of_it(server: Server, ledger: scene.Lines, kept: Streams) -> None:
    """In place of the form; then that it was done, or why it could not be; of long ago, only the ledger's line."""
    assert "Let it answer Refuse" in page(server, "Version 2 asks to answer instead of 1: 2.0 points fewer.")
    say(server, YES)
    told = page(server, "has its answer")
    assert "Checked with the branch. It is being carried out." in told
    assert "Let it answer" not in told
    (id_,) = approvals.given(kept)
    approvals.done(kept, id_)
    approvals.give(kept, Approval(2, ASKED, "Ada", "Really <b>checked</b>.", refuse=True))
    late: Any = kept.client.xrange(kept.key("approvals"))[0]  # type: ignore[index]
    kept.client.delete(kept.key("approvals"))
    kept.client.xadd(kept.key("approvals"), late[1], id=f"{int(1000 * time.time()) - 90_000}-0")
    told = page(server, "Not carried out yet: do the flows run?")
    assert "Ada refused it at" in told
    assert "Really <b>checked</b>." in told
    kept.client.delete(kept.key("approvals"))
    undone = "No to version 2 was not carried out: it has asked anew since."
    ledger.write(time.time() - 700, "declined", 2, "Not wanted.", numbers={"asked": 3}, cause="Bob (page)")
    ledger.write(time.time(), "refused", 2, undone, numbers={"asked": ASKED}, cause="Ada (page)")
    told = page(server, f"Ada (page): {undone}")
    assert "Bob (page): Not wanted." not in told
    assert "Not wanted." in told
