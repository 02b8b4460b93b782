"""States of one learner to start a replay from: hard links to checkpoints that were written anyway.

They lie close together near the present and ever further apart in the past, so that a replay from the one before a
corrected label is at most about twice as long as it must be. One that has learned an example which was amended since
is of no use any more: amendments are never taken back.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts import frames
from contracts.journal import Amendment
from flows import checkpoint

log = logging.getLogger(__name__)

MOST = 32
APART = 1_000
"""Examples between two snapshots, at least: a replay of fewer costs less than keeping more."""


@dataclass(frozen=True)
class Snapshot:
    """One stored state. `position` counts the journal's examples in it, `at` is that of the last one."""

    path: Path
    position: int
    at: int
    applied: int
    """Amendments that it was stored with."""
    size: int


def of(folder: Path) -> list[Snapshot]:
    """Every one whose header can be read, oldest first."""
    return [found for path in sorted(folder.glob("*.snapshot")) if (found := _look(path)) is not None]


def keep(folder: Path, current: Path, amendments: Sequence[Amendment], budget_bytes: int) -> list[Snapshot]:
    """Keeps the current checkpoint too when it is far enough from the last one, and a replay could start from it;
    returns what is kept.

    Live learning and a replay may both do so at once: none adds or drops what the other would not.
    """
    kept = _useful(folder, amendments)
    facts = checkpoint.facts(current)
    is_far = not kept or facts["position"] >= kept[-1].position + APART
    if is_far and not lacking(amendments, facts["applied"], facts["at"]):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{facts['position']:015d}.snapshot"
        path.unlink(missing_ok=True)
        os.link(current, path)
        frames.sync(folder)
        kept.append(Snapshot(path, facts["position"], facts["at"], facts["applied"], path.stat().st_size))
    while len(kept) > 2 and (len(kept) > MOST or sum(one.size for one in kept) > budget_bytes):
        least = _least_missed([one.position for one in kept])
        kept.pop(least).path.unlink(missing_ok=True)
    return kept


def newest(folder: Path, amendments: Sequence[Amendment]) -> Any | None:
    """The newest state that none of the amendments would have changed, or None: then everything is learned anew."""
    for one in reversed(_useful(folder, amendments)):
        try:
            return checkpoint.read(one.path)
        except checkpoint.CheckpointRefused as error:
            log.warning("snapshot refused path=%s reason=%s", one.path, error.reason)
            one.path.unlink()
    return None


def purge(folder: Path, amendments: Sequence[Amendment], is_benched: bool = False) -> bool:
    """Removes stored states that no replay can start from any more, and files beside the current one that hold what
    was erased; tells whether the current one holds nothing of it.

    While it does, the one before it stays too, unless the learner is benched: then neither is to be trusted. Call it
    while nothing is being learned anew.
    """
    _useful(folder / "snapshots", amendments)
    shutil.rmtree(folder / "rebuilt", ignore_errors=True)
    if not is_benched and _holds_erased(folder / "current", amendments):
        return False
    for path in (folder / "current", folder / "previous", folder / "unfinished"):
        if _holds_erased(path, amendments):
            path.unlink()
    return True


def lacking(amendments: Sequence[Amendment], applied: int, at: int) -> list[Amendment]:
    """Amendments of examples up to `at` that a state learned without them, having the first `applied`."""
    return [change for change in amendments[applied:] if change.at <= at]


def _useful(folder: Path, amendments: Sequence[Amendment]) -> list[Snapshot]:
    """Those that a replay can start from, oldest first; the others are removed, unreadable ones too."""
    useful = []
    for path in sorted(folder.glob("*.snapshot")):
        found = _look(path)
        if found is None or lacking(amendments, found.applied, found.at):
            path.unlink(missing_ok=True)
        else:
            useful.append(found)
    return useful


def _look(path: Path) -> Snapshot | None:
    try:
        facts, size = checkpoint.facts(path), path.stat().st_size
    except (checkpoint.CheckpointRefused, OSError):
        return None
    return Snapshot(path, facts["position"], facts["at"], facts["applied"], size)


def _holds_erased(path: Path, amendments: Sequence[Amendment]) -> bool:
    """Whether a stored state has learned what was erased since; one that cannot be read may have."""
    try:
        facts = checkpoint.facts(path)
    except FileNotFoundError:
        return False
    except checkpoint.CheckpointRefused:
        return any(change.label is None for change in amendments)
    return any(change.label is None for change in lacking(amendments, facts["applied"], facts["at"]))


def _least_missed(positions: list[int]) -> int:
    """Which one to drop: its neighbours then lie closest together, seen from the present. Never the first or last."""
    now = positions[-1] + APART
    return min(range(1, len(positions) - 1), key=lambda i: (now - positions[i - 1]) / (now - positions[i + 1]))
