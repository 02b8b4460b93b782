"""A model in mid-story, as its processes would publish it: made by the registry's own record from simulated answers."""

import random
import time
from typing import Any

import redis

from contracts import config
from contracts.config import Config
from contracts.events import Decision, Feedback, Prediction, Shadow
from contracts.facts import DriftFacts, LearnerFacts, LearnFacts, ServingFacts, ShadowFacts
from contracts.releases import Board, Manifest, Release, Releases
from contracts.streams import Streams
from registry.tenure import Matured, Record

TOML = """
[models.phishing]
title = "Phishing websites"
features = {url_length = "float", anchors = "int", https = "bool", registrar = "category?"}
label = {task = "binary", classes = ["legitimate", "phishing"]}
learners.linear = {algorithm = "linear"}
learners.tree = {algorithm = "hoeffding_tree"}
learners.boosting = {algorithm = "hist_gradient_boosting", kind = "batch"}
"""
NAMES = {1: "linear", 2: "tree", 3: "boosting", 4: "boosting"}
KINDS: dict[str, Any] = {"linear": "online", "tree": "online", "boosting": "batch"}
SPAN_S = 900.0


def configuration(text: str = TOML) -> Config:
    return config.parse(text)


def play(client: redis.Redis, now: float | None = None, asked: int = 9_000) -> LearnFacts:
    """Publishes the story of `phishing`: prior, bootstrap, a promotion, a new challenger. Returns the learn fact."""
    now = time.time() if now is None else now
    model = configuration().model("phishing")
    record, board, lines = Record(model.gate, "zero_one"), Board(champion=0), Lines(client, "phishing")
    lines.write(now - SPAN_S, "prior", 0, "Nothing has earned to answer yet: the prior answers.", board)
    dice = random.Random(7)
    record.begin(board, -1)
    for i in range(asked):
        at = now - SPAN_S * (1 - i / asked)
        board = _turn(i, at, board, record, lines)
        label = dice.random() < 0.45
        scores = {version: _scores(dice, version, i, label) for version in board.versions}
        record.add(Matured(i, at, board.champion or 0, scores, float(label), covered=True))
    names = {version: NAMES[version] for version in NAMES} | {0: "prior"}
    facts = LearnFacts(
        at=now,
        last_feedback_id=f"{int(now * 1000)}-0",
        feedback=asked - 12,
        joined=asked - 20,
        orphans=3,
        duplicates=5,
        corrections=17,
        late=4,
        uncovered=2,
        pending=213,
        matured=asked - 233,
        dead_letters=1,
        loss="zero_one",
        delay_s=(3.21, 5.5, 9.75),
        learners={
            "linear": LearnerFacts(learned=asked - 20, last_feedback_id="0-0", state_hash="a", version=1, revision=8_950),
            "tree": LearnerFacts(learned=asked - 20, last_feedback_id="0-0", state_hash="b", version=2, revision=8_950),
        },
        versions=record.version_facts(names),
        comparisons=record.comparison_facts(board.challengers, names, now),
    )
    _publish(client, facts, board, now, asked)
    return facts


def _turn(i: int, at: float, board: Board, record: Record, lines: "Lines") -> Board:
    """The moments at which somebody enters or changes places."""
    if i == 240:
        board = Board(champion=1)
        reason = "linear is the first to have learned 200 labels; it answers without evidence against the prior."
        lines.write(at, "bootstrap", 1, reason, board)
    elif i == 300:
        board = Board(champion=1, challengers=(2,))
        lines.write(at, "enrolled", 2, "tree has learned 200 labels and answers in shadow.", board)
    elif i == 2_000:
        lines.write(at, "retrained", 3, "boosting was fitted on 1,600 rows, parity 2.1e-07 on 400.", None)
        board = Board(champion=1, challengers=(2, 3))
        lines.write(at, "enrolled", 3, "boosting, retrained on 1,600 rows, answers in shadow.", board)
    elif i == 4_000:
        told = record.comparison_facts((3,), NAMES, at)[0]
        board = Board(champion=3, challengers=(2, 1), previous=1)
        numbers = {"gain": told.gain, "lower": told.lower, "n": told.n}
        lines.write(at, "promoted", 3, told.reason, board, numbers)
    elif i == 6_000:
        board = Board(champion=3, challengers=(2, 1, 4), previous=1)
        lines.write(at, "enrolled", 4, "boosting, retrained on 4,800 rows, answers in shadow.", board)
    else:
        return board
    record.begin(board, i if board.champion != record.champion else record.since)
    return board


def _scores(dice: random.Random, version: int, i: int, label: bool) -> tuple[float, float]:
    """Right as often as such a learner is by then."""
    mistakes = {
        0: 0.5,
        1: 0.11 + 0.2 * 2 ** (-i / 400),
        2: 0.10 + 0.25 * 2 ** (-i / 1200),
        3: 0.055 + 0.015 * i / 9000,
        4: 0.05,
    }[version]
    right = dice.random() >= mistakes
    positive = 0.9 if label == right else 0.1
    return 1 - positive, positive


class Lines:
    """Writes ledger lines as the ledger mirrors them."""

    def __init__(self, client: redis.Redis, model: str):
        self.streams, self.seq = Streams(client, model), 0

    def write(
        self,
        at: float,
        kind: str,
        version: int | None,
        reason: str,
        board: Board | None = None,
        numbers: dict[str, Any] | None = None,
        cause: str = "promote flow",
    ) -> Decision:
        told = (numbers or {}) | ({} if board is None else {"board": board})
        line = Decision(self.seq, at, self.streams.model, kind, version, reason, cause, told, "", "", f"{self.seq}")
        self.streams.mirror(line)
        self.seq += 1
        return line


def _publish(client: redis.Redis, facts: LearnFacts, board: Board, now: float, asked: int) -> None:
    streams, releases = Streams(client, "phishing"), Releases(client, "phishing")
    releases.set_board(board)
    for version, learner in NAMES.items():
        publish_release(client, version, learner, 8_950 if KINDS[learner] == "online" else 0)
    append(streams, asked)
    streams.set_fact("learn", facts)
    streams.set_fact("shadow", ShadowFacts(at=now, position=streams.last_id("predictions"), scored=asked, versions={}))
    streams.set_fact("watch", drift(now))
    streams.set_fact("serving:127.0.0.1:8000", process(now, "127.0.0.1:8000"))
    streams.set_fact("serving:127.0.0.1:8001", process(now - 95, "127.0.0.1:8001"))
    streams.bury("feedback", "1-1", {b"e": b"x"}, "is no Feedback")


def publish_release(client: redis.Redis, version: int, learner: str, revision: int) -> None:
    manifest = Manifest(
        model="phishing",
        version=version,
        kind=KINDS[learner],
        learner=learner,
        revision=revision,
        schema="",
        onnx_sha256="",
        created_at=0.0,
    )
    Releases(client, "phishing").publish(Release(manifest, b""))


def append(streams: Streams, asked: int, labelled: int | None = None) -> None:
    """Questions, their shadow scores, and labels for some of them, 40 fewer unless told."""
    pipeline = streams.client.pipeline(transaction=False)
    shadows = []
    for i in range(asked):
        id_ = f"{1_000 + i}-0"
        pipeline.xadd(streams.key("predictions"), {"e": b""}, id=id_)
        shadows.append((id_, Shadow()))
    pipeline.execute()
    streams.append_shadows(shadows)
    for _ in range(max(0, asked - 40) if labelled is None else labelled):
        pipeline.xadd(streams.key("feedback"), {"e": b""})
    pipeline.execute()


def process(at: float, address: str) -> ServingFacts:
    return ServingFacts(
        at=at, address=address, pid=1, version=3, revision=0, provider="CPUExecutionProvider", answered=8_997, unlogged=0
    )


def drift(now: float) -> DriftFacts:
    columns = {"url_length": 0.31, "anchors": 0.06, "https": 0.02, "registrar": 0.12}
    return DriftFacts(
        at=now - 240,
        report="20261122T104000Z.html",
        alarm=False,
        share=0.5,
        columns=columns,
        drifted=("url_length", "registrar"),
        sentence="2 of 4 columns have drifted (url_length most, 0.31): fewer than the share that is an alarm.",
        reference_rows=5_000,
        current_rows=1_000,
        thresholds={"url_length": 0.1, "anchors": 0.1, "https": 0.1, "registrar": 0.1},
    )


__all__ = ["Feedback", "Prediction", "append", "configuration", "drift", "play", "process", "publish_release"]
