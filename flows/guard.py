"""Takes a champion that fails out of service within seconds, before any label says so.

``python -m flows.guard`` looks after every model of the configuration. It is a process of its own, since it must act
while the learn run restarts, replays corrections or waits for MLflow, with Prefect away, and in every state of the
model: it needs Redis and the ledger's folder, nothing else.
"""

import logging
import os
import threading
import time
from collections.abc import Mapping

import redis

from contracts.facts import AnsweringFacts, GuardFacts, ServingFacts
from contracts.lease import LeaseLost, LeaseTaken
from contracts.releases import Board
from flows.place import Place, open_place, read_configuration
from flows.reign import Alarm, Reign
from registry import history
from registry.promotion import Barred, Stale
from registry.versions import Unavailable, UnknownVersion

log = logging.getLogger(__name__)

LOOK_S = 0.5
RETRY_S = 10.0
_FAILED_S = 2.0
CAUSE = "guard"
_NOTHING = AnsweringFacts()
_Process = tuple[str, int]


class Guard:
    """Looks after one model; `look` is one iteration."""

    def __init__(self, place: Place):
        self.place = place
        self.reign: Reign | None = None
        self.alert: str | None = None
        """Why the champion should not answer, while it goes on to."""
        self._told: Mapping[_Process, ServingFacts] | None = None
        self._alerted: set[str] = set()
        self._retry_at = 0.0

    def look(self, now: float) -> str | None:
        """Looks once, acts where it must, and then says what was done. Raises redis.RedisError; look again then."""
        board, before = self.place.releases.board(), self._told
        told = self.place.streams.facts_of("serving", ServingFacts)
        self._told = {(facts.address, facts.pid): facts for facts in told.values()}
        done = None
        if board.champion:
            done = self._look_after(now, board, self._told if before is None else before)
        else:  # nobody answers, or the prior
            self.reign = self.alert = None
        other = None if self.reign is None else self.reign.other
        facts = GuardFacts(at=now, version=board.champion or None, compared_with=other, alert=self.alert)
        self.place.streams.set_fact("guard", facts)
        return done

    def _look_after(self, now: float, board: Board, before: Mapping[_Process, ServingFacts]) -> str | None:
        assert board.champion is not None
        if self.reign is None or not self.reign.is_of(board):
            self.reign, self.alert, self._retry_at = self._begin(board), None, 0.0
        alarm = self.reign.look(now, board, self._counted(board.champion, before))
        if alarm is None:
            self.alert = None
        return None if alarm is None or time.monotonic() < self._retry_at else self._act(board, alarm)

    def _counted(self, version: int, before: Mapping[_Process, ServingFacts]) -> AnsweringFacts:
        """What a version did in all processes since the last look."""
        total = AnsweringFacts()
        for process, facts in (self._told or {}).items():
            known = before[process].versions if process in before else {}
            new, old = facts.versions.get(version, _NOTHING), known.get(version, _NOTHING)
            if new.turns < old.turns:  # another process, with the address and the number of one that is gone
                old = _NOTHING
            total = AnsweringFacts(
                answered=total.answered + new.answered - old.answered,
                failed=total.failed + new.failed - old.failed,
                turns=total.turns + new.turns - old.turns,
                slow=total.slow + new.slow - old.slow,
            )
        return total

    def _begin(self, board: Board) -> Reign:
        lines = self.place.roles.ledger.read()
        crowning = lines[history.tenure_began(lines)] if lines else None
        if crowning is not None and crowning.kind == "rolled_back" and crowning.cause == CAUSE:
            # Two versions that fail alike are not to blame: whoever answers after a rollback is measured by it.
            shares = {crowning.numbers["rule"]: crowning.numbers.get("share", 0.0)}
        else:
            shares = self._shares(history.board_after(lines[: history.tenure_began(lines)]).champion)
        return Reign(self.place, board, lines, shares)

    def _shares(self, version: int | None) -> dict[str, float]:
        """How often a version failed, as far as the processes that serve now remember."""
        known = [facts.versions[version] for facts in (self._told or {}).values() if version in facts.versions]
        failed, asked = sum(one.failed for one in known), sum(one.answered + one.failed for one in known)
        slow, turns = sum(one.slow for one in known), sum(one.turns for one in known)
        return {"max_failures": failed / max(1, asked), "max_latency": slow / max(1, turns)}

    def _act(self, board: Board, alarm: Alarm) -> str | None:
        assert board.champion is not None
        if not alarm.is_its_own:
            return self._warn(board, alarm, "the version before it did so, too")
        try:
            self.place.roles.roll_back(board.champion, alarm.reason, cause=CAUSE, numbers=alarm.numbers)
        except (Stale, Barred, UnknownVersion, Unavailable, LeaseTaken, LeaseLost) as error:
            self._retry_at = time.monotonic() + RETRY_S
            return self._warn(board, alarm, str(error))
        self.alert = None
        log.warning("rolled back model=%s version=%d reason=%s", self.place.name, board.champion, alarm.reason)
        return f"Version {board.champion} no longer answers. {alarm.reason}"

    def _warn(self, board: Board, alarm: Alarm, why: str) -> str | None:
        """Says once for a reign and rule that a champion that should not answer goes on to, and why."""
        if self.place.releases.board() != board:
            return None  # somebody else has acted
        self.alert = f"Version {board.champion} goes on answering, since {why}. {alarm.reason}"
        key = f"guard:{board.champion}:{board.since}:{alarm.rule}"
        if key in self._alerted:
            return None
        try:
            self.place.roles.ledger.append(
                "refused", board.champion, self.alert, cause=CAUSE, numbers=alarm.numbers, key=key
            )
        except LeaseTaken:
            return None  # the next look tries again
        self._alerted.add(key)
        log.error("no rollback model=%s version=%d why=%s", self.place.name, board.champion, why)
        return self.alert


def watch(place: Place) -> None:
    """Looks after one model for ever."""
    guard, is_away = Guard(place), False
    while True:
        try:
            guard.look(time.time())
            is_away = False
        except redis.RedisError as error:
            if not is_away:
                log.warning("waits for redis model=%s error=%s", place.name, error)
            is_away = True
        except Exception:
            log.exception("looking failed; trying again model=%s", place.name)
            time.sleep(_FAILED_S)
        time.sleep(LOOK_S)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # The board has changed by then; aliases that MLflow does not take at once are for a reconcile.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    models, chosen = read_configuration()
    # A thread for each: a rollback may wait for MLflow's aliases, and no other model for that.
    watching = [
        threading.Thread(target=watch, args=(open_place(name, model, chosen),), name=f"guard {name}", daemon=True)
        for name, model in models.models.items()
    ]
    for thread in watching:
        thread.start()
    for thread in watching:
        thread.join()


if __name__ == "__main__":
    main()
