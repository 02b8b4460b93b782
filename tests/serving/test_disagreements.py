"""Which questions a person is asked to label: those on which versions disagree, while a label still counts."""

import time
from collections.abc import Sequence

import msgspec
import pytest
import redis

from contracts import events
from contracts.config import parse
from contracts.events import Feedback, Prediction, Shadow
from contracts.quantities import seconds
from contracts.releases import Board, Releases
from contracts.streams import Streams
from serving import disagreements
from serving.disagreements import Queue
from tests.serving.harness import FRUIT, Server

FRUIT_TOML = """
[models.fruit]
features = { a = "float", b = "float" }
label = { task = "binary", classes = [false, true] }
learners.linear = { algorithm = "linear" }
"""
MODEL = parse(FRUIT_TOML).models["fruit"]
HORIZON_S = seconds(MODEL.label_horizon)
NO, YES = (0.9, 0.1), (0.1, 0.9)


@pytest.fixture
def kept(client: redis.Redis) -> Streams:
    Releases(client, "fruit").set_board(Board(1, (2, 3)))
    return Streams(client, "fruit")


def ask(
    kept: Streams,
    champion: tuple[float, ...],
    *challengers: tuple[float, ...],
    age_s: float = 0.0,
    row: Sequence[float] = (1.0, 2.0),
    by: int = 1,
) -> str:
    """A question that version `by` and, from 2 on, every challenger answered, as old as said. Returns its id."""
    at = round((time.time() - age_s) * 1000)
    prediction = Prediction(by, 0, champion, tuple(row), FRUIT.fingerprint)
    fields = {events.FIELD: events.encode(prediction)}
    id_: bytes = kept.client.xadd(kept.key("predictions"), fields, id=f"{at}-*")  # type: ignore[arg-type,assignment]
    shadow = Shadow({2 + i: (0, scores) for i, scores in enumerate(challengers)})
    kept.append_shadows([(id_.decode(), shadow)])
    return id_.decode()


def asked_for(kept: Streams, count: int = 10) -> Queue:
    return disagreements.queue(kept, MODEL, count, time.time())


def ids(queue: Queue) -> list[str]:
    return [one.prediction_id for one in queue.items]


def test_only_unlabelled_disagreements_are_asked_for(kept: Streams) -> None:
    """Where versions agree, a label decides nothing; where there is one, nobody is asked again."""
    ask(kept, YES, YES, YES)
    labelled, open_ = ask(kept, YES, NO, YES), ask(kept, YES, YES, NO)
    assert kept.add_feedback(Feedback(labelled, "true"), HORIZON_S)[0] == "accepted"
    queue = asked_for(kept)
    assert ids(queue) == [open_]
    assert (queue.waiting, queue.examined, queue.classes) == (1, 3, ("false", "true"))


def test_an_entry_tells_features_and_answers_and_who_said_what_apart(kept: Streams) -> None:
    """The answers stand in class order, whoever gave them."""
    ask(kept, YES, NO, YES, row=(0.5, -3.0))
    (one,) = asked_for(kept).items
    assert one.features == {"a": 0.5, "b": -3.0}
    assert one.answers == ("false", "true")
    assert one.said == {1: "true", 2: "false", 3: "true"}
    assert one.counts_until == pytest.approx(time.time() + 600, abs=2)


def test_those_come_first_where_most_challengers_differ_and_then_the_newest(kept: Streams) -> None:
    """Each label decides as many comparisons as there are challengers that differ; a new one waits longest."""
    both = ask(kept, YES, NO, NO, age_s=30)
    older, newer = ask(kept, YES, NO, YES, age_s=20), ask(kept, YES, YES, NO, age_s=10)
    assert ids(asked_for(kept)) == [both, newer, older]
    assert ids(asked_for(kept, count=2)) == [both, newer]


def test_what_has_matured_is_asked_for_last_and_says_so(kept: Streams) -> None:
    """Its label is learned and audited; it moves no evidence."""
    matured, waiting = ask(kept, YES, NO, NO, age_s=601), ask(kept, YES, YES, NO, age_s=5)
    queue = asked_for(kept)
    assert ids(queue) == [waiting, matured]
    assert queue.waiting == 1
    assert queue.items[1].counts_until is None


def test_what_the_learn_loop_calls_mature_has_matured(kept: Streams) -> None:
    """Its watermark is the streams' time, which may be ahead of this machine's."""
    ask(kept, YES, NO, NO)
    kept.client.hset(kept.key("facts"), "learn", msgspec.json.encode({"matured_through": events.span(time.time() + 9)}))
    assert asked_for(kept).items[0].counts_until is None


def test_former_champions_answers_are_no_disagreement(kept: Streams) -> None:
    """Nor is what was asked before the tenure, or by another schema, or is older than labels are taken."""
    other = Prediction(1, 0, YES, (1.0, 2.0), "another")
    ask(kept, YES, NO, NO, age_s=HORIZON_S + 60)
    before = ask(kept, YES, NO, NO, age_s=9)
    ask(kept, YES, NO, NO, by=7)
    id_ = kept.append(other)
    kept.append_shadows([(id_, Shadow({2: (0, NO)}))])
    Releases(kept.client, "fruit").set_board(Board(1, (2, 3), since=before))
    assert asked_for(kept).items == ()


def test_unreadable_entries_are_passed_over(kept: Streams) -> None:
    """Somebody else buries them."""
    good = ask(kept, YES, NO, NO, age_s=1)
    bad: dict[bytes, bytes] = {b"e": b"\xff"}
    id_: bytes = kept.client.xadd(kept.key("predictions"), bad)  # type: ignore[arg-type,assignment]
    kept.client.xadd(kept.key("shadows"), bad, id=id_.decode())  # type: ignore[arg-type]
    assert ids(asked_for(kept)) == [good]


def test_many_questions_are_looked_through_and_no_more_than_many(kept: Streams) -> None:
    """A disagreement behind pages of agreement is found; behind too many it is not looked for."""
    rare = ask(kept, YES, NO, NO, age_s=500)
    for _ in range(3 * disagreements.PAGE):
        ask(kept, YES, YES, YES)
    queue = asked_for(kept)
    assert ids(queue) == [rare]
    assert queue.examined == 3 * disagreements.PAGE + 1


def test_the_newest_label_stands_beside_an_example(kept: Streams) -> None:
    """Labels of one or of many; where labels are votes, without the name of who gave it."""
    first, second, third = (ask(kept, YES, NO, YES, age_s=3 - i) for i in range(3))
    kept.add_feedback(Feedback(first, "true"), HORIZON_S)
    kept.add_feedback(Feedback(first, "false"), HORIZON_S)
    kept.add_feedback(Feedback(second, "true", reporter="ada b"), HORIZON_S, "majority")
    found = disagreements.lately(kept, MODEL, time.time()).found
    assert [(one.id, one.label) for one in found] == [(third, None), (second, "true"), (first, "false")]


def test_examples_of_values_are_those_farthest_apart(client: redis.Redis) -> None:
    """Two values always differ, if only a little; and nobody is asked to label them first."""
    model = parse('[models.price]\nfeatures = {size = "float"}\nlabel = {task = "regression"}\n'
                  'learners.linear = {algorithm = "linear"}').models["price"]  # fmt: skip
    kept = Streams(client, "price")
    for i, other in enumerate((10.0, 25.0, 10.6)):
        id_ = kept.append(Prediction(1, 0, (10.5,), (float(i),), model.schema.fingerprint))
        kept.append_shadows([(id_, Shadow({2: (0, (other,))}))])
        kept.add_feedback(Feedback(id_, 12.5 + i), HORIZON_S)
    Releases(client, "price").set_board(Board(1, (2,)))
    found = disagreements.lately(kept, model, time.time()).found
    assert [one.answers[2] for one in found] == [25.0, 10.0, 10.6]
    assert [one.label for one in found] == [13.5, 12.5, 14.5]
    with pytest.raises(ValueError, match="every label counts alike"):
        disagreements.queue(kept, model, 1, time.time())


def test_the_queue_is_asked_for_over_http(server: Server, client: redis.Redis) -> None:
    """As JSON; with a reason where there is none, and with the nearest name for an unknown model."""
    kept = Streams(client, "fruit")
    Releases(client, "fruit").set_board(Board(1, (2,)))
    newest = [ask(kept, YES, NO, age_s=i) for i in (3, 2, 1)][::-1]
    status, queue = server.ask("GET", "/models/fruit/ask-labels?count=2")
    assert status == 200
    assert [one["prediction_id"] for one in queue["items"]] == newest[:2]
    assert (queue["model"], queue["waiting"], queue["champion"]) == ("fruit", 3, 1)
    status, told = server.ask("GET", "/models/price/ask-labels")
    assert (status, "every label counts alike" in told["error"]["reason"]) == (422, True)
    assert server.ask("GET", "/models/fruit/ask-labels?count=0")[0] == 422
    assert "did you mean" in server.ask("GET", "/models/frui/ask-labels")[1]["error"]["reason"]
