"""Since which revision a label or a correction counts: what is said of it is true of the revision that is named."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from contracts import events
from contracts.events import Feedback, Prediction, Shadow
from contracts.journal import Amendment, Example, Journal
from contracts.releases import Board
from flows.aside import Inline
from flows.place import Place
from flows.trainer import Trainer
from learners.catalogue import build_online
from serving import feedback
from serving.live import Live
from tests.flows.world import CHAMPION, CONFIG, Learning, place_in, question

ONE = CONFIG.replace("tree = {algorithm", "# tree = {algorithm")
FEEDBACK_HORIZON_S = 600.0


@pytest.fixture
def place(tmp_path: Path, client: redis.Redis) -> Place:
    """One online learner; corrections wait a second for others."""
    found = place_in(tmp_path, client, ONE.replace('correct_every = "0s"', 'correct_every = "1s"'))
    found.releases.set_board(Board(champion=CHAMPION))
    return found


@contextlib.contextmanager
def learning(place: Place) -> Iterator[Learning]:
    """A loop and a trainer whose version answers, which save and publish as often as they can."""
    with contextlib.closing(Learning(place)) as at_work:
        at_work.loop.save_every_s = 0.0
        quick(at_work.trainers["linear"])
        yield at_work


def quick(trainer: Trainer) -> Trainer:
    trainer.state.version = CHAMPION
    trainer.save_every_s = trainer.tell_every_s = 0.0
    trainer.save_share = 1.0
    return trainer


def ask(place: Place, n: int) -> str:
    asked = question(n)
    id_ = place.streams.append(Prediction(CHAMPION, 0, (0.3, 0.7), asked.row, place.schema.fingerprint))
    place.streams.append_shadows([(id_, Shadow())])
    return id_


def give(place: Place, prediction: str, label: str) -> str:
    """As serving takes a label."""
    _, id_ = place.streams.add_feedback(Feedback(prediction, label), FEEDBACK_HORIZON_S)
    return id_


def until(step: Callable[[], object], condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 20 s"
        step()


def since(place: Place, id_: str) -> int | None:
    """As `GET /models/m/feedback/ID` says it of the version that answers."""
    told = feedback.status(place.client, [Live("m", place.model)], id_)
    return next((one["since_revision"] for one in told.get("learned_by", []) if one["version"] == CHAMPION), None)


def learned(place: Place) -> int:
    """Labels in the revision that is public."""
    manifest = place.releases.manifest(CHAMPION)
    return 0 if manifest is None else manifest.learned


def test_a_correction_counts_since_the_first_revision_after_its_replay(place: Place) -> None:
    """Not since those that were published while it waited, and although no label comes after it."""
    asked = [ask(place, n) for n in range(3)]
    with learning(place) as at_work:
        first = give(place, asked[0], "true")
        until(at_work.step, lambda: since(place, first))
        began = since(place, first)
        correction, later = give(place, asked[0], "false"), give(place, asked[1], "true")
        until(at_work.step, lambda: learned(place) == 2)
        waited = place.releases.revisions()[CHAMPION]
        assert since(place, correction) is None
        until(at_work.step, lambda: since(place, correction))
        relearned = since(place, correction)
        assert began is not None
        assert relearned is not None
        assert began < waited < relearned
        assert since(place, first) == began
        assert since(place, later) == relearned, "what came after it is not told before it"
        by_hand = build_online(place.model.learners["linear"], place.schema)
        by_hand.learn_one(question(0).row, "false")
        by_hand.learn_one(question(1).row, "true")
        assert at_work.learner().state_hash() == by_hand.state_hash()


def test_a_correction_that_changes_nothing_counts_at_once(tmp_path: Path, client: redis.Redis) -> None:
    """Where the first label counts, a second one is part of the revision that has learned the first."""
    place = place_in(tmp_path, client, ONE.replace("[models.m.labels]", '[models.m.labels]\ncombine = "first"'))
    place.releases.set_board(Board(champion=CHAMPION))
    asked = ask(place, 0)
    with learning(place) as at_work:
        first = give(place, asked, "true")
        until(at_work.step, lambda: since(place, first))
        second = give(place, asked, "false")
        until(at_work.step, lambda: since(place, second))
        assert since(place, second) == since(place, first)
        assert learned(place) == 1


def test_a_trainer_that_is_behind_does_not_claim_labels_before_a_correction(place: Place) -> None:
    """It knows of a correction that lies ahead long before it has learned up to there."""
    with contextlib.closing(Journal(place.journal_folder)) as journal:
        for at in (10, 20, 30):
            journal.append([Example(at, at, "true", question(at).row)])
        journal.amend([Amendment(30, 30, "false", 40)])
    trainer = quick(Trainer(place, "linear", Inline))
    trainer.step()
    assert learned(place) == 1
    assert [place.streams.revision_since(CHAMPION, events.offset_id(at)) for at in (10, 20, 30)] == [1, None, None]
    until(trainer.step, lambda: learned(place) == 3)
    assert place.streams.revision_since(CHAMPION, events.offset_id(20)) is not None
    assert place.streams.revision_since(CHAMPION, events.offset_id(40)) is None
    trainer.close()


def test_a_trainer_that_looks_between_two_writes_claims_no_correction(place: Place) -> None:
    """The loop writes examples and amendments in two files; the trainer publishes after each of them."""
    with learning(place) as at_work:
        trainer, journal = at_work.trainers["linear"], at_work.loop.journal
        append, amend = journal.append, journal.amend
        corrected: list[str] = []

        def look() -> None:
            for _ in range(3):
                trainer.step()
            for id_ in corrected:
                assert place.streams.revision_since(CHAMPION, id_) is None

        def append_and_look(examples: Any) -> None:
            append(examples)
            look()

        def amend_and_look(amendments: Any) -> None:
            amend(amendments)
            look()

        asked = [ask(place, n) for n in range(4)]
        first = give(place, asked[0], "true")
        until(at_work.step, lambda: since(place, first))
        journal.append, journal.amend = append_and_look, amend_and_look  # type: ignore[method-assign]
        before = give(place, asked[1], "true")
        corrected.append(give(place, asked[0], "false"))
        give(place, asked[2], "true")
        at_work.loop.step(block_ms=1)
        journal.append, journal.amend = append, amend  # type: ignore[method-assign]
        until(at_work.step, lambda: since(place, corrected[0]))
        assert since(place, before) is not None
