"""Carrying out what the ledger decided: releases in Redis, aliases in MLflow, the board that serving follows.

Every step may be repeated. The seq of the line that was carried out in full stands in a tag of the registered model;
aliases that differ from the ledger after that were moved by hand.
"""

import logging

from contracts.events import Decision
from contracts.lease import Lease
from contracts.releases import PRIOR_VERSION, Board, Release, Releases
from registry import history
from registry.versions import Registry, Unavailable, UnknownVersion

log = logging.getLogger(__name__)

_CARRIED_OUT = "tiltyard.ledger_seq"


class Stage:
    """One model's releases, aliases and board. Callers hold the lease `roles`."""

    def __init__(self, registry: Registry, releases: Releases):
        self.registry, self.releases = registry, releases

    def carry_out(self, line: Decision, mine: Lease, heir: int | None = None) -> frozenset[int]:
        """Makes everything agree with a line's board, aliases first and the board last; after a rollback, board first.

        Gives the versions that MLflow no longer has; they go on answering and shadowing. The `heir`, who answers where
        the champion is rolled back, keeps its release in Redis, if it has one there: that rollback, too, may meet an
        MLflow that is away. Raises Unavailable, after which it must be repeated; a rollback does not wait for MLflow.
        Raises LeaseLost.
        """
        board, is_urgent = history.board_of(line), line.kind == "rolled_back"
        self._restore_releases(board)
        mine.renew()
        if is_urgent:  # MLflow may take minutes to say that it is away
            self.releases.set_board(board)
        gone = self._set_roles(board, line)
        mine.renew()
        if not is_urgent:
            self.releases.set_board(board)
        if gone is not None:
            self.registry.tag(None, _CARRIED_OUT, str(line.seq))
        for version in self.releases.revisions():
            if version not in (*board.versions, heir):
                self.releases.withdraw(version)
        log.info("carried out model=%s seq=%d champion=%s", line.model, line.seq, board.champion)
        return gone or frozenset()

    def has_carried_out(self, line: Decision) -> bool:
        return int(self.registry.tags(None).get(_CARRIED_OUT, -1)) >= line.seq

    def publish(self, release: Release) -> None:
        """Publishes unless that revision, or a later one of an online version, is there."""
        manifest = release.manifest
        if self.releases.revisions().get(manifest.version, -1) < manifest.revision:
            self.releases.publish(release)

    def need(self, version: int) -> None:
        """Publishes a version that Redis does not have. Raises UnknownVersion or Unavailable where MLflow has not."""
        if version not in self.releases.revisions():
            self.publish(self.registry.load_release(version))

    def _restore_releases(self, board: Board) -> None:
        for version in board.versions:
            if version != PRIOR_VERSION:
                try:
                    self.need(version)
                except UnknownVersion as error:
                    log.warning("release missing model=%s reason=%s", self.registry.model, error)

    def _set_roles(self, board: Board, line: Decision) -> frozenset[int] | None:
        """Sets the aliases and gives the versions that take none; None where they must be set again."""
        try:
            return self.registry.set_roles(board)
        except Unavailable:
            if line.kind != "rolled_back":
                raise
            # A bad champion does not wait for MLflow; a reconcile sets the aliases.
            log.warning("rolled back before its alias model=%s seq=%d", line.model, line.seq)
            return None
