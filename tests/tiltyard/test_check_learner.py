"""`tiltyard check-learner`: what it prints, and its exit status."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contracts.events import Feedback, Prediction, Shadow, offset
from contracts.log import Log
from contracts.schema import Feature, Label, Schema
from learners.contract import CHECKS
from tiltyard.cli import main

CONFIG = """
[models.m]
features = {x = "float", y = "float?"}
label = {task = "binary", classes = [false, true]}
[models.m.learners]
good = {learner = "mine_checked:build"}
bad = {learner = "mine_checked:alma"}
"""
MODULE = """
from river import linear_model, preprocessing
def build(schema, params, seed):
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()
def alma(schema, params, seed):
    return linear_model.ALMAClassifier()
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and a module."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiltyard.toml").write_text(CONFIG)
    (tmp_path / "mine_checked.py").write_text(MODULE)
    return tmp_path


def check(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check-learner", *arguments])


def test_each_learner_is_told_of_check_by_check() -> None:
    """A line for each check, with its figures or its reason; one that is refused makes the status 1."""
    result = check("m", "--rows", "200")
    assert result.exit_code == 1
    lines, count = [line.strip() for line in result.stdout.splitlines()], len(CHECKS["online"])
    assert lines[0] == "good (online, mine_checked:build) on 200 rows generated from the schema"
    assert [line.startswith("ok") for line in lines[1 : count + 1]] == [True] * count
    assert lines[count + 1 : count + 3] == [
        "good: fit to serve",
        "bad (online, mine_checked:alma) on 200 rows generated from the schema",
    ]
    assert "refused  the ONNX graph is exact: ALMAClassifier cannot be exported" in result.stdout
    assert lines[-1] == "bad: refused, 1 to be put right"


def test_programs_get_json(home: Path) -> None:
    """And nothing else on standard output."""
    (home / "tiltyard.toml").write_text(CONFIG + 'fitted = {algorithm = "linear", kind = "batch"}')
    told = json.loads(check("m", "fitted", "--rows", "200", "--json").stdout)
    assert [(one["check"], one["ok"]) for one in told["fitted"]] == [(name, True) for name in CHECKS["batch"]]


def test_the_newest_rows_of_the_log_can_be_tried(home: Path) -> None:
    """What was really asked and answered, as the log has it. The status of what is fit to serve is 0."""
    schema = Schema((Feature("x", "float"), Feature("y", "float", True)), Label("binary", (False, True)))
    log = Log(home / "tiltyard-state" / "log", "m", schema)
    ids = [f"{1_700_000_000_000 + i}-0" for i in range(150)]
    rows = [(float(i % 7), None if i % 5 == 0 else float(i)) for i in range(150)]
    asked = [Prediction(1, 0, (0.5, 0.5), row, schema.fingerprint) for row in rows]
    log.append_predictions([(offset(id_), one, Shadow({})) for id_, one in zip(ids, asked, strict=True)])
    log.append_labels(
        [(offset(id_), Feedback(id_, "true" if row[0] > 3 else "false")) for id_, row in zip(ids, rows, strict=True)]
    )
    result = check("m", "good", "--log", "--rows", "120")
    assert result.exit_code == 0, result.output
    assert "on 120 rows of the log, the newest" in result.stdout


REFUSED = [
    (("m", "nobody"), 'there is no learner "nobody"; known are good, bad'),
    (("n",), 'there is no model "n"'),
    (("m", "--log"), "has 0 labelled predictions, and 100 are needed; leave out --log"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_is_not_there_is_told_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    """Status 2, no traceback."""
    result = check(*arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
