"""A correction counts as if it had been known at the time: in the learners' states and in the evidence."""

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from contracts import events, journal
from contracts.events import Feedback, Prediction, Shadow
from contracts.releases import Board
from flows import snapshots
from flows.place import Place
from tests.flows.world import CHALLENGER, CHAMPION, CONFIG, START_MS, STEP_MS, Learning, place_in, question

LEARNERS = ("linear", "tree")
SECOND = 1_000


class History:
    """Questions and labels written at chosen times."""

    def __init__(self, place: Place, questions: int):
        self.place, self.first = place, dict[int, str]()
        place.releases.set_board(Board(champion=CHAMPION, challengers=(CHALLENGER,)))
        rng = random.Random(5)
        for n in range(questions):
            asked, p = question(n), rng.random()
            q = 0.9 if asked.row[0] > 0 else 0.1
            scored = Prediction(CHAMPION, 0, (1 - p, p), asked.row, place.schema.fingerprint)
            for name, event in (("predictions", scored), ("shadows", Shadow({CHALLENGER: (0, (1 - q, q))}))):
                place.client.xadd(place.streams.key(name), {"e": events.encode(event)}, id=asked.id)

    def label(self, n: int, label: str, at_ms: int, reporter: str | None = None) -> None:
        """As `ADD_FEEDBACK` writes it: a later label for the same prediction names the first one."""
        fields: dict[str, str | bytes] = {"e": events.encode(Feedback(question(n).id, label, reporter))}
        if n in self.first:
            fields["f"] = self.first[n]
        id_ = self.place.client.xadd(self.place.streams.key("feedback"), fields, id=f"{START_MS + at_ms}-*")
        self.first.setdefault(n, id_.decode())


def other(label: str) -> str:
    return "false" if label == "true" else "true"


@contextlib.contextmanager
def learned(place: Place) -> Iterator[Learning]:
    """Everything in the streams, learned and matured."""
    with contextlib.closing(Learning(place)) as learning:
        learning.drain()
        learning.mature()
        yield learning


def states(learning: Learning) -> dict[str, str]:
    return {name: learning.learner(name).state_hash() for name in LEARNERS}


@pytest.fixture
def places(tmp_path: Path, client: redis.Redis) -> tuple[Place, Place]:
    """Two histories of the same model, one after the other on one server."""
    told, known = place_in(tmp_path / "told", client), place_in(tmp_path / "known", client)
    return told, known


def fresh(place: Place) -> None:
    place.client.flushdb()


@pytest.mark.parametrize("later_ms", [500, 60 * SECOND], ids=["before maturity", "after maturity"])
def test_learning_a_label_and_correcting_it_is_learning_the_right_one(
    places: tuple[Place, Place], later_ms: int
) -> None:
    """State hashes, evidence sums and version scores equal those of the right label given at once."""
    told, known = places
    wrong = {3, 40, 41, 399}
    outcomes = []
    for place, corrects in ((told, True), (known, False)):
        fresh(place)
        history = History(place, 400)
        for n in range(400):
            label = question(n).label
            history.label(n, other(label) if corrects and n in wrong else label, n * STEP_MS + 300)
        if corrects:
            with contextlib.closing(Learning(place)) as learning:
                learning.drain()
            for n in sorted(wrong):
                history.label(n, question(n).label, 400 * STEP_MS + later_ms + n)
        with learned(place) as learning:
            comparison = learning.loop.state.record.comparisons[CHALLENGER]
            score = learning.loop.state.record.versions[CHALLENGER]
            evidence = comparison.evidence
            outcomes.append(
                (states(learning), evidence.n, evidence.wins, evidence.losses, evidence.log_e(), score.correct)
            )
            if corrects:
                assert learning.counts.corrections == len(wrong)
                assert [one.prediction for one in journal.amendments(place.journal_folder)] == [
                    events.offset(question(n).id) for n in sorted(wrong)
                ]
    assert outcomes[0] == outcomes[1]


def test_corrections_of_matured_labels_leave_a_ledger_line(places: tuple[Place, Place]) -> None:
    """One line for the corrections of a while, with the pairs that moved; written once, also after a restart."""
    place, _ = places
    history = History(place, 50)
    for n in range(50):
        history.label(n, other(question(n).label), n * STEP_MS + 300)
    with contextlib.closing(Learning(place)) as learning:
        learning.drain()
        for n in (7, 8):
            history.label(n, question(n).label, 60 * SECOND + n)
        learning.loop.save_every_s = 0.0
        for _ in range(3):
            learning.step()
    with contextlib.closing(Learning(place)) as learning:
        learning.loop.save_every_s = 0.0
        for _ in range(3):
            learning.step()
    (line,) = [line for line in place.roles.ledger.read() if line.kind == "corrected"]
    assert line.numbers["corrections"] == 2
    assert line.reason.startswith("2 corrections of labels that were evidence already")
    assert place.roles.ledger.verify() is None


def test_a_replay_starts_from_the_newest_snapshot_that_the_correction_leaves_as_it_is(
    places: tuple[Place, Place],
) -> None:
    """Snapshots after the corrected example are passed over, however new they are."""
    place, _ = places
    history = History(place, 4_000)
    for n in range(4_000):
        history.label(n, question(n).label, n * STEP_MS + 300)
    with contextlib.closing(Learning(place)) as learning:
        learning.loop.batch = 500
        for trainer in learning.trainers.values():
            trainer.save_every_s = trainer.behind_every_s = 0.0
            trainer.save_share = 1e9
        learning.drain()
        folder = learning.trainers["linear"].folder / "snapshots"
        kept = snapshots.of(folder)
        assert len(kept) >= 3
        corrected = events.offset(question(2_500).id)
        at = next(one.at for one in journal.read(place.journal_folder) if one.prediction == corrected)
        change = journal.Amendment(at, corrected, "true", at + 1)
        chosen = snapshots.newest(folder, [change])
        assert chosen is not None
        assert chosen.position == max(one.position for one in kept if one.at < at)


@pytest.mark.parametrize(
    ("rule", "given", "expected"),
    [
        ("latest", ["true", "false", "true"], "true"),
        ("first", ["true", "false", "false"], "true"),
        ("majority", ["false", "true", "true"], "true"),
        ("majority", ["false", "true", "true", "false"], "false"),
        ("majority", ["true", "false"], "false"),
    ],
    ids=["the newest", "the first", "given most often", "a tie goes to the newest", "a tie of two"],
)
def test_several_labels_for_one_prediction_count_as_the_rule_says(
    tmp_path: Path, client: redis.Redis, rule: str, given: list[str], expected: str
) -> None:
    """The learners, and what retraining reads from the log, see the one label that counts."""
    text = CONFIG.replace('correct_every = "0s"', f'correct_every = "0s"\ncombine = "{rule}"')
    place = place_in(tmp_path / "several", client, text)
    outcomes = []
    for labels in (given, [expected]):
        fresh(place)
        place = place_in(tmp_path / str(len(labels)), client, text)
        history = History(place, 30)
        for n in range(30):
            if n != 10:
                history.label(n, question(n).label, n * STEP_MS + 300)
            if n == 12:
                history.label(10, labels[0], 12 * STEP_MS + 301, "ann")
        for i, label in enumerate(labels[1:], 1):
            history.label(10, label, 30 * STEP_MS + 300 * i + (60 * SECOND if i > 1 else 0), f"reporter {i}")
        with learned(place) as learning:
            outcomes.append((states(learning), learning.loop.state.record.versions[CHAMPION].correct))
        found = place.examples(30, 0.0)
        assert found.labels[found.offsets.index(events.offset(question(10).id))] == expected
    assert outcomes[0] == outcomes[1]


def test_values_may_count_by_their_mean(tmp_path: Path, client: redis.Redis) -> None:
    """Three reporters' values make one example of their mean."""
    text = (
        CONFIG.replace('{task = "binary", classes = [false, true]}', '{task = "regression"}')
        .replace('correct_every = "0s"', 'correct_every = "0s"\ncombine = "mean"')
    )  # fmt: skip
    place = place_in(tmp_path, client, text)
    place.releases.set_board(Board(champion=CHAMPION))
    id_ = place.streams.append(Prediction(CHAMPION, 0, (0.5,), (1.0, "a"), place.schema.fingerprint))
    place.streams.append_shadows([(id_, Shadow())])
    for value in (1.0, 4.0, 7.0):
        assert place.streams.add_feedback(Feedback(id_, value, f"reporter {value}"), 60, "mean")[0] != "duplicate"
    with learned(place) as learning:
        assert learning.loop.state.votes[events.offset(id_)].label("mean") == 4.0
        assert journal.amendments(place.journal_folder)[-1].label == 4.0
        assert learning.learner().learned == 1


def test_votes_of_two_reporters_for_one_label_are_no_repetition(tmp_path: Path, client: redis.Redis) -> None:
    """Where labels are votes, the same label by somebody else counts; by the same one it is a retry."""
    place = place_in(tmp_path, client)
    id_ = place.streams.append(Prediction(CHAMPION, 0, (0.5, 0.5), (1.0, "a"), place.schema.fingerprint))
    given = [("true", "ann"), ("true", "ann"), ("true", "bob")]
    said = [place.streams.add_feedback(Feedback(id_, label, who), 60, "majority")[0] for label, who in given]
    assert said == ["accepted", "duplicate", "correction"]


def test_what_gets_no_label_may_be_learned_as_negative(tmp_path: Path, client: redis.Redis) -> None:
    """At maturity it is an example and evidence of the first class; a late positive corrects both."""
    text = CONFIG.replace('correct_every = "0s"', 'correct_every = "0s"\non_timeout = "negative"')
    place = place_in(tmp_path, client, text)
    history = History(place, 100)
    labelled = [n for n in range(100) if question(n).label == "true"]
    for n in labelled[1:]:
        history.label(n, "true", n * STEP_MS + 300)
    late = labelled[0]
    history.label(late, "true", 60 * SECOND)
    with learned(place) as learning:
        counts, record = learning.counts, learning.loop.state.record
        assert (counts.timed_out, counts.late) == (100 - len(labelled) + 1, 1)
        assert record.matured == record.comparisons[CHALLENGER].evidence.n == 100
        assert learning.learner().learned == 100
        effective = {one.prediction: one.label for one in journal.read(place.journal_folder)}
        effective |= {one.prediction: str(one.label) for one in journal.amendments(place.journal_folder)}
        assert effective == {
            events.offset(question(n).id): question(n).label if n in labelled else "false" for n in range(100)
        }
        by_hand = learning.trainers["linear"]._fresh().learner
        for one in journal.read(place.journal_folder):
            assert one.row is not None
            by_hand.learn_one(one.row, effective[one.prediction])
        assert states(learning)["linear"] == by_hand.state_hash()
        correct = record.versions[CHALLENGER].correct
        expected = sum((question(n).row[0] > 0) == (n in labelled) for n in range(100))
        assert correct == expected
    assert sorted(place.examples(1_000, START_MS / 1000 + 1e6).labels) == ["false"] * (100 - len(labelled)) + [
        "true"
    ] * len(labelled)


def test_a_correction_while_another_is_relearned_is_relearned_too(places: tuple[Place, Place]) -> None:
    """What comes during a replay starts the next one; the end is the same."""
    told, known = places
    outcomes = []
    for place, corrects in ((told, True), (known, False)):
        fresh(place)
        history = History(place, 300)
        for n in range(300):
            label = question(n).label
            history.label(n, other(label) if corrects and n in (5, 200) else label, n * STEP_MS + 300)
        with contextlib.closing(Learning(place)) as learning:
            learning.drain()
            if corrects:
                trainer, slow = learning.trainers["linear"], Slow()
                trainer.corrections.start = slow.start
                history.label(5, question(5).label, 60 * SECOND)
                learning.drain()
                history.label(200, question(200).label, 61 * SECOND)
                learning.drain()
                assert len(slow.started) == 1
                slow.finish()
                trainer.step()
                trainer.step()
                assert len(slow.started) == 2
                slow.finish()
                trainer.step()
            outcomes.append(learning.learner().state_hash())
    assert outcomes[0] == outcomes[1]


class Slow:
    """Work beside learning that is not over before somebody says so."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.over = False

    def start(self, work: Callable[[], Any]) -> "Slow":
        self.started.append(work())
        self.over = False
        return self

    def finish(self) -> None:
        self.over = True

    def done(self) -> bool:
        return self.over

    def result(self) -> Any:
        return self.started[-1]

    def kill(self) -> None:
        """Nothing runs."""
