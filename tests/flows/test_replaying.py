"""A real history, and the gate's decisions in it, reached again from the log alone."""

import pytest

from contracts.events import Decision
from registry.reproduce import Reproduced, can_be, reproduce
from tests.flows.gate_scene import Scene
from tests.flows.story import Story

SOON = 'maturity = "10s"\n'


def played(scene: Scene) -> Story:
    """A better challenger is promoted, a worse one retired; then the new champion fails, and is rolled back."""
    story = Story(scene)
    for _ in range(8):
        story.ask(150, {1: 0.7, 2: 0.85, 3: 0.55})
        story.look()
    for _ in range(6):
        story.ask(150, {1: 0.85, 2: 0.6, 3: 0.5})
        story.look()
    story.end()
    return story


def again(scene: Scene) -> list[Reproduced]:
    place = scene.place
    return list(reproduce(place.log.folder, place.model, place.roles.ledger.read()))


def told(lines: list[Decision]) -> list[tuple[str, int | None]]:
    return [(line.kind, line.version) for line in lines]


@pytest.mark.parametrize(
    "rules",
    [
        "",
        'loss = "brier"\nguardrails = {log = 0.1}\n',
        'unit = "entity"\nunit_window = "60s"\nsegments = ["kind"]\nmin_coverage = 0\n',
        'loss = "cost"\ncosts = [[0, 1], [3, 0]]\ncorrection_lag = "30s"\n',
        'loss = "auc"\n',
    ],
)
def test_the_log_gives_every_decision_of_the_ledger_again(scene: Scene, rules: str) -> None:
    """Decision, sentence, counts, evidence and bounds: all of them equal, to the last bit."""
    scene = scene.ruled(SOON + rules)
    played(scene)
    lines = [line for line in scene.lines() if line.cause == "gate" and line.kind != "policy"]
    found = again(scene)
    assert [one.line for one in found] == [line for line in lines if can_be(line)]
    for one in found:
        assert one.differs == {}, one.doubts
