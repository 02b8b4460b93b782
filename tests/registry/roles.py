"""Killing whoever changes roles at any step, and whether all that tell of roles agree afterwards."""

import pytest

from contracts.releases import Board
from registry import history
from registry.promotion import Roles


class Killed(BaseException):
    """The process ends here; nothing below may catch it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, roles: Roles, step: int) -> list[str]:
    """Ends the caller before its `step`-th effect on the world; gives the names of the effects so far."""
    done: list[str] = []
    effects = [
        (roles.ledger.table, "append_ledger"),
        (roles.streams, "mirror"),
        (roles.stage.releases, "publish"),
        (roles.registry, "set_roles"),
        (roles.stage.releases, "set_board"),
        (roles.registry, "tag"),
        (roles.stage.releases, "withdraw"),
    ]
    for owner, name in effects:
        real = getattr(owner, name)

        def counted(*args, _real=real, _name=name, **kwargs):
            if len(done) == step:
                raise Killed
            done.append(_name)
            return _real(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)
    return done


def assert_in_agreement(roles: Roles, board: Board) -> None:
    """Ledger, MLflow, Redis and the page's stream tell the same."""
    assert roles.releases.board() == board
    wanted = {f"challenger-{version}": version for version in board.challengers}
    if board.champion:
        wanted["champion"] = board.champion
    if board.previous:
        wanted["previous"] = board.previous
    assert roles.registry.aliases() == wanted
    heir = history.heir(roles.ledger.read(), board.champion) if board.champion else None
    assert set(roles.releases.revisions()) - {heir} == set(board.versions) - {heir}
    assert roles.ledger.verify() is None
    assert roles.streams.decisions(count=1_000) == roles.ledger.read()[::-1][:1_000]


def run_killed_at(opened: Roles, monkeypatch: pytest.MonkeyPatch, step: int, run) -> bool:
    """Runs a change until its `step`-th effect, then again in full; tells whether it was killed at all."""
    with monkeypatch.context() as patched:
        done, was_killed = kill_at(patched, opened, step), False
        try:
            run()
        except Killed:
            was_killed = True
            assert len(done) == step
    run()
    return was_killed
