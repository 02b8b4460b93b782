"""What other rules would have decided: the recorded log under another policy, with the gate's own code.

Versions, their scores, labels and corrections are those that there were, and so is what others than the gate did to
the board. A comparison goes on only where both versions scored the same questions; who was not shadowed has no scores.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from contracts import events
from contracts.config import Model
from contracts.events import Decision
from contracts.gate_rules import Gate
from contracts.quantities import seconds
from contracts.releases import Board
from registry import history
from registry.gate import PROBATION_MATURED, PROBATION_S, Verdict
from registry.guards import judge
from registry.replay import Replay

GATE = "gate"
"""The cause of the ledger lines that are not taken over: they are what is told anew."""


class Turn(msgspec.Struct, frozen=True):
    """What the gate would have entered in its ledger. `kind` and `version` are as there."""

    at: float
    kind: str
    version: int
    champion: int
    reason: str
    verdict: Verdict


class Retelling:
    """One model's history under other rules, look by look. `lines` are the whole ledger's."""

    def __init__(
        self,
        folder: Path,
        model: Model,
        rules: Gate,
        lines: Sequence[Decision],
        since: float,
        *,
        online: Collection[int] = (),
        uncovered: Collection[int] = (),
        fed: Callable[[float], None] = lambda at: None,
    ):
        """The other rules decide from the epoch second `since` on; before it, all was as the ledger has it.

        `online` are versions that go on shadowing once they are decided; `uncovered` and `fed` as for
        `Replay`.
        """
        before = history.until(lines, since)
        self.rules, self.online, self.now = rules, frozenset(online), since
        self.board, self.barred = history.board_after(before), set(history.barred(before))
        crowned = history.crowned(before)
        self.crowned_at = since if crowned is None else crowned.at
        self._to_come = [line for line in lines[len(before) :] if line.cause != GATE]
        self._reigns = _reigns(lines)
        self._known: dict[int, str] = {}
        self._seen: object = None
        begin = events.offset(self.board.since)
        self.replay = Replay(folder, model, rules, begin, uncovered=uncovered, champion=self._champion, fed=fed)
        self.replay.record.begin(self.board, begin)

    def until(self, end: float, every_s: float) -> Iterator[Turn]:
        """What would have been decided, looking every so often until an epoch second."""
        while self.now < end:
            self.now = min(self.now + every_s, end)
            yield from self._look()

    def standing(self) -> dict[int, Verdict]:
        """The verdicts at the last look, by challenger."""
        share = self.replay.corrections / max(self.replay.labels, 1)
        began_s, also = events.seconds_of(self.board.since), self._also()
        return {
            one.challenger: judge(one, self.rules, self.now, () if one.challenger == self.board.previous else also)
            for one in self.replay.record.comparison_facts(self.board.challengers, {}, self.now, share)
            if one.started_at >= began_s
        }

    def _look(self) -> Iterator[Turn]:
        self._follow()
        at = events.span(self.now)
        self.replay.play(at - events.span(seconds(self.rules.maturity)), at)
        seen = self.replay.record.seen, self.replay.corrections, self.board
        if seen == self._seen or self.board.champion is None:
            return
        self._seen = seen
        verdicts = self.standing()
        for version, verdict in verdicts.items():
            if verdict.decision != self._known.get(version, "collecting"):
                self._known[version] = verdict.decision
                yield self._turn("verdict", version, verdict)
        winners = [version for version, verdict in verdicts.items() if verdict.decision == "promote"]
        alarmed_at, previous = self.replay.record.watch_facts().alarmed_at, self.board.previous
        if alarmed_at is not None and previous in verdicts:
            reason = f"The version before it is better: shown after {alarmed_at:,} labelled requests that both scored."
            yield self._hand_over(previous, verdicts, reason)
        elif winners:
            yield self._hand_over(max(winners, key=lambda version: verdicts[version].lower), verdicts)
        else:
            yield from self._let_go(verdicts)

    def _hand_over(self, version: int, verdicts: dict[int, Verdict], reason: str = "") -> Turn:
        old, since = self.board.champion, events.offset_id(events.span(self.now))
        assert old is not None
        if version == self.board.previous:
            turn = self._turn("rolled_back", old, verdicts[version], reason)
            self.barred.add(old)
            rest = history.without(history.without(self.board, version), old)
            self._begin(msgspec.structs.replace(rest, champion=version, previous=None, since=since))
            return turn
        turn = self._turn("promoted", version, verdicts[version])
        self._begin(history.succeeded(self.board, version, since))
        return turn

    def _let_go(self, verdicts: dict[int, Verdict]) -> Iterator[Turn]:
        """The end of a probation, and of challengers that are decided."""
        previous, champion = self.board.previous, self.board.champion
        verdict = None if previous is None else verdicts.get(previous)
        if verdict is not None and previous is not None and champion is not None:
            age_s = self.now - events.seconds_of(self.board.since)
            if verdict.n >= PROBATION_MATURED or age_s >= PROBATION_S:
                yield self._turn("confirmed", champion, verdict)
                kept = msgspec.structs.replace(self.board, previous=None)
                self.board = kept if previous in self.online else history.without(self.board, previous)
        for version, one in verdicts.items():
            is_over = one.decision in ("retire", "give_up", "inconclusive")
            if is_over and version not in (previous, *self.online):
                yield self._turn("retired", version, one)
                self.board = history.without(self.board, version)

    def _follow(self) -> None:
        """Takes over what others than the gate did until now."""
        while self._to_come and self._to_come[0].at <= self.now:
            line = self._to_come.pop(0)
            if "board" not in line.numbers or line.version in self.barred:
                continue
            self._take_over(line, history.board_of(line))

    def _take_over(self, line: Decision, target: Board) -> None:
        board, version = self.board, line.version
        if line.kind == "enrolled" and version is not None and version not in board.versions:
            self.board = msgspec.structs.replace(board, challengers=(*board.challengers, version))
        elif line.kind == "retired" and version is not None:
            self.board = history.without(board, version)
        elif line.kind == "rolled_back" and version is not None:
            self.barred.add(version)
            self._begin(target if board.champion == version else history.without(board, version))
        elif line.kind in ("prior", "bootstrap", "promoted", "moved_by_hand") and board.champion != target.champion:
            if board.champion is None or target.champion is None:
                challengers = tuple(one for one in board.challengers if one != target.champion)
                self._begin(msgspec.structs.replace(target, challengers=challengers))
            else:
                self._begin(history.succeeded(board, target.champion, target.since))

    def _begin(self, board: Board) -> None:
        if board.champion != self.board.champion:
            self._known, self.crowned_at = {}, self.now
        self.board = board
        self.replay.record.begin(board, events.offset(board.since))

    def _also(self) -> list[str]:
        reigned_s = self.now - self.crowned_at
        if reigned_s >= seconds(self.rules.cool_down):
            return []
        return [f"the champion has answered for {reigned_s:,.0f} s, and gate.cool_down is {self.rules.cool_down}"]

    def _turn(self, kind: str, version: int, verdict: Verdict, reason: str = "") -> Turn:
        assert self.board.champion is not None
        return Turn(self.now, kind, version, self.board.champion, reason or verdict.reason, verdict)

    def _champion(self, offset: int) -> int | None:
        """None where the champion of this telling is the one that there was."""
        at = bisect_left(self._reigns, (offset, -1)) - 1
        real = self._reigns[at][1] if at >= 0 else None
        return None if self.board.champion == real else self.board.champion


def _reigns(lines: Sequence[Decision]) -> list[tuple[int, int]]:
    """(offset after which it reigned, champion), in order."""
    boards = [history.board_of(line) for line in lines if "board" in line.numbers]
    return [(events.offset(board.since), board.champion) for board in boards if board.champion is not None]
