"""Aliases moved or deleted by hand in MLflow, and versions deleted there: noticed, entered, followed or set back."""

import pytest

from contracts.releases import Board
from registry.promotion import Roles, Stale
from tests.registry.conftest import SLOTS
from tests.registry.roles import assert_in_agreement, run_killed_at


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
