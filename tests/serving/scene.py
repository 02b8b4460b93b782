"""A model in mid-story, as its processes would publish it: made by the registry's own record from simulated answers."""

import contextlib
import functools
import html
import os
import random
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import redis
import redis.asyncio
import uvicorn
from fastapi import FastAPI

from contracts import config, events
from contracts.config import Config
from contracts.events import Decision, Feedback, Prediction, Shadow
from contracts.facts import (
    AnsweringFacts,
    DriftFacts,
    LearnerFacts,
    LearnFacts,
    ScoringFacts,
    ServingFacts,
    ShadowFacts,
    WatchFacts,
)
from contracts.releases import Board, Manifest, Release, Releases
from contracts.settings import Settings
from contracts.streams import Streams, connect
from registry.matured import Matured
from registry.tenure import Record
from serving.page import router_for
from tests.conftest import free_port

TOML = """
[models.phishing]
title = "Phishing websites"
features = {url_length = "float", anchors = "int", https = "bool", registrar = "category?"}
label = {task = "binary", classes = ["legitimate", "phishing"]}
learners.linear = {algorithm = "linear"}
learners.tree = {algorithm = "hoeffding_tree"}
learners.boosting = {algorithm = "hist_gradient_boosting", kind = "batch"}
gate.segments = ["registrar"]
gate.guardrails = {brier = 0.02}
"""
REGISTRARS = ("gandi", "ovh", "godaddy", "enom", "tucows")
NAMES = {1: "linear", 2: "tree", 3: "boosting", 4: "boosting"}
KINDS: dict[str, Any] = {"linear": "online", "tree": "online", "boosting": "batch"}
SPAN_S = 900.0
ASKED = 9_000
LATELY = 80
WATCHED = WatchFacts(
    version=3, since=0, previous=1, n=4_963, log_r=1.234, needed=6.907755, alarmed_at=None, limit=0.11,
    worse_than_itself_at=None,
)  # fmt: skip
TURNS = (240, 300, 2_000, 4_000, 5_200, 6_000, 7_400)
STEPS = (2, 0, 3, 9, 21, 40, 66, 90, 120, 141, 150, 121, 88, 60, 41, 25, 12, 7, 3, 1)
Scores = dict[int, tuple[float, ...]]


def configuration(text: str = TOML) -> Config:
    return config.parse(text)


def play(client: redis.Redis) -> LearnFacts:
    """Publishes the story of `phishing`: prior, bootstrap, a promotion, a new challenger. Returns the learn fact."""
    facts, board, lines = _story()
    learners = {name: msgspec.structs.replace(one, at=time.time()) for name, one in facts.learners.items()}
    facts = msgspec.structs.replace(facts, at=time.time(), learners=learners)
    for line in lines:
        Streams(client, "phishing").mirror(line)
    _publish(client, facts, board)
    return facts


@functools.cache
def _story() -> tuple[LearnFacts, Board, list[Decision]]:
    now, asked, model = time.time(), ASKED, configuration().model("phishing")
    record, board, lines = Record(model.gate, "zero_one"), Board(champion=0), Lines("phishing")
    lines.write(now - SPAN_S, "prior", 0, "Nothing has earned to answer yet: the prior answers.", board)
    dice, waiting, late = random.Random(7), list[Matured](), list[Matured]()
    record.begin(board, -1)
    for i in range(asked):
        at = now - SPAN_S * (1 - i / asked)
        if i in TURNS:
            _mature(record, waiting, late)
            board = _turn(i, at, board, record, lines)
        label = dice.random() < 0.45
        scores: Scores = {version: _scores(dice, version, i, label) for version in board.versions}
        champion = board.champion or 0
        shadows = {version: (0, scored) for version, scored in scores.items() if version != champion}
        segments = (f"registrar={REGISTRARS[i % 7 % 5]}",)
        given = None if i % 23 == 5 else float(label)
        waiting.append(Matured(events.span(at) + i, champion, scores[champion], shadows, given, segments=segments))
        if i % 92 == 5:
            late.append(msgspec.structs.replace(waiting[-1], label=float(label)))
    _mature(record, waiting, late)
    names = NAMES | {0: "prior"}
    learner = LearnerFacts(
        at=now,
        learned=asked - 60,
        last_feedback_id="0-0",
        state_hash="0f3a9c52d1e7" + 52 * "0",
        hashed_at=asked - 100,
        position=asked - 56,
        amendments=16,
        revision=8_950,
        checkpoint_bytes=4_310,
        checkpoint_s=0.0123,
        publish_s=0.0081,
        memory_mb=213.4,
        snapshots=9,
        snapshot_bytes=38_790,
    )
    facts = LearnFacts(
        at=now,
        last_feedback_id=f"{int(now * 1000)}-0",
        feedback=asked - 40,
        joined=asked - 48,
        orphans=3,
        duplicates=5,
        corrections=17,
        late=4,
        uncovered=2,
        pending=213,
        matured=asked - 233,
        dead_letters=1,
        loss="zero_one",
        examples=asked - 48,
        amendments=17,
        journal_bytes=1_234_567,
        delay_s=(3.21, 5.5, 9.75),
        delays=tuple((0.5 * 1.18**i, 0.5 * 1.18 ** (i + 1), n) for i, n in enumerate(STEPS)),
        learners={
            "linear": msgspec.structs.replace(learner, version=1),
            "tree": msgspec.structs.replace(
                learner, version=2, position=asked - 648, checkpoint_bytes=3_456_000, memory_mb=391.0
            ),
        },
        versions=record.version_facts(names),
        champion=WATCHED,
        comparisons=record.comparison_facts(board.challengers, names, now),
    )
    return facts, board, lines.written


def _mature(record: Record, waiting: list[Matured], late: list[Matured]) -> None:
    """All at once, which makes no difference to what they come to."""
    record.add(waiting)
    for one in late:
        record.audit(one)
    waiting.clear()
    late.clear()


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
    elif i == 5_200:
        lines.write(at, "drift", None, "3 of 4 columns have drifted (url_length most, 0.44).", None, cause="watch flow")
    elif i == 7_400:
        reason = "17 corrections of labels that were evidence already: 17 compared pairs were weighed anew."
        lines.write(at, "corrected", None, reason, None, cause="learn flow")
    elif i == 6_000:
        board = Board(champion=3, challengers=(2, 1, 4), previous=1)
        lines.write(at, "enrolled", 4, "boosting, retrained on 4,800 rows, answers in shadow.", board)
    record.begin(board, events.span(at) + i if board.champion != record.champion else record.since)
    return board


def _scores(dice: random.Random, version: int, i: int, label: bool) -> tuple[float, ...]:
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
    """Writes ledger lines as the ledger does; with a client they are mirrored at once."""

    def __init__(self, model: str, client: redis.Redis | None = None, seq: int = 0):
        self.model, self.client, self.seq = model, client, seq
        self.written: list[Decision] = []

    def write(
        self,
        at: float,
        kind: str,
        version: int | None,
        reason: str,
        board: Board | None = None,
        numbers: dict[str, Any] | None = None,
        cause: str = "promote flow",
    ) -> None:
        told = (numbers or {}) | ({} if board is None else {"board": board})
        seq = self.seq + len(self.written)
        line = Decision(seq, at, self.model, kind, version, reason, cause, told, "", "", f"{seq}")
        self.written.append(line)
        if self.client is not None:
            Streams(self.client, self.model).mirror(line)


def _publish(client: redis.Redis, facts: LearnFacts, board: Board) -> None:
    now = facts.at
    streams, releases = Streams(client, "phishing"), Releases(client, "phishing")
    releases.set_board(board)
    for version, learner in NAMES.items():
        publish_release(client, version, learner, 8_950 if KINDS[learner] == "online" else 0, now - 4)
    append(streams, ASKED - LATELY, ASKED - 40 - LATELY // 2)
    ask_lately(streams)
    streams.set_fact("learn", facts)
    scoring = {version: ScoringFacts(rows=9_000, turns=90 * version, total_s=0.04 * version) for version in (1, 2, 4)}
    position = streams.last_id("predictions")
    streams.set_fact("shadow", ShadowFacts(at=now, position=position, scored=ASKED, versions={}, scoring=scoring))
    streams.set_fact("watch", drift(now))
    streams.set_fact("serving:127.0.0.1:8000", process(now, "127.0.0.1:8000"))
    streams.set_fact("serving:127.0.0.1:8001", process(now - 95, "127.0.0.1:8001"))
    streams.bury("feedback", "1-1", {b"e": b"x"}, "is no Feedback")


def ask_lately(streams: Streams, later: bool = False) -> None:
    """The newest questions as they lie in the streams; the older half has labels. `later` ones follow on them."""
    dice, now, schema = random.Random(11), time.time(), configuration().model("phishing").schema
    for i in range(LATELY):
        label = dice.random() < 0.45
        scores = {version: _scores(dice, version, 8_900 + i, label) for version in (3, 2, 1, 4)}
        row = (round(dice.uniform(12, 140), 1), dice.randrange(90), dice.random() < 0.7, dice.choice(REGISTRARS))
        fields: Any = {events.FIELD: events.encode(Prediction(3, 0, scores.pop(3), row, schema.fingerprint))}
        id_ = f"{round((now + i / 1000 if later else now - 2 * (LATELY - i)) * 1000)}-0"
        streams.client.xadd(streams.key("predictions"), fields, id=id_)
        streams.append_shadows([(id_, Shadow({version: (0, scored) for version, scored in scores.items()}))])
        if i < LATELY // 2:
            streams.add_feedback(Feedback(id_, schema.label.class_texts[label], "ada"), 86_400)


def publish_release(client: redis.Redis, version: int, learner: str, revision: int, at: float = 0.0) -> None:
    manifest = Manifest(
        model="phishing",
        version=version,
        kind=KINDS[learner],
        learner=learner,
        revision=revision,
        schema="",
        onnx_sha256="",
        created_at=at,
    )
    Releases(client, "phishing").publish(Release(manifest, b""))


def append(streams: Streams, asked: int, labelled: int | None = None) -> None:
    """Streams that have seen so many questions, shadow scores and labels (40 fewer unless told), mostly trimmed."""
    labels = max(0, asked - 40) if labelled is None else labelled
    for source, count in (("predictions", asked), ("shadows", asked), ("feedback", labels)):
        if count:
            key, last = streams.key(source), f"{1_000 + count - 1}-0"
            streams.client.xadd(key, {"e": b""}, id=last)
            command: Any = streams.client.execute_command
            command("XSETID", key, last, "ENTRIESADDED", count)


def process(at: float, address: str) -> ServingFacts:
    return ServingFacts(
        at=at,
        address=address,
        pid=1,
        version=3,
        revision=0,
        provider="CPUExecutionProvider",
        answered=8_997,
        unlogged=0,
        versions={3: AnsweringFacts(answered=4_998, turns=4_760, median_s=2e-4, p99_s=7.5e-4, scoring_s=0.9)},
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


@contextlib.contextmanager
def serving(redis_url: str, config: Config | None = None, state: Path | None = None) -> Iterator[str]:
    """The address of a server that has nothing but the page."""
    settings = Settings(redis_url=redis_url) if state is None else Settings(redis_url=redis_url, state=state)
    config, port = config or configuration(), free_port()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await client.aclose()
        reader.close()

    client, reader = redis.asyncio.Redis.from_url(redis_url, socket_timeout=2), connect(redis_url, 2)
    app = FastAPI(lifespan=lifespan)
    app.include_router(router_for(config, settings, client, reader))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def get(url: str) -> tuple[int, str, Any]:
    """(status, body, headers)."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def words(page: str) -> str:
    """What a reader without pictures gets, with single blanks."""
    visible = re.sub(r"(?s)<(style|script|svg|head)\b.*?</\1>", " ", page)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", visible))).replace(" ,", ",").replace(" .", ".")


@contextlib.contextmanager
def hanging(client: redis.Redis) -> Iterator[None]:
    """The server stands still for the length of a block: connected, and silent."""
    process = int(client.info("server")["process_id"])
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)
