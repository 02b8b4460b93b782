"""Entities: named by whoever asks, stored as a keyed hash."""

import re
import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec
import pytest

from contracts import entities, events
from contracts.events import Prediction
from contracts.quantities import ConfigError
from contracts.settings import Settings


def _key_in(state: Path) -> bytes:
    return entities.key(Settings(state=state))


def test_the_first_to_need_the_key_makes_it_and_all_agree(tmp_path: Path) -> None:
    """However many start at once; the file is its owner's alone, and nothing else is left in the folder."""
    state = tmp_path / "new" / "state"
    with ProcessPoolExecutor(3, get_context("spawn")) as pool:
        found = set(pool.map(_key_in, [state] * 32))
    assert len(found) == 1
    (kept,) = state.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert re.fullmatch(rb"[0-9a-f]{64}", found.pop())


def test_a_damaged_key_is_refused_not_replaced(tmp_path: Path) -> None:
    """A new key would lose every entity that was stored under the old one."""
    (tmp_path / "entity.key").write_text("short\n")
    with pytest.raises(ConfigError, match="fewer than 16 characters; restore it"):
        _key_in(tmp_path)


def test_a_key_from_the_environment_makes_no_file(tmp_path: Path) -> None:
    """The file's text works as the variable on another machine."""
    first = _key_in(tmp_path / "one")
    other = Settings(state=tmp_path / "two", entity_key=first.decode())
    assert entities.key(other) == first
    assert not other.state.exists()
    with pytest.raises(ConfigError, match="TILTYARD_ENTITY_KEY holds fewer than 16"):
        entities.key(Settings(state=tmp_path, entity_key="guessable"))


def test_a_hash_depends_on_key_model_and_name() -> None:
    """Models cannot be joined by it, and neither half of a pair can borrow from the other."""
    key = b"0123456789abcdef"
    found = [
        entities.masked(key, "m", "ann"),
        entities.masked(key, "m", "ann\0"),
        entities.masked(key, "n", "ann"),
        entities.masked(key, "ma", "nn"),
        entities.masked(b"x" + key, "m", "ann"),
    ]
    assert len(set(found)) == len(found)
    assert found[0] == entities.masked(key, "m", "ann") == "8dd360af825dd96cb659c6431b8ca4fc"
    assert all(re.fullmatch("[0-9a-f]{32}", text) for text in found)


def test_predictions_from_before_there_were_entities_are_read() -> None:
    """A shorter array is an older prediction about nobody."""
    old = msgspec.msgpack.encode([1, 0, [0.5, 0.5], [1.0], "f"])
    assert events.decode(Prediction, {b"e": old}) == Prediction(1, 0, (0.5, 0.5), (1.0,), "f", None)
