"""A revision whose graph does not answer as its learner does is found before serving has to refuse it."""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from flows import publishing
from flows.aside import Aside
from flows.place import Place
from flows.publishing import Registered
from learners import export
from learners.export import Revision
from tests.flows.test_trainer import VERSION, drain, examples, facts, training, write
from tests.flows.world import place_in
from tests.serving.harness import until

Spoil = Callable[[Revision], Revision]


@pytest.fixture
def place(tmp_path: Path, client: redis.Redis) -> Place:
    return place_in(tmp_path, client)


@pytest.fixture
def spoiled(monkeypatch: pytest.MonkeyPatch) -> list[Spoil]:
    """Exports go wrong in these ways, from now on, where they begin from an earlier one."""
    ways: list[Spoil] = []
    real = export.revision

    def revision(model: object, schema: object, previous: Revision | None = None) -> Revision:
        found = real(model, schema, previous)  # type: ignore[arg-type]
        for way in ways if previous is not None else ():
            found = way(found)
        return found

    monkeypatch.setattr(publishing.export, "revision", revision)
    return ways


def weights_off(found: Revision) -> Revision:
    return dataclasses.replace(found, weights={name: array + 0.01 for name, array in found.weights.items()})


def nan(found: Revision) -> Revision:
    return dataclasses.replace(found, weights={name: array * math.nan for name, array in found.weights.items()})


def no_graph(found: Revision) -> Revision:
    return dataclasses.replace(found, onnx=b"no graph", graph_sha256="another")


def weight_lost(found: Revision) -> Revision:
    return dataclasses.replace(found, weights={"nobody's": next(iter(found.weights.values()))})


@pytest.mark.parametrize("way", [weights_off, nan, no_graph, weight_lost])
def test_a_graph_that_does_not_answer_as_river_is_held_and_the_last_good_one_stays(
    place: Place, spoiled: list[Spoil], way: Spoil
) -> None:
    """With the reason, and learning goes on; the next revision is exported from nothing and is published."""
    with training(place) as trainer:
        write(place, examples(100))
        drain(trainer)
        trainer.publisher.check_at = 0.0
        spoiled.append(way)
        write(place, examples(50, 100))
        drain(trainer)
        assert place.releases.revisions() == {VERSION: 100}
        held = facts(place).held
        assert held is not None
        assert held.startswith("its graph does not answer as River does: ")
        assert trainer.benched is None
        write(place, examples(50, 150))
        drain(trainer)
        assert place.releases.revisions() == {VERSION: 200}
    assert facts(place).held is None


def test_a_graph_is_looked_at_beside_learning_too(place: Place, spoiled: list[Spoil]) -> None:
    """A child uses the session that it was forked with, or builds one; when to build the next is known here."""
    with training(place) as trainer:
        write(place, examples(100))
        drain(trainer)
        trainer.inline_s, trainer.start, trainer.publisher.check_at = -1.0, Aside, 0.0
        spoiled.append(weights_off)
        for n, way in enumerate((weights_off, no_graph)):
            spoiled[0] = way
            write(place, examples(50, 100 + 50 * n))
            until(lambda: trainer.step() == 0 and trainer.held is not None)
            assert place.releases.revisions() == {VERSION: 100}
            trainer.held, trainer.publisher.exported = None, export.revision(trainer.state.learner.model, place.schema)
        until(lambda: trainer._saving is None)
        assert trainer.publisher.check_at > 0.0


def test_golden_scores_are_rivers_own(place: Place) -> None:
    """Not the graph's: comparing a graph with itself would find nothing."""
    with training(place, "tree") as trainer:
        write(place, examples(500))
        drain(trainer)
        manifest = place.releases.manifest(VERSION)
        assert manifest is not None
        model, names = trainer.state.learner.model, place.schema.names
        for row, (no, yes) in zip(manifest.golden.rows, manifest.golden.scores, strict=True):
            answer = model.predict_proba_one({n: v for n, v in zip(names, row, strict=True) if v is not None})
            assert (no, yes) == (answer.get(False, 0.0), answer.get(True, 0.0))


def test_new_graphs_are_looked_at_for_a_share_of_the_time(place: Place, spoiled: list[Spoil]) -> None:
    """Building a session costs more than publishing does; serving builds one anyway, and refuses what is wrong."""
    with training(place) as trainer:
        write(place, examples(100))
        began = time.monotonic()
        drain(trainer)
        assert trainer.publisher.check_at > began
        trainer.publisher.check_at = math.inf
        spoiled.append(no_graph)
        write(place, examples(50, 100))
        drain(trainer)
        assert place.releases.revisions() == {VERSION: 150}
        trainer.publisher.check_at = 0.0
        write(place, examples(50, 150))
        drain(trainer)
        assert place.releases.revisions() == {VERSION: 150}
        assert "cannot run it" in str(facts(place).held)


def test_a_learner_whose_graph_is_wrong_is_not_registered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again later, as when MLflow is away."""
    real = export.revision
    monkeypatch.setattr(publishing.export, "revision", lambda model, schema, _: weights_off(real(model, schema)))
    write(place, examples(100))
    with training(place) as trainer:
        while trainer.state.learner.learned < 100:
            trainer.step()
        found = trainer.publisher.register(trainer.state, trainer._golden(), "0-0")
        assert isinstance(found, Registered)
        assert (found.version, found.broken) == (None, False)
        assert "does not answer as River does" in found.reason
