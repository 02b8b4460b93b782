"""Changes of roles: alias, release, board and ledger agree, whatever happens half way."""

import socket
import threading
import time

import pytest

from contracts import lease
from contracts.events import Prediction
from contracts.releases import Board
from registry import history
from registry.promotion import Barred, Roles, Stale
from registry.versions import Registry, Unavailable, UnknownVersion
from tests.conftest import free_port
from tests.registry.conftest import SLOTS, release


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


@pytest.fixture
def away(model, ledger, monkeypatch) -> Roles:
    """The same model where MLflow does not answer."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return Roles(Registry(f"http://127.0.0.1:{free_port()}", model), ledger, SLOTS)


@pytest.fixture
def opened(roles, registered, model):
    """A champion (1) that came by bootstrap over the prior, and a challenger (2)."""
    roles.open_with_prior(release(model, 0, kind="prior"), "bootstrap")
    for version in (1, 2):
        roles.enrol(registered(version), "retrained", cause="retrain")
    roles.bootstrap(1, "200 labels learned", cause="learn")
    return roles


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


def test_an_alias_moved_by_hand_is_followed_and_entered(opened):
    """MLflow is the truth about aliases; the old champion stays in shadow, as after any promotion."""
    opened.registry.set_champion(2)
    opened.reconcile("promote")
    assert_in_agreement(opened, Board(champion=2, challengers=(1,), previous=1))
    line = opened.ledger.read()[-1]
    assert (line.kind, line.version, line.cause) == ("moved_by_hand", 2, "MLflow")


def test_an_alias_moved_to_what_cannot_serve_is_moved_back(opened):
    """A version without a release, or a barred one; the refusal is a ledger line."""
    run = opened.registry._mlflow.create_run(opened.registry._experiment(opened.registry._mlflow)).info.run_id
    opened.registry._mlflow.log_text(run, "not ours", "model/MLmodel")
    opened.registry._mlflow.create_model_version(opened.model, f"runs:/{run}/model", run)
    opened.registry.set_champion(3)
    opened.reconcile("promote")
    assert_in_agreement(opened, Board(champion=1, challengers=(2,)))
    line = opened.ledger.read()[-1]
    assert (line.kind, line.version) == ("refused", 3)
    assert "no ONNX graph with a manifest" in line.reason


def test_an_alias_moved_by_hand_is_moved_back_where_that_is_configured(opened, ledger, registry):
    """It stands in the ledger as such; nobody else answers."""
    strict = Roles(registry, ledger, SLOTS, "reverse")
    for _ in range(2):
        opened.registry.set_champion(2)
        assert strict.reconcile("promote") == Board(champion=1, challengers=(2,))
        assert_in_agreement(opened, Board(champion=1, challengers=(2,)))
    line = ledger.read()[-1]
    assert (line.kind, line.version, line.cause) == ("moved_by_hand", 2, "MLflow")
    assert line.numbers == {"from": 1, "to": 2, "followed": False}
    assert line.reason.endswith('and moved back: gate.hand_moves is "reverse".')
    assert [line.kind for line in ledger.read()].count("moved_by_hand") == 2


@pytest.mark.parametrize("hand_moves", ["follow", "reverse"])
def test_an_alias_deleted_by_hand_is_set_again_and_entered(opened, ledger, registry, hand_moves):
    """Somebody has to answer; each time it is a line, and whatever changes next notices it too."""
    roles, delete = Roles(registry, ledger, SLOTS, hand_moves), registry._mlflow.delete_registered_model_alias
    delete(opened.model, "champion")
    for _ in range(2):
        assert roles.reconcile("gate") == Board(champion=1, challengers=(2,))
        assert_in_agreement(opened, Board(champion=1, challengers=(2,)))
    delete(opened.model, "champion")
    roles.promote(2, "fewer mistakes", over=1, cause="gate")
    lines = [line for line in ledger.read() if line.kind == "moved_by_hand"]
    assert [(line.version, line.numbers) for line in lines] == [(1, {"from": 1, "to": None, "followed": False})] * 2
    assert lines[0].reason == "The champion alias of version 1 was deleted in MLflow by hand, and set again."
    assert_in_agreement(opened, Board(champion=2, challengers=(1,), previous=1))


@pytest.mark.parametrize("hand_moves", ["follow", "reverse"])
def test_a_barred_version_does_not_return_by_hand(opened, ledger, registry, hand_moves):
    """Its alias is moved back, and the refusal says why."""
    opened.promote(2, "fewer mistakes", over=1, cause="promote")
    opened.roll_back(2, "more mistakes since", cause="learn")
    opened.registry.set_champion(2)
    assert Roles(registry, ledger, SLOTS, hand_moves).reconcile("promote") == Board(champion=1)
    assert_in_agreement(opened, Board(champion=1))
    line = ledger.read()[-1]
    assert (line.kind, line.version) == ("refused", 2)
    assert "rolled back and is barred" in line.reason


def test_an_alias_moved_by_hand_is_noticed_by_whatever_changes_next(opened, registered):
    """An enrolment sets all aliases, and must not undo the move without a word."""
    third = registered(3)
    opened.registry.set_champion(2)
    opened.enrol(third, "retrained", cause="retrain")
    assert_in_agreement(opened, Board(champion=2, challengers=(1, 3), previous=1))
    assert [line.kind for line in opened.ledger.read()][-2:] == ["moved_by_hand", "enrolled"]


def test_a_promotion_over_a_champion_that_was_moved_by_hand_is_stale(opened, registered):
    """The evidence was against who answered before; the move itself is carried out all the same."""
    opened.enrol(registered(3), "retrained", cause="retrain")
    opened.registry.set_champion(2)
    with pytest.raises(Stale, match="against 1, but 2 answers"):
        opened.promote(3, "fewer mistakes", over=1, cause="promote")
    assert_in_agreement(opened, Board(champion=2, challengers=(3, 1), previous=1))


@pytest.mark.parametrize("step", range(6))
def test_a_move_by_hand_killed_anywhere_is_followed_once(opened, monkeypatch, step):
    """However often a reconcile is killed over it."""
    opened.registry.set_champion(2)
    run_killed_at(opened, monkeypatch, step, lambda: opened.reconcile("promote"))
    assert_in_agreement(opened, Board(champion=2, challengers=(1,), previous=1))
    assert [line.kind for line in opened.ledger.read()].count("moved_by_hand") == 1


def test_a_version_deleted_from_mlflow_goes_on_answering(opened):
    """The ledger says so once; the page shows it from there."""
    opened.registry._mlflow.delete_model_version(opened.model, "1")
    for _ in range(2):
        assert opened.reconcile("promote") == Board(champion=1, challengers=(2,))
    assert opened.releases.fetch(1) is not None
    assert [(line.kind, line.version) for line in opened.ledger.read()][4:] == [("deleted", 1)]
    assert "while it answers" in opened.streams.decisions(1)[0].reason


def test_a_challenger_deleted_from_mlflow_keeps_no_alias_from_being_set(opened, registered):
    """Else the champion's would stay where it was, and read as moved by hand."""
    opened.enrol(registered(3), "retrained", cause="retrain")
    opened.registry._mlflow.delete_model_version(opened.model, "2")
    opened.promote(3, "fewer mistakes", over=1, cause="promote")
    assert opened.registry.champion() == 3
    assert opened.reconcile("promote") == Board(champion=3, challengers=(2, 1), previous=1)
    assert [line.kind for line in opened.ledger.read()][-2:] == ["promoted", "deleted"]
    assert opened.ledger.read()[-1].version == 2


def test_nothing_to_reconcile_is_no_error(roles):
    """Before the first line."""
    assert roles.reconcile("promote") == Board()


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
