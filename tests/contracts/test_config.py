"""What a learner may be in tiltyard.toml."""

import sys
from pathlib import Path

import pytest

from contracts.config import ConfigError, load, parse

MODEL = """
[models.m]
features = {x = "float"}
label = {task = "binary", classes = [false, true]}
[models.m.learners.mine]
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
