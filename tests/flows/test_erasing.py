"""Erasing an entity: nothing of it is left in any file, and learners are as if its labels had never come."""

import multiprocessing
import random
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import redis

from contracts import events, forgetting, journal, streams
from contracts.events import Feedback, Prediction, Shadow
from contracts.facts import LearnerFacts
from contracts.forgetting import Outcome, Request
from contracts.releases import Board
from flows import checkpoint, corrections, erasing
from flows.aside import Inline
from flows.learning import Loop
from flows.place import Place
from flows.trainer import Trainer
from tests.flows.test_corrections import Slow
from tests.flows.world import CHALLENGER, CHAMPION, CONFIG, START_MS, STEP_MS, Learning, place_in, question

ANN, BOB = "a" * 32, "b" * 32
SECRET, NUMBER = "9f3c-so-secret-9f3c", 0.1357924680135
COMMENT = "7b1d-told-in-confidence-7b1d"
TRACES = (
    SECRET.encode(),
    struct.pack("<d", NUMBER),
    struct.pack(">d", NUMBER),
    repr(NUMBER).encode(),
    COMMENT.encode(),
)
QUESTIONS = 400
CONTEXT = multiprocessing.get_context("forkserver")


def is_anns(n: int) -> bool:
    return n % 7 == 3


def fill(place: Place, labels_of_ann: bool = True, ann: str = ANN) -> None:
    """Every seventh question is about Ann, with values that nobody else has; some labels are corrected, hers too."""
    pipeline, schema = place.client.pipeline(transaction=False), place.schema.fingerprint
    later: list[tuple[int, int, str, Any]] = []
    for n in range(QUESTIONS):
        asked, anns = question(n), is_anns(n)
        row = (NUMBER, SECRET) if anns else asked.row
        prediction = Prediction(CHAMPION, 0, (0.4, 0.6), row, schema, ann if anns else BOB)
        pipeline.xadd(place.streams.key("predictions"), {"e": events.encode(prediction)}, id=asked.id)
        shadow = Shadow({CHALLENGER: (0, (0.8, 0.2))})
        pipeline.xadd(place.streams.key("shadows"), {"e": events.encode(shadow)}, id=asked.id)
        if anns and not labels_of_ann:
            continue
        at = START_MS + (n + 50) * STEP_MS
        first = f"{at}-{n}"
        comment = COMMENT if anns else None
        given = events.encode(Feedback(asked.id, asked.label, comment=comment))
        later.append((at, n, first, {"e": given}))
        if n % 5 == 0:
            other = "false" if asked.label == "true" else "true"
            after = at + (700 if n % 2 else 9_000)
            given = events.encode(Feedback(asked.id, other, "ann", comment))
            later.append((after, n, f"{after}-{n}", {"e": given, "f": first}))
    for _, _, id_, fields in sorted(later, key=lambda one: one[:2]):
        pipeline.xadd(place.streams.key("feedback"), fields, id=id_)
    pipeline.execute()
    place.releases.set_board(Board(champion=CHAMPION, challengers=(CHALLENGER,)))


@pytest.fixture
def place(tmp_path: Path, client: redis.Redis) -> Place:
    return place_in(tmp_path / "erased", client)


@pytest.fixture
def open_() -> Iterator[Callable[[Place], Learning]]:
    """What is opened with it is closed after the test."""
    with ExitStack() as stack:
        yield lambda place: stack.enter_context(closing(eager(Learning(place))))


def eager(learning: Learning) -> Learning:
    """It saves, writes and looks for requests at every step."""
    learning.loop.save_every_s = learning.loop.write_every_s = learning.loop.write_at = 0.0
    for trainer in learning.trainers.values():
        trainer.save_every_s = trainer.behind_every_s = 0.0
        trainer.save_share = 1.0
    return learning


def request(place: Place, entity: str = ANN) -> str:
    """What the command does before it waits."""
    ids = forgetting.ids_of(place.streams, entity)
    offsets = {events.offset(id_) for id_ in ids} | set(place.log.offsets_of(entity))
    forgetting.erase(place.streams, [events.offset_id(at) for at in offsets])
    return forgetting.ask(place.streams, Request(entity, tuple(sorted(offsets))))


def finish(learning: Learning) -> None:
    """Until the request is done, and every learner has stored what it is without what was erased."""
    deadline = time.monotonic() + 60
    while not is_finished(learning):
        learning.step()
        assert time.monotonic() < deadline


def is_finished(learning: Learning) -> bool:
    amendments = learning.loop.journal.amendments
    last = max((n for n, one in enumerate(amendments, 1) if one.label is None), default=0)
    is_done = not forgetting.asked(learning.loop.streams)
    return is_done and all(trainer.corrections.purged >= last for trainer in learning.trainers.values())


def holding(folder: Path) -> set[str]:
    """Files that hold anything of Ann's rows and labels."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)) for path in files if any(trace in path.read_bytes() for trace in TRACES)}


def hashes(learning: Learning) -> dict[str, str]:
    return {name: trainer.state.learner.state_hash() for name, trainer in learning.trainers.items()}


def hashes_without_ann(folder: Path, client: redis.Redis) -> dict[str, str]:
    """Learned from the same history, had nobody ever said how it was with Ann."""
    client.flushall()
    never = place_in(folder / "never", client)
    fill(never, labels_of_ann=False)
    with closing(eager(Learning(never))) as learning:
        learning.drain()
        while any(trainer.is_behind() for trainer in learning.trainers.values()):
            learning.step()
        return hashes(learning)


def erased(place: Place, open_: Callable[[Place], Learning]) -> Learning:
    """Everything learned, then Ann erased."""
    fill(place)
    learning = open_(place)
    learning.drain()
    assert holding(place.settings.state)
    request(place)
    finish(learning)
    return learning


def test_learners_are_as_if_her_labels_had_never_come(
    place: Place, open_: Callable[[Place], Learning], tmp_path: Path, client: redis.Redis
) -> None:
    """State hashes equal those of a run without them, corrections and all; those with them were others."""
    fill(place)
    learning = open_(place)
    learning.drain()
    before = hashes(learning)
    request(place)
    finish(learning)
    after = hashes(learning)
    assert all(after[name] != before[name] for name in after)
    for name, state_hash in after.items():
        stored: Any = checkpoint.load(place.checkpoint_folder / "learners" / name)
        assert stored.learner.state_hash() == state_hash
    assert hashes_without_ann(tmp_path, client) == after


def test_no_file_holds_anything_of_her(place: Place, open_: Callable[[Place], Learning]) -> None:
    """Neither table, journal, checkpoint nor snapshot; and nothing of the streams, and nothing of others is missing."""
    fill(place)
    learning = open_(place)
    learning.drain()
    parts = {Path(name).parts[0] for name in holding(place.settings.state)}
    assert parts >= {"log", "journal", "checkpoints"}
    request(place)
    finish(learning)
    assert holding(place.settings.state) == set()
    asked_by_ann = {events.offset(question(n).id) for n in range(QUESTIONS) if is_anns(n)}
    assert not asked_by_ann & set(learning.loop.join.waiting)
    assert not forgetting.ids_of(place.streams, ANN)
    assert not place.log.offsets_of(ANN)
    assert not asked_by_ann & set(place.log.rows("labels")["prediction_offset"].to_pylist())
    assert len(place.log.offsets_of(BOB)) == QUESTIONS - len(asked_by_ann)
    kept = list(journal.read(place.journal_folder))
    assert {one.prediction for one in kept if one.row is None} == asked_by_ann
    assert {one.prediction for one in kept if one.row is not None}.isdisjoint(asked_by_ann)


def test_the_outcome_counts_what_went(place: Place, open_: Callable[[Place], Learning]) -> None:
    """For the receipt; and the request is off the stream, so that it is not done again."""
    learning = erased(place, open_)
    found = forgetting.outcome_of(place.streams, ANN)
    anns = sum(is_anns(n) for n in range(QUESTIONS))
    assert found is not None
    assert (found.predictions, found.logged, found.examples) == (anns, anns, anns)
    assert found.labels == anns + sum(is_anns(n) and n % 5 == 0 for n in range(QUESTIONS))
    assert found.amendments == len(learning.loop.journal.amendments)
    assert forgetting.asked(place.streams) == {}
    facts = place.streams.facts_of("learner", LearnerFacts)
    for trainer in learning.trainers.values():
        trainer._tell(0.0)
    facts = place.streams.facts_of("learner", LearnerFacts)
    assert all(one.purged >= found.amendments for one in facts.values())


def test_versions_that_were_made_of_it_are_named(place: Place, open_: Callable[[Place], Learning]) -> None:
    """Batch versions whose window has one of the predictions, online ones registered after the first of the labels."""
    fill(place)
    ledger, hers = place.roles.ledger, [n for n in range(QUESTIONS) if is_anns(n)]

    def enrolled(version: int, at: float, window: tuple[int, int] | None) -> None:
        first, last = (events.offset(question(n).id) for n in window or (0, 0))
        numbers = {"training_set": {"first_offset": first, "last_offset": last}} if window else {}
        ledger.append("enrolled", version, "joins", cause="test", numbers=numbers, now=at)

    learned_s = START_MS / 1000 + (hers[0] + 50) * STEP_MS / 1000
    enrolled(1, learned_s - 0.005, None)
    enrolled(2, learned_s + 0.005, None)
    enrolled(3, learned_s + 9, (hers[0] + 1, hers[1] - 1))
    enrolled(4, learned_s + 9, (hers[1], hers[1]))
    ledger.append("retired", 5, "leaves", cause="test", now=learned_s + 9)
    learning = open_(place)
    learning.drain()
    request(place)
    finish(learning)
    found = forgetting.outcome_of(place.streams, ANN)
    assert found is not None
    assert found.versions == (2, 4)


class Killed(Exception):
    """Stands for the end of the process."""


STAGES = (
    ("flows.erasing.forgetting.erase", True),
    ("contracts.log.Log.erase", False),
    ("contracts.log.Log.erase", True),
    ("contracts.journal._erase", True),
    ("contracts.journal.Journal._replace_amendments", False),
    ("contracts.journal.Journal.erase", True),
    ("flows.learning.erasing.tell", False),
)


@pytest.mark.parametrize(("where", "after"), STAGES)
def test_an_erasure_that_dies_at_any_stage_is_done_again(
    place: Place, open_: Callable[[Place], Learning], monkeypatch: pytest.MonkeyPatch, where: str, after: bool
) -> None:
    """The next learn run finds the request still there, and comes to the same end."""
    fill(place)
    first = eager(Learning(place))
    first.drain()
    request(place)
    module, _, name = where.rpartition(".")
    target = _named(module)
    real = getattr(target, name)

    def dies(*arguments: Any, **named: Any) -> None:
        if after:
            real(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, name, dies)
        with pytest.raises(Killed):
            finish(first)
    first.loop.journal.close()
    for trainer in first.trainers.values():
        trainer.close()
    second = open_(place)
    finish(second)
    found = forgetting.outcome_of(place.streams, ANN)
    assert found is not None
    assert found.examples == sum(is_anns(n) for n in range(QUESTIONS))
    assert holding(place.settings.state) == set()
    assert all(one.row is None or not is_anns_row(one.row) for one in journal.read(place.journal_folder))


def is_anns_row(row: tuple[Any, ...]) -> bool:
    return row == (NUMBER, SECRET)


def _named(path: str) -> Any:
    import importlib

    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        home, _, name = path.rpartition(".")
        return getattr(_named(home), name)


def test_an_erasure_is_repeated_without_harm(place: Place, open_: Callable[[Place], Learning]) -> None:
    """Once more finds nothing, rewinds nobody, and adds nothing to what was counted."""
    learning = erased(place, open_)
    before, first = hashes(learning), forgetting.outcome_of(place.streams, ANN)
    forgetting.ask(place.streams, Request(ANN, tuple(events.offset(question(n).id) for n in (3, 10))))
    amendments = len(learning.loop.journal.amendments)
    finish(learning)
    second = forgetting.outcome_of(place.streams, ANN)
    assert first is not None
    assert second is not None
    assert len(learning.loop.journal.amendments) == amendments
    assert (second.examples, second.logged) == (first.examples, first.logged)
    assert hashes(learning) == before


def test_an_unknown_entity_has_an_outcome_too(place: Place, open_: Callable[[Place], Learning]) -> None:
    """A request about nothing is done at once and changes nothing."""
    fill(place)
    learning = open_(place)
    learning.drain()
    before = hashes(learning)
    request(place, "c" * 32)
    finish(learning)
    found = forgetting.outcome_of(place.streams, "c" * 32)
    assert isinstance(found, Outcome)
    assert (found.predictions, found.logged, found.examples) == (0, 0, 0)
    assert hashes(learning) == before


def test_a_correction_that_comes_meanwhile_brings_nothing_back(
    place: Place, open_: Callable[[Place], Learning]
) -> None:
    """It is refused at the door; one that was in the stream already has lost its prediction."""
    fill(place)
    learning = open_(place)
    learning.drain()
    request(place)
    assert place.streams.add_feedback(Feedback(question(3).id, "true"), 60)[0] == "unknown"
    place.streams.append(Feedback(question(3).id, "true"))
    orphans = learning.counts.orphans
    finish(learning)
    learning.drain()
    assert learning.counts.orphans == orphans + 1
    assert holding(place.settings.state) == set()
    trainer = learning.trainers["linear"]
    assert trainer.corrections.labels[events.offset(question(3).id)] is None


def test_an_erasure_does_not_wait_for_more_corrections(
    tmp_path: Path, client: redis.Redis, open_: Callable[[Place], Learning]
) -> None:
    """`labels.correct_every` gathers corrections; somebody who asked to be forgotten is not kept for an hour."""
    place = place_in(tmp_path / "erased", client, CONFIG.replace('"0s"', '"1h"'))
    erased(place, open_)
    assert holding(place.settings.state) == set()


def test_unlabelled_predictions_go_without_a_rewind(place: Place, open_: Callable[[Place], Learning]) -> None:
    """Nothing was learned of them, so learners stay as they are; the log forgets them all the same."""
    fill(place, labels_of_ann=False)
    learning = open_(place)
    learning.drain()
    before, amendments = hashes(learning), len(learning.loop.journal.amendments)
    request(place)
    finish(learning)
    assert place.log.offsets_of(ANN) == []
    assert hashes(learning) == before
    assert len(learning.loop.journal.amendments) == amendments


def test_a_published_revision_is_replaced_by_one_without_her(place: Place, open_: Callable[[Place], Learning]) -> None:
    """Its weights, and the rows that serving checks it with; also where nothing is learned any more."""
    fill(place)
    learning = open_(place)
    trainer = learning.trainers["linear"]
    trainer.state.version = CHALLENGER
    learning.drain()
    trainer._save(time.monotonic())
    before = place.releases.manifest(CHALLENGER)
    assert before is not None
    assert (NUMBER, SECRET) in before.golden.rows
    request(place)
    finish(learning)
    after = place.releases.manifest(CHALLENGER)
    assert after is not None
    assert after.revision > before.revision
    assert (NUMBER, SECRET) not in after.golden.rows
    assert len(after.golden.rows) > 0
    assert after.learned < before.learned
    assert all(at not in trainer.state.anchor for at in (events.offset(question(n).id) for n in (3, 10)))


def test_a_learner_that_starts_after_an_erasure_publishes_and_purges(
    place: Place, open_: Callable[[Place], Learning]
) -> None:
    """Its process was down meanwhile: it learns anew, publishes rows of the journal, and clears what it had stored."""
    fill(place)
    first = eager(Learning(place))
    first.trainers["linear"].state.version = CHALLENGER
    first.drain()
    first.close()
    request(place)
    loop = Loop(place)
    loop.save_every_s = 0.0
    while forgetting.asked(place.streams):
        loop.step(block_ms=1)
    loop.close()
    began = time.time()
    learning = open_(place)
    finish(learning)
    manifest = place.releases.manifest(CHALLENGER)
    assert manifest is not None
    assert manifest.created_at > began
    assert (NUMBER, SECRET) not in manifest.golden.rows
    assert holding(place.settings.state) == set()


@pytest.mark.parametrize("is_told_before", [False, True])
def test_a_benched_learner_keeps_nothing_of_her(
    place: Place, open_: Callable[[Place], Learning], is_told_before: bool
) -> None:
    """It cannot learn anew, so its stored states go, whenever it heard of it; off the bench it begins again."""
    fill(place)
    learning = open_(place)
    learning.drain()
    trainer = learning.trainers["tree"]
    trainer._save(time.monotonic())
    if is_told_before:
        request(place)
        learning.loop.step(block_ms=1)
        trainer._amend()
    trainer._bench("it returned NaN")
    if not is_told_before:
        request(place)
    finish(learning)
    assert not any((trainer.folder / name).exists() for name in ("current", "previous"))
    assert holding(place.settings.state) == set()
    (trainer.folder / "benched").unlink()
    again = Trainer(place, "tree", trainer.start)
    with closing(again):
        while again.step():
            pass
        assert again.state.learner.learned == sum(not is_anns(n) for n in range(QUESTIONS))


@pytest.fixture
def many_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live learning and replays keep one every few labels, as far more labels would make them."""
    monkeypatch.setattr("flows.corrections.STORE_EVERY_S", 0.0)
    monkeypatch.setattr("flows.corrections.STORE_SHARE", 1e9)
    monkeypatch.setattr("flows.snapshots.APART", 5)


@pytest.mark.usefixtures("many_snapshots")
def test_replays_that_die_on_their_way_leave_nothing_of_her(
    place: Place,
    open_: Callable[[Place], Learning],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    client: redis.Redis,
) -> None:
    """What they had stored by then is without her, and the next process goes on from there."""
    fill(place)
    first = eager(Learning(place))
    first.loop.batch = 20
    first.drain()
    real, stored = corrections._store, 0

    def dies(*arguments: Any) -> None:
        nonlocal stored
        real(*arguments)
        stored += 1
        if stored == 5:
            raise Killed

    request(place)
    with monkeypatch.context() as patch:
        patch.setattr(corrections, "_store", dies)
        with pytest.raises(Killed):
            finish(first)
    first.loop.journal.close()
    for trainer in first.trainers.values():
        trainer.close()
    second = open_(place)
    finish(second)
    assert holding(place.settings.state) == set()
    after = hashes(second)
    assert hashes_without_ann(tmp_path, client) == after


@pytest.mark.usefixtures("many_snapshots")
def test_what_a_replay_stores_while_she_is_erased_goes_too(
    place: Place, open_: Callable[[Place], Learning], tmp_path: Path, client: redis.Redis
) -> None:
    """It began before anybody knew of it, and learned of her."""
    fill(place)
    learning = open_(place)
    learning.drain()
    (change,) = (one for one in journal.read(place.journal_folder) if one.prediction == events.offset(question(1).id))
    other = "false" if change.label == "true" else "true"
    trainer, slow = learning.trainers["linear"], Slow()
    trainer.corrections.start = slow.start
    place.client.xadd(
        place.streams.key("feedback"), {"e": events.encode(Feedback(question(1).id, other)), "f": first_of(place, 1)}
    )
    for _ in range(3):
        learning.step()
    request(place)
    while forgetting.asked(place.streams):
        learning.step()
    trainer.step()
    assert slow.started
    assert any("rebuilt" in name or "snapshots" in name for name in holding(place.settings.state))
    trainer.corrections.start = Inline
    slow.finish()
    finish(learning)
    assert holding(place.settings.state) == set()


def first_of(place: Place, n: int) -> str:
    """Id of the first label of a question, which a correction names."""
    return next(
        id_
        for id_, fields in place.streams.scan("feedback", streams.START)
        if events.decode(Feedback, fields).prediction_id == question(n).id
    )


def test_the_request_waits_for_the_shadow_scorer(place: Place, open_: Callable[[Place], Learning]) -> None:
    """Scores of a question that it has just read would come behind the erasure; it is given its time."""
    fill(place)
    learning = open_(place)
    learning.drain()
    fresh = place.streams.append(Prediction(CHAMPION, 0, (0.4, 0.6), (NUMBER, SECRET), "another", ANN))
    request(place)
    for _ in range(3):
        learning.step()
    assert forgetting.asked(place.streams)
    place.streams.append_shadows([(fresh, Shadow({CHALLENGER: (0, (0.8, 0.2))}))])
    finish(learning)
    assert place.streams.look_up("shadows", [fresh]) == {}


def test_a_request_that_cannot_be_read_holds_up_nothing(place: Place) -> None:
    """Somebody put it there by hand."""
    place.client.xadd(place.streams.key("erasures"), {"e": b"\xc1"})
    assert erasing.next_request(place) is None


def erase_to_the_end(folder: Path, url: str) -> None:
    """The learn loop in a process of its own until nothing is left to erase."""
    place = place_in(folder, streams.connect(url))
    loop = Loop(place)
    loop.save_every_s = loop.write_every_s = loop.write_at = 0.0
    while forgetting.asked(place.streams):
        loop.step(block_ms=1)
    loop.close()


def test_a_learn_run_killed_in_the_middle_is_completed(
    place: Place, open_: Callable[[Place], Learning], tmp_path: Path, client: redis.Redis, redis_url: str
) -> None:
    """kill -9 at random moments: in the end the files are as clean, and learners as ignorant, as without."""
    CONTEXT.set_forkserver_preload(["flows.learning", "tests.flows.test_erasing"])
    fill(place)
    before = eager(Learning(place))
    before.drain()
    before.close()
    request(place)
    rng, killed = random.Random(3), 0
    while forgetting.asked(place.streams):
        process = CONTEXT.Process(target=erase_to_the_end, args=(place.settings.state, redis_url))
        process.start()
        process.join(rng.uniform(0.05, 0.5) if killed < 6 else 60)
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
    assert killed
    learning = open_(place)
    finish(learning)
    after = hashes(learning)
    assert holding(place.settings.state) == set()
    assert hashes_without_ann(tmp_path, client) == after
