"""Changes of roles: alias, release, board and ledger agree, whatever happens half way."""

import socket
import threading
import time

import pytest

from contracts import lease
from contracts.events import Prediction
from contracts.releases import Board
from registry.promotion import Barred, Roles, Stale
from registry.versions import Registry, Unavailable, UnknownVersion
from tests.registry.conftest import SLOTS, release
from tests.registry.roles import Killed, assert_in_agreement, kill_at, run_killed_at


def test_a_model_begins_with_its_prior_and_needs_no_mlflow(away, model, ledger):
    """Version 0 answers at once, also when asked twice; the ledger says so once."""
    for _ in range(2):
        board = away.open_with_prior(release(model, 0, kind="prior"), "bootstrap")
    assert away.releases.board() == board == Board(champion=0)
    assert [line.kind for line in ledger.read()] == ["prior"]
    assert ledger.live_at(1e12) == 0


def test_the_first_champion_comes_by_bootstrap_and_never_again(opened):
    """Without evidence against it, only the prior is replaced."""
    assert_in_agreement(opened, Board(champion=1, challengers=(2,)))
    assert opened.bootstrap(1, "again", cause="learn").kind == "bootstrap"
    with pytest.raises(Stale, match="version 1 answers already"):
        opened.bootstrap(2, "me too", cause="learn")
    assert [line.kind for line in opened.ledger.read()] == ["prior", "enrolled", "enrolled", "bootstrap"]


def test_a_promotion_moves_everything_and_keeps_the_old_champion_in_shadow(opened):
    """Its tenure begins after the newest prediction; the reason and the numbers are in the ledger."""
    last = opened.streams.append(Prediction(1, 0, (0.5, 0.5), (0.1, "a"), "s"))
    line = opened.promote(2, "fewer mistakes", over=1, cause="promote", numbers={"log_e": 5.0})
    assert (line.kind, line.version, line.reason, line.numbers["log_e"]) == ("promoted", 2, "fewer mistakes", 5.0)
    assert_in_agreement(opened, Board(champion=2, challengers=(1,), previous=1, since=last))


def test_a_second_run_of_the_same_promotion_decides_nothing(opened):
    """Neither a second line nor a second tenure."""
    first = opened.promote(2, "fewer mistakes", over=1, cause="promote")
    assert opened.promote(2, "fewer mistakes", over=1, cause="promote") == first
    assert [line.kind for line in opened.ledger.read()].count("promoted") == 1


def test_evidence_against_a_former_champion_promotes_nobody(opened, registered):
    """The comparison was with version 1; by now version 2 answers."""
    opened.enrol(registered(3), "retrained", cause="retrain")
    opened.promote(2, "fewer mistakes", over=1, cause="promote")
    with pytest.raises(Stale, match="against 1, but 2 answers"):
        opened.promote(3, "fewer mistakes", over=1, cause="promote")


def test_a_rollback_restores_the_previous_champion_and_bars_the_bad_one(opened, registered):
    """The barred version returns by no way; asking again for the same rollback changes nothing."""
    opened.promote(2, "fewer mistakes", over=1, cause="promote")
    opened.roll_back(2, "more mistakes since", cause="learn")
    assert_in_agreement(opened, Board(champion=1))
    assert opened.barred() == {2}
    for attempt in (
        lambda: opened.enrol(registered(2), "again", cause="a person"),
        lambda: opened.promote(2, "again", cause="a person"),
    ):
        with pytest.raises(Barred, match="register a new version"):
            attempt()
    opened.roll_back(2, "more mistakes since", cause="learn")
    assert_in_agreement(opened, Board(champion=1))
    assert [line.kind for line in opened.ledger.read()][-2:] == ["promoted", "rolled_back"]


def test_after_probation_a_rollback_finds_the_last_champion_in_the_ledger(opened):
    """The old champion has left the shadow; its release comes back from MLflow."""
    opened.promote(2, "fewer mistakes", over=1, cause="promote")
    opened.confirm("probation passed", keep=False, cause="promote")
    assert_in_agreement(opened, Board(champion=2))
    opened.roll_back(2, "complaints", cause="a person")
    assert_in_agreement(opened, Board(champion=1))


def test_after_probation_a_rollback_needs_no_mlflow_either(opened, away):
    """The release of who would follow stays in Redis, though it no longer shadows; nobody else's does."""
    opened.promote(2, "fewer mistakes", over=1, cause="promote")
    opened.confirm("probation passed", keep=False, cause="promote")
    assert set(opened.releases.revisions()) == {1, 2}
    away.roll_back(2, "fails", cause="guard")
    assert opened.releases.board() == Board(champion=1)
    assert opened.reconcile("promote") == Board(champion=1)
    assert_in_agreement(opened, Board(champion=1))
    assert set(opened.releases.revisions()) == {1}


def test_a_rollback_needs_somebody_to_roll_back_to(opened):
    """The prior is no heir; a person may name a version."""
    with pytest.raises(Stale, match="no other version than 1 has ever answered"):
        opened.roll_back(1, "complaints", cause="a person")
    with pytest.raises(Stale, match="1 answers"):
        opened.roll_back(3, "complaints", cause="a person")
    opened.roll_back(1, "complaints", to=2, cause="a person")
    assert_in_agreement(opened, Board(champion=2))


def test_a_rollback_does_not_wait_for_mlflow(opened, away):
    """A bad champion stops answering though the registry is away; a reconcile brings the aliases after."""
    opened.promote(2, "fewer mistakes", over=1, cause="promote")
    away.roll_back(2, "more mistakes since", cause="learn")
    assert opened.releases.board() == Board(champion=1)
    assert opened.registry.champion() == 2
    assert opened.reconcile("promote") == Board(champion=1)
    assert_in_agreement(opened, Board(champion=1))


def test_a_rollback_does_not_wait_for_an_mlflow_that_hangs_either(opened, model, ledger):
    """It takes connections and never answers: the board changes within a second or two all the same."""
    opened.promote(2, "fewer mistakes", over=1, cause="promote")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hung = Roles(Registry(f"http://127.0.0.1:{silent.getsockname()[1]}", model), ledger, SLOTS)
        rolling = threading.Thread(target=lambda: hung.roll_back(2, "fails", cause="guard"), daemon=True)
        began = time.monotonic()
        rolling.start()
        while opened.releases.board() != Board(champion=1):
            assert time.monotonic() - began < 5
            time.sleep(0.01)
        assert rolling.is_alive()
    rolling.join(60)  # the socket is closed: connections are now refused
    assert not rolling.is_alive()
    assert opened.reconcile("promote") == Board(champion=1)
    assert_in_agreement(opened, Board(champion=1))


def test_other_changes_do_nothing_without_mlflow(opened, away, registered):
    """The error has the address; ledger and board are as before."""
    third, before = registered(3), opened.ledger.read()
    for attempt in (
        lambda: away.enrol(third, "retrained", cause="retrain"),
        lambda: away.promote(2, "fewer mistakes", over=1, cause="promote"),
    ):
        with pytest.raises(Unavailable, match="does not answer"):
            attempt()
    assert opened.ledger.read() == before
    assert_in_agreement(opened, Board(champion=1, challengers=(2,)))


def test_an_unregistered_version_is_not_enrolled(opened, model):
    """Nothing shadows that MLflow does not know."""
    with pytest.raises(UnknownVersion, match="version 8"):
        opened.enrol(release(model, 8), "from nowhere", cause="a person")
    assert_in_agreement(opened, Board(champion=1, challengers=(2,)))


def test_challengers_retire_and_champions_do_not(opened):
    """Retiring is for the shadow; a repeated call finds nothing to do."""
    assert opened.retire(2, "at best 0.1 points better", cause="promote") is not None
    assert opened.retire(2, "at best 0.1 points better", cause="promote") is None
    with pytest.raises(Stale, match="promote or roll back"):
        opened.retire(1, "old", cause="a person")
    assert_in_agreement(opened, Board(champion=1))


def test_probation_ends_with_or_without_the_old_champion_in_shadow(opened):
    """An online champion that still learns may go on as a challenger."""
    assert opened.confirm("nothing to confirm", keep=True, cause="promote") is None
    opened.promote(2, "fewer mistakes", over=1, cause="promote")
    opened.confirm("probation passed", keep=True, cause="promote")
    assert_in_agreement(opened, Board(champion=2, challengers=(1,)))


def test_challengers_beyond_the_slots_open_a_budget_which_the_ledger_says(opened, registry, registered):
    """One found when the tenure began and two enrolled make three; the fourth opens budget 2, the seventh budget 3."""
    for version in range(3, 9):
        opened.retire(version - 1, "replaced", cause="retrain")
        opened.enrol(registered(version), "retrained", cause="retrain")
    budgets = [line for line in opened.ledger.read() if line.kind == "budget"]
    assert [(line.numbers["budget"], line.numbers["used"]) for line in budgets] == [(2, 3), (3, 6)]
    assert "2 times alpha" in budgets[0].reason
    assert opened.slots_used() == 7
    opened.promote(8, "fewer mistakes", over=1, cause="promote")
    assert opened.slots_used() == 1  # the old champion


def test_an_online_version_keeps_its_newer_revision(opened, registered, model):
    """Enrolling again must not put back weights that the learn flow has moved on from."""
    newer = release(model, 2, kind="online", revision=500)
    opened.releases.publish(newer)
    opened.enrol(registered(2), "again", cause="learn")
    assert opened.releases.revisions()[2] == 500


def test_redis_that_came_back_empty_is_filled_again(opened, client):
    """Board, releases and the page's stream come from the ledger and MLflow."""
    opened.promote(2, "fewer mistakes", over=1, cause="promote")
    client.flushall()
    opened.reconcile("promote")
    assert_in_agreement(opened, Board(champion=2, challengers=(1,), previous=1))


def test_nothing_to_reconcile_is_no_error(roles):
    """Before the first line."""
    assert roles.reconcile("promote") == Board()


def test_a_promotion_killed_anywhere_is_finished_by_a_second_run(opened, monkeypatch):
    """Before each effect in turn, to and fro: once it is run again all agree, and it was decided exactly once."""
    version, other = 2, 1
    for step in range(6):
        lines = len(opened.ledger.read())
        was_killed = run_killed_at(
            opened,
            monkeypatch,
            step,
            lambda: opened.promote(version, "fewer", over=other, cause="c"),  # noqa: B023
        )
        assert was_killed == (step < 5)
        assert_in_agreement(opened, Board(champion=version, challengers=(other,), previous=other))
        assert [line.kind for line in opened.ledger.read()[lines:]] == ["promoted"]
        version, other = other, version


def test_enrolling_and_retiring_killed_anywhere_is_finished_by_a_second_run(opened, registered, monkeypatch):
    """The same for who shadows."""
    third = registered(3)
    for step in range(6):
        lines = len(opened.ledger.read())
        run_killed_at(opened, monkeypatch, step, lambda: opened.enrol(third, "retrained", cause="c"))
        assert_in_agreement(opened, Board(champion=1, challengers=(2, 3)))
        run_killed_at(opened, monkeypatch, step, lambda: opened.retire(3, "worse", cause="c"))
        assert_in_agreement(opened, Board(champion=1, challengers=(2,)))
        kinds = [line.kind for line in opened.ledger.read()[lines:] if line.kind != "budget"]
        assert kinds == ["enrolled", "retired"]


@pytest.mark.parametrize("step", range(6))
def test_a_rollback_killed_anywhere_is_finished_by_a_second_run(opened, monkeypatch, step):
    """And it does not roll back once more."""
    opened.promote(2, "fewer mistakes", over=1, cause="promote")
    run_killed_at(opened, monkeypatch, step, lambda: opened.roll_back(2, "more", cause="c"))
    assert_in_agreement(opened, Board(champion=1))
    assert [line.kind for line in opened.ledger.read()].count("rolled_back") == 1


def test_killed_after_its_line_a_reconcile_finishes(opened, monkeypatch):
    """Nobody need run the same change again: the ledger has it."""
    version, other = 2, 1
    for step in range(1, 5):
        with monkeypatch.context() as patched:
            kill_at(patched, opened, step)
            with pytest.raises(Killed):
                opened.promote(version, "fewer mistakes", over=other, cause="promote")
        opened.reconcile("promote")
        assert_in_agreement(opened, Board(champion=version, challengers=(other,), previous=other))
        version, other = other, version


def test_a_change_whose_lease_ran_out_writes_nothing(opened, client, monkeypatch):
    """Another process may have changed the roles meanwhile."""
    real = opened.registry.tags

    def slow(version):
        client.delete(lease.Lease(client, opened.model, "roles").key)
        return real(version)

    monkeypatch.setattr(opened.registry, "tags", slow)
    with pytest.raises(lease.LeaseLost):
        opened.promote(2, "fewer mistakes", over=1, cause="promote")
    assert_in_agreement(opened, Board(champion=1, challengers=(2,)))
