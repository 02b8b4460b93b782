"""What the documents promise is there: commands, variables, configuration; and the lock names no addresses."""

import re
from pathlib import Path

import click
import pytest

from contracts import config
from contracts.settings import Settings
from learners.catalogue import RECIPES
from tiltyard.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

SHOP = """
[models.shop]
features = {price = "float"}
label = {task = "binary", classes = [false, true]}
[models.shop.learners]
linear = {algorithm = "linear"}
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_command_in_the_readme_exists() -> None:
    """`tiltyard X` is a command, and `make X` a target."""
    assert isinstance(main, click.Group)
    named = set(
        re.findall(r"tiltyard ([a-z]+(?:-[a-z]+)*)", " ".join([*blocks(""), *re.findall(r"`([^`]+)`", README)]))
    )
    assert {"init", "up", "replay"} <= named <= set(main.commands)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", README)) - {"and"} <= targets


def test_every_variable_in_the_readme_is_a_setting_and_every_setting_is_there() -> None:
    """The table is complete and says nothing that is not so."""
    named = set(re.findall(r"TILTYARD_[A-Z_]+", README))
    assert named == {f"TILTYARD_{name.upper()}" for name in Settings.__struct_fields__}


@pytest.mark.parametrize("text", blocks("toml"))
def test_the_configuration_in_the_readme_is_one(text: str) -> None:
    """It parses as it stands, or, where it is a table alone, as part of a model."""
    whole = text if "features = " in text else SHOP + text
    assert config.parse(whole).models


def test_the_learners_in_the_readme_are_those_of_the_catalogue() -> None:
    """The table names every algorithm of either kind, and nothing else."""
    told = set(re.findall(r"^\| `([a-z_]+)` \| (online|batch) \|", README, re.MULTILINE))
    assert told == {(name, kind) for kind, known in RECIPES.items() for name in known}


def test_the_lock_has_hashes_and_no_addresses() -> None:
    """Whoever installs it chooses where from, and gets these very files."""
    for lock in ("requirements.lock", "requirements-uv.lock"):
        text = (ROOT / lock).read_text()
        assert "://" not in text
        pinned = re.findall(r"^[A-Za-z0-9._-]+==.*$", text, re.MULTILINE)
        assert pinned
        assert all(line.endswith("\\") for line in pinned)


def test_every_bound_has_its_reason() -> None:
    """Each runtime dependency says on its line why it is there."""
    text = (ROOT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert [line for line in listed.splitlines() if "# " not in line] == []
