"""What a learner may be in tiltyard.toml."""

import re
import sys
from pathlib import Path

import pytest

from contracts.config import load, parse
from contracts.quantities import ConfigError

MODEL = """
[models.m]
features = {x = "float"}
label = {task = "binary", classes = [false, true]}
[models.m.learners.mine]
"""


GATE = """
[models.m]
label = {{task = "binary", classes = [false, true]}}
features = {{x = "float", c = "category"}}
learners = {{one = {{algorithm = "linear"}}}}
[models.m.gate]
{}
"""


def test_a_learner_is_named_by_its_algorithm_or_its_builder() -> None:
    """One of the catalogue, or one's own."""
    (first,) = parse(MODEL + 'algorithm = "linear"').models["m"].learners.values()
    (second,) = parse(MODEL + 'learner = "mine.models:build"').models["m"].learners.values()
    assert (first.named, second.named) == ("linear", "mine.models:build")


REFUSED = [
    ("seed = 1", "has neither of algorithm"),
    ('algorithm = "linear"\nlearner = "mine:build"', "has both of algorithm"),
    ('learner = "mine"', 'learner: "mine" names no function; write "package.module:build"'),
    ('learner = "mine:build()"', "names no function"),
    ('algorithm = "linear"\nmini_batch = 1', "mini_batch: Expected `int` >= 2"),
    ('algorithm = "linear"\nkind = "batch"\nmini_batch = 9', 'mini_batch: is for kind = "online"'),
]


@pytest.mark.parametrize(("lines", "message"), REFUSED)
def test_a_learner_that_says_too_little_or_too_much_is_refused_by_name(lines: str, message: str) -> None:
    """The error names the learner in its model, and what to write."""
    with pytest.raises(ConfigError) as refused:
        parse(MODEL + lines)
    assert str(refused.value).startswith("models.m.learners.mine")
    assert message in str(refused.value)


def test_the_folder_of_the_file_is_searched_last_and_only_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules beside tiltyard.toml are found, once there is a learner of one's own, and replace no installed one."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "tiltyard.toml"
    path.write_text(MODEL + 'algorithm = "linear"')
    load(path)
    assert str(tmp_path) not in sys.path
    path.write_text(MODEL + 'learner = "mine:build"')
    load(path)
    load(path)
    assert sys.path[-1] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_a_dry_run_tries_other_rules_on_the_same_evidence() -> None:
    """It says only what differs, and nothing that would make other evidence."""
    gate = parse(GATE.format("alpha = 0.1\ndry_run = {alpha = 0.01, min_gain = 0.02}")).models["m"].gate
    assert gate.tried is not None
    assert (gate.alpha, gate.tried.alpha, gate.tried.min_gain, gate.tried.slots) == (0.1, 0.01, 0.02, gate.slots)
    assert gate.tried.tried is None
    assert parse(GATE.format("")).models["m"].gate.tried is None


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ("dry_run = {alfa = 0.1}", 'unknown key "models.m.gate.dry_run.alfa"; did you mean "alpha"?'),
        ("dry_run = {alpha = 2}", "models.m.gate.dry_run.alpha: "),
        ('dry_run = {loss = "brier"}', "models.m.gate.dry_run.loss: makes other evidence"),
        ("dry_run = {guardrails = {brier = 0.1}}", "dry_run.guardrails: only their tolerances"),
        ("dry_run = {min_gain = 0.001, margin = 0.01}", "min_gain: must exceed margin"),
        ('loss = "cost"', 'costs: go with loss = "cost"'),
        ("costs = [[0, 1], [1, 0]]", 'costs: go with loss = "cost"'),
        ('loss = "cost"\ncosts = [[0, 1]]', "needs 2 rows of 2 numbers"),
        ('loss = "cost"\ncosts = [[1, 1], [1, 1]]', "are all the same"),
        ('segments = ["x"]', 'segments: "x" is no feature of type category or bool'),
        ('unit = "nobody"', 'unit: "nobody" is no feature, nor "entity"'),
        ('unit_window = "1d"', "unit_window: needs gate.unit"),
        ('loss = "auc"\nunit = "entity"', '"auc" is counted in blocks'),
        ("guardrails = {hinge = 0.1}", "guardrails"),
        ('correction_lag = "soon"', "models.m.gate.correction_lag: "),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(gate: str, told: str) -> None:
    """With the key and what to do."""
    with pytest.raises(ConfigError, match=re.escape(told)):
        parse(GATE.format(gate))


@pytest.mark.parametrize("loss", ['"zero_one"', '"cost"\ncosts = [[0, 1], [5, 0]]', '"brier"', '"log"', '"auc"'])
def test_every_loss_of_classes_fits_a_binary_label(loss: str) -> None:
    """Each with what it needs."""
    assert parse(GATE.format(f"loss = {loss}")).models["m"].loss in loss
