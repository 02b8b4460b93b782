"""Changes of who answers and who shadows: decided once in the ledger, then carried out in MLflow and on the board.

The ledger line is the commit: it names the whole board that it leads to. Carrying it out is idempotent
(`registry.stage`), so whatever was killed half way, or met an MLflow that went away after the line was written, is
finished by the same call again, by the next change, or by `Roles.reconcile`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec

from contracts import lease
from contracts.events import Decision
from contracts.releases import PRIOR_VERSION, Board, Release, Releases
from registry import history
from registry.ledger import Kind, Ledger
from registry.stage import Stage
from registry.versions import Registry, UnknownVersion

log = logging.getLogger(__name__)

HOLD_S = 10.0  # aliases, release and board may disagree for as long as this after a kill, until a reconcile
WAIT_S = 30.0


class Barred(Exception):
    """A version that was rolled back may not return."""

    def __init__(self, version: int):
        super().__init__(f"version {version} was rolled back and is barred; register a new version instead")
        self.version = version


class NoSlot(Exception):
    """A challenger beyond those that share alpha in this tenure; nothing was done."""

    def __init__(self, version: int, used: int, slots: int):
        super().__init__(
            f"version {version} waits: {used} challengers have shared this tenure's alpha, and gate.slots is {slots}. "
            "Propose it again when another champion answers, or now with --new-budget: alpha is then promised once more"
        )
        self.version, self.used, self.slots = version, used, slots


class Stale(Exception):
    """A decision about a board that has changed meanwhile; nothing was done."""


class Roles:
    """Who answers and who shadows, for one model. Every change waits for the lease `roles`."""

    def __init__(
        self, registry: Registry, ledger: Ledger, slots: int, hand_moves: Literal["follow", "reverse"] = "follow"
    ):
        self.registry, self.ledger, self.slots, self.hand_moves = registry, ledger, slots, hand_moves
        self.model, self.streams = ledger.model, ledger.streams
        self.releases = Releases(self.streams.client, self.model)
        self.stage = Stage(registry, self.releases)

    def open_with_prior(self, release: Release, cause: str) -> Board:
        """Lets the prior answer, when nobody does yet. Needs no MLflow. Returns the board."""
        with self._changing(with_mlflow=False) as (mine, lines):
            board = history.board_after(lines)
            if history.last_move(lines) is None:
                board = Board(champion=PRIOR_VERSION, since=self.streams.last_id("predictions"))
                self._write(mine, "prior", PRIOR_VERSION, "Nothing has earned to answer yet.", board, cause, None)
            self.releases.publish(release)  # always: the prior in the configuration may have changed
            mine.renew()
            self.releases.set_board(board)
        return board

    def bootstrap(self, version: int, reason: str, *, cause: str, numbers: Mapping[str, Any] | None = None) -> Decision:
        """Makes an enrolled version the first champion, in place of the prior, without evidence against it.

        Raises Stale where a registered version answers already, Barred, UnknownVersion or Unavailable.
        """
        with self._changing() as (mine, lines):
            board = history.board_after(lines)
            if board.champion == version:
                return self._finish(mine)
            if board.champion:
                raise Stale(f"version {board.champion} answers already; only evidence or a person moves it")
            return self._crown(mine, lines, "bootstrap", version, reason, cause, numbers)

    def enrol(
        self,
        release: Release,
        reason: str,
        *,
        cause: str,
        numbers: Mapping[str, Any] | None = None,
        may_open_budget: bool = True,
    ) -> Decision:
        """Lets a registered version shadow the champion.

        Beyond `slots` challengers in one tenure a new budget of alpha is opened, which the ledger says; one that may
        not raises NoSlot. Raises Barred, UnknownVersion or Unavailable.
        """
        version = release.manifest.version
        with self._changing() as (mine, lines):
            board = history.board_after(lines)
            if version in board.versions:
                self.stage.publish(release)
                return self._finish(mine)
            _refuse_barred(lines, version)
            used = history.slots_used(lines)
            if not may_open_budget and used and used % self.slots == 0:
                raise NoSlot(version, used, self.slots)
            self.registry.tags(version)  # raises before anything is written
            self.stage.publish(release)
            self._open_budget(lines, cause)
            target = msgspec.structs.replace(board, challengers=(*board.challengers, version))
            self._write(mine, "enrolled", version, reason, target, cause, numbers)
            return self._finish(mine)

    def promote(
        self,
        version: int,
        reason: str,
        *,
        over: int | None = None,
        cause: str,
        numbers: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Makes a version the champion; the old one stays in shadow as `previous`.

        `over` is the champion that the evidence was against. Run again after a kill, it finishes and decides nothing
        anew. Raises Stale where another version answers than `over`, Barred, UnknownVersion or Unavailable.
        """
        with self._changing() as (mine, lines):
            board = history.board_after(lines)
            if board.champion == version:
                return self._finish(mine)
            if over is not None and over != board.champion:
                raise Stale(f"the evidence for version {version} is against {over}, but {board.champion} answers")
            return self._crown(mine, lines, "promoted", version, reason, cause, numbers)

    def roll_back(
        self,
        version: int,
        reason: str,
        *,
        to: int | None = None,
        cause: str,
        numbers: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Takes the championship from `version`, bars it, and gives it to `to`, by default the one that had it before.

        Serving hears of it before MLflow does, whose aliases follow when it answers.

        Raises Stale where `version` does not answer (unless it was rolled back already) or nobody can follow it,
        Barred, UnknownVersion or Unavailable.
        """
        with self._changing(with_mlflow=False) as (mine, lines):
            board = history.board_after(lines)
            if board.champion != version:
                if version in history.barred(lines):
                    return self._finish(mine)
                raise Stale(f"version {version} cannot be rolled back: {board.champion} answers")
            heir = history.heir(lines, version) if to is None else to
            if heir is None:
                raise Stale(f"no other version than {version} has ever answered; name the one that shall")
            _refuse_barred(lines, heir)
            self.stage.need(heir)
            rest = history.without(history.without(board, heir), version)
            target = msgspec.structs.replace(
                rest, champion=heir, previous=None, since=self.streams.last_id("predictions")
            )
            self._write(mine, "rolled_back", version, reason, target, cause, numbers)
            return self._finish(mine)

    def retire(
        self, version: int, reason: str, *, cause: str, numbers: Mapping[str, Any] | None = None
    ) -> Decision | None:
        """Takes a challenger out of the shadow; None where it is not there. Raises Stale for the champion."""
        with self._changing() as (mine, lines):
            board = history.board_after(lines)
            if version == board.champion:
                raise Stale(f"version {version} answers; promote or roll back instead")
            if version not in board.challengers:
                self._finish(mine)
                return None
            self._write(mine, "retired", version, reason, history.without(board, version), cause, numbers)
            return self._finish(mine)

    def confirm(
        self, reason: str, *, keep: bool, cause: str, numbers: Mapping[str, Any] | None = None
    ) -> Decision | None:
        """Ends the champion's probation; None where there is none. `keep` lets the old champion go on as challenger."""
        with self._changing() as (mine, lines):
            board = history.board_after(lines)
            if board.previous is None:
                self._finish(mine)
                return None
            target = msgspec.structs.replace(board, previous=None) if keep else history.without(board, board.previous)
            self._write(mine, "confirmed", board.champion, reason, target, cause, numbers)
            return self._finish(mine)

    def reconcile(self, cause: str) -> Board:
        """Makes releases, aliases, board and page agree with the ledger, and the ledger with an alias moved by hand.

        A champion alias that a person moved in MLflow is followed, where that is configured and its version can be
        served, and moved back where not; one that was deleted is set again; all become ledger lines. So do versions
        that were deleted from MLflow while they answer or shadow. Raises Unavailable, with the board in Redis restored
        all the same.
        """
        self._prepare()
        with self._changing(with_mlflow=False) as (mine, lines):
            line = history.last_move(lines)
            if line is None:
                return self.releases.board()
            if self.releases.board() != history.board_of(line):
                self.releases.set_board(history.board_of(line))
            self._heed_hand(mine, lines, cause)
            return history.board_of(self._finish(mine))

    def barred(self) -> frozenset[int]:
        """Versions that were rolled back."""
        return history.barred(self.ledger.read())

    def slots_used(self) -> int:
        """Challengers that have shared this tenure's alpha so far."""
        return history.slots_used(self.ledger.read())

    @contextmanager
    def _changing(self, with_mlflow: bool = True) -> Iterator[tuple[lease.Lease, list[Decision]]]:
        """The lease and the ledger's lines.

        A change sets every alias, so a move by hand that nobody has noticed yet comes before it; what does not wait for
        MLflow cannot look.
        """
        if with_mlflow:
            self._prepare()
        with lease.held(self.streams.client, self.model, "roles", HOLD_S, WAIT_S) as mine:
            lines = self.ledger.read()
            if with_mlflow and self._heed_hand(mine, lines, "MLflow"):
                self._finish(mine)
                lines = self.ledger.read()
            yield mine, lines

    def _prepare(self) -> None:
        if not self.registry.prepare():
            log.warning("MLflow is away model=%s address=%s", self.model, self.registry.address)

    def _crown(
        self,
        mine: lease.Lease,
        lines: Sequence[Decision],
        kind: Kind,
        version: int,
        reason: str,
        cause: str,
        numbers: Mapping[str, Any] | None,
    ) -> Decision:
        _refuse_barred(lines, version)
        self.registry.tags(version)  # raises before anything is written
        self.stage.need(version)
        board = history.board_after(lines)
        target = history.succeeded(board, version, self.streams.last_id("predictions"))
        self._write(mine, kind, version, reason, target, cause, numbers)
        return self._finish(mine)

    def _write(
        self,
        mine: lease.Lease,
        kind: Kind,
        version: int | None,
        reason: str,
        board: Board,
        cause: str,
        numbers: Mapping[str, Any] | None,
    ) -> None:
        manifest = None if version is None else self.releases.manifest(version)
        told = {**(numbers or {}), **({"learner": manifest.learner} if manifest else {}), "board": board}
        self.ledger.append(kind, version, reason, cause=cause, numbers=told, under=mine)

    def _open_budget(self, lines: Sequence[Decision], cause: str) -> None:
        used = history.slots_used(lines)
        if not used or used % self.slots:
            return
        began, budget = history.tenure_began(lines), used // self.slots + 1
        reason = f"Challenger {used + 1} of this tenure: the promise is now {budget} times alpha."
        numbers = {"budget": budget, "slots": self.slots, "used": used}
        self.ledger.append("budget", None, reason, cause=cause, numbers=numbers, key=f"budget:{began}:{budget}")

    def _heed_hand(self, mine: lease.Lease, lines: Sequence[Decision], cause: str) -> bool:
        """Enters that the champion alias was moved or deleted by hand, and what came of it; False where it was not.

        Whatever the line says is to be carried out next.
        """
        line = history.last_move(lines)
        if line is None:
            return False
        board, moved = history.board_of(line), self.registry.champion()
        if moved == board.champion or not self.stage.has_carried_out(line):
            return False
        if moved is None:
            return self._heed_deletion(board, cause)
        told = f"The champion alias was moved in MLflow from version {board.champion} to {moved} by hand"
        numbers = {"from": board.champion, "to": moved}
        try:
            _refuse_barred(lines, moved)
            self.stage.need(moved)
        except (UnknownVersion, Barred) as error:
            self.ledger.append("refused", moved, f"{told}, and moved back: {error}", cause=cause, numbers=numbers)
            return True
        if self.hand_moves == "reverse":
            reason = f'{told}, and moved back: gate.hand_moves is "reverse".'
            numbers["followed"] = False
            self.ledger.append("moved_by_hand", moved, reason, cause="MLflow", numbers=numbers)
            return True
        target = history.succeeded(board, moved, self.streams.last_id("predictions"))
        self._write(mine, "moved_by_hand", moved, f"{told}.", target, "MLflow", numbers | {"followed": True})
        return True

    def _heed_deletion(self, board: Board, cause: str) -> bool:
        """Enters that the champion alias is gone, though its version is still there; False where that is gone too.

        Somebody has to answer, so there is nothing to follow: the alias is set again.
        """
        version = board.champion
        if not version:  # nobody answers, or the prior, which has no alias
            return False
        try:
            self.registry.tags(version)
        except UnknownVersion:
            return False  # it was deleted with its aliases, which is a line of its own
        reason = f"The champion alias of version {version} was deleted in MLflow by hand, and set again."
        numbers = {"from": version, "to": None, "followed": False}
        self.ledger.append("moved_by_hand", version, reason, cause=cause, numbers=numbers)
        return True

    def _finish(self, mine: lease.Lease) -> Decision:
        """Carries out the last line that moved anybody, whoever wrote it, and returns it."""
        lines = self.ledger.show()
        line = history.last_move(lines)
        if line is None:
            raise Stale("nobody answers yet and nobody shadows; enrol a version first")
        champion = history.board_of(line).champion
        gone = self.stage.carry_out(line, mine, None if champion is None else history.heir(lines, champion))
        for version in sorted(gone):
            role = "answers" if version == champion else "shadows"
            reason = (
                f"Version {version} was deleted from MLflow while it {role}. It goes on from the copies of its release "
                "in Redis and beside serving; MLflow could not restore them."
            )
            self.ledger.append("deleted", version, reason, cause="MLflow", key=f"deleted:{version}")
        return line


def _refuse_barred(lines: Sequence[Decision], version: int) -> None:
    if version in history.barred(lines):
        raise Barred(version)
