"""kill -9 at random moments around promotions."""

import itertools
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from contracts import streams
from contracts.log import Log
from contracts.releases import Board
from contracts.streams import Streams
from registry import history
from registry.ledger import Ledger
from registry.promotion import Roles
from registry.versions import Registry
from tests.registry.conftest import SCHEMA, SLOTS
from tests.registry.roles import assert_in_agreement

pytestmark = pytest.mark.soak
ROUNDS = 100


def promote_to_and_fro(redis_url: str, address: str, model: str, folder: Path, log: Path) -> None:
    """Promotes the challenger over the champion until it is killed."""
    os.chdir(folder)
    ledger = Ledger(Log(log, model, SCHEMA), Streams(streams.connect(redis_url), model))
    roles = Roles(Registry(address, model), ledger, SLOTS)
    while True:
        board = history.board_after(ledger.read())
        assert board.champion is not None
        roles.promote(board.challengers[0], "its turn", over=board.champion, cause="soak")


@pytest.mark.timeout(1_800)
def test_a_hundred_kills_leave_everything_in_agreement(
    registry, roles, registered, redis_url, client, mlflow_folder, tmp_path, model
):
    """After each kill a reconcile is enough: alias, release, board, page and ledger agree; nobody is promoted twice.

    A dead process's leases are deleted here; elsewhere they are waited for.
    """
    for version in (1, 2):
        roles.enrol(registered(version), "retrained", cause="soak")
    roles.bootstrap(1, "first", cause="soak")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["mlflow", "mlflow.onnx", "registry.promotion", "tests.registry.test_promotion"])
    arguments = (redis_url, registry.address, model, mlflow_folder, tmp_path / "log")
    chance = random.Random(0)
    for _ in range(ROUNDS):
        before = len(roles.ledger.read())
        child = server.Process(target=promote_to_and_fro, args=arguments)
        child.start()
        while len(roles.ledger.read()) == before and child.is_alive():
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))
        assert child.is_alive()
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        for name in ("roles", "ledger"):
            client.delete(streams.key(model, f"lease:{name}"))
        board = roles.reconcile("soak")
        assert_in_agreement(roles, board)
        assert isinstance(board, Board)
    champions = [history.board_of(line).champion for line in roles.ledger.read() if line.kind == "promoted"]
    assert len(champions) >= ROUNDS
    assert all(one != other for one, other in itertools.pairwise(champions))
