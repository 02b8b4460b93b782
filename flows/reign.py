"""What is known of one champion without any label, since it began to answer: how often it fails, what it answers."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from contracts import events, streams
from contracts.events import Decision, Prediction, Shadow
from contracts.facts import AnsweringFacts
from contracts.releases import Board
from contracts.streams import Fields
from flows.alarms import BLOCK, Excess, Jump, Scores, Shift
from flows.place import Place
from registry import history

_LOOKS_SHOWN = 20
_SAMPLE = 500  # of what was asked since the last look: a few milliseconds, however busy the model is
_SETTLED_S = 600.0


class Alarm(NamedTuple):
    """Why a champion should not answer any more."""

    rule: str
    """The key of the policy that it broke."""
    reason: str
    numbers: dict[str, Any]
    is_its_own: bool
    """False where the version before it did the same: then going back helps nobody."""


class Rate:
    """How often something goes wrong: how often it may, and how often it did before this champion."""

    def __init__(self, rule: str, told: str, limit: float, before: float):
        """`told` completes "3 of 10 ..."."""
        self.rule, self.told, self.limit, self.before = rule, told, limit, before
        self._allowed, self._above = Excess(limit), Excess(min(1.0, limit + before))
        self._recent: deque[tuple[float, int, int]] = deque(maxlen=_LOOKS_SHOWN)

    def add(self, at: float, n: int, bad: int) -> Alarm | None:
        """Counts what happened until `at`."""
        if n:
            self._recent.append((at, n, bad))
        is_its_own = self._above.add(n, bad)
        return self._alarm(is_its_own) if self._allowed.add(n, bad) else None

    def _alarm(self, is_its_own: bool) -> Alarm:
        looks = list(self._recent)
        began, n, bad = max(
            (
                (looks[i][0], sum(n for _, n, _ in looks[i:]), sum(bad for *_, bad in looks[i:]))
                for i in range(len(looks))
            ),
            key=lambda stretch: stretch[2] - 2 * self.limit * stretch[1],  # where it stands out
        )
        lasted_s = max(1.0, looks[-1][0] - began)
        reason = f"In {lasted_s:.0f} s {bad:,} of {n:,} {self.told}; max_failures is {self.limit:g}."
        if self.before:
            reason += f" For the version before it the share was {self.before:.2%}."
        numbers = {"rule": self.rule, "n": n, "bad": bad, "share": bad / n, "limit": self.limit, "before": self.before}
        return Alarm(self.rule, reason, numbers, is_its_own)


class Reign:
    """One champion of one model; a change of the board begins another one."""

    def __init__(self, place: Place, board: Board, lines: Sequence[Decision], shares: Mapping[str, float]):
        """`shares` are those of the version before it, by rule."""
        gate, self.place = place.model.gate, place
        self.version, self.since = board.champion, board.since
        self.heir = None if board.champion is None else history.heir(lines, board.champion)
        slow = f"scorings took longer than {gate.max_latency}"
        self._rates = (
            Rate("max_failures", "questions got no answer", gate.max_failures, shares.get("max_failures", 0.0)),
            Rate("max_latency", slow, gate.max_failures, shares.get("max_latency", 0.0)),
        )
        self.other: int | None = None
        """Whose answers to the same questions are compared."""
        self._shift: Shift | None = None
        self._jumped: Alarm | None = None
        self._position = board.since

    def is_of(self, board: Board) -> bool:
        return (board.champion, board.since) == (self.version, self.since)

    def look(self, now: float, board: Board, counted: AnsweringFacts) -> Alarm | None:
        """What should end this reign, or else gives cause for alarm, given what was counted since the last look."""
        failures, latency = self._rates
        alarms = [
            failures.add(now, counted.answered + counted.failed, counted.failed),
            latency.add(now, counted.turns, counted.slow),
            self._jumped or self._look_at_shares(now, board),
        ]
        found = [alarm for alarm in alarms if alarm is not None]
        return max(found, key=lambda alarm: alarm.is_its_own, default=None)

    def _look_at_shares(self, now: float, board: Board) -> Alarm | None:
        other = self._compared_with(board)
        if self._shift is None or other != self.other:
            self.other = other
            self._shift = self._begun(now)
        if other is None:
            return None
        jump = self._shift.add(self._newest(self._position, "+", _SAMPLE))
        self._jumped = None if jump is None else self._told(jump)  # it stays one: the next block knows nothing else
        return self._jumped

    def _compared_with(self, board: Board) -> int | None:
        """Who would answer instead, where it shadows; else whoever does."""
        shadows = board.challengers
        chosen = (version for version in (self.heir, self.other, *shadows) if version in shadows)
        return next(chosen, None)

    def _begun(self, now: float) -> Shift:
        """A comparison that starts from what the two answered before this reign or, later in it, some minutes ago."""
        shift = Shift(len(self.place.schema.label.classes), self.place.model.gate.max_class_shift)
        if self.other is not None:
            # Clocks may be apart: no further on than there are answers to look at.
            newest = events.offset(self.place.streams.last_id("shadows"))
            settled = events.offset_id(max(events.offset(self.since), min(events.span(now - _SETTLED_S), newest)))
            shift.learn_before(self._newest(streams.START, settled, 2 * BLOCK))
            self._position = settled
        return shift

    def _newest(self, after: str, until: str, count: int) -> list[tuple[Any, Scores, Scores]]:
        """(question, scores of the champion, of the other) of the newest after one id through another."""
        client, key = self.place.client, self.place.streams.key("shadows")
        found = cast(list[tuple[bytes, Fields]], client.xrevrange(key, until, f"({after}", count=count))
        shadows = {id_.decode(): fields for id_, fields in reversed(found)}
        if not shadows:
            return []
        self._position = next(reversed(shadows))
        predictions = self.place.streams.look_up("predictions", shadows)
        pairs = (self._pair(predictions.get(id_), fields) for id_, fields in shadows.items())
        return [pair for pair in pairs if pair is not None]

    def _pair(self, asked: Fields | None, shadowed: Fields) -> tuple[Any, Scores, Scores] | None:
        prediction = None if asked is None else events.readable(Prediction, asked)
        shadow = events.readable(Shadow, shadowed)
        if prediction is None or shadow is None or prediction.schema != self.place.schema.fingerprint:
            return None
        scores = {version: given for version, (_, given) in shadow.scores.items()}
        scores[prediction.version] = prediction.scores
        if self.version not in scores or self.other not in scores:
            return None
        return prediction.row, scores[self.version], scores[self.other]

    def _told(self, jump: Jump) -> Alarm:
        label, limit = self.place.schema.label, self.place.model.gate.max_class_shift
        said = f'"{label.class_texts[jump.k]}"' if label.classes else f"a value of quarter {jump.k + 1}"
        reason = (
            f"It answers {said} to {jump.now:.0%} of {jump.n:,} different questions, {jump.before:.0%} before; version "
            f"{self.other} answers so to {jump.other_now:.0%} of the same, {jump.other_before:.0%} before; "
            f"max_class_shift is {limit:g}."
        )
        numbers = {"rule": "max_class_shift", "limit": limit, "with": self.other, **jump._asdict()}
        return Alarm("max_class_shift", reason, numbers, is_its_own=True)
