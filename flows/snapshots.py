"""States of one learner to start a replay from: hard links to checkpoints that were written anyway.

They lie close together near the present and ever further apart in the past, so that a replay from the one before a
corrected label is at most about twice as long as it must be.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.journal import Amendment
from flows import checkpoint

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
    """Every sound one, oldest first."""
    found = []
    for path in sorted(folder.glob("*.snapshot")):
        try:
            facts = checkpoint.facts(path)
        except (checkpoint.CheckpointRefused, OSError):
            continue
        found.append(Snapshot(path, facts["position"], facts["at"], facts["applied"], path.stat().st_size))
    return found


def keep(folder: Path, current: Path, budget_bytes: int) -> list[Snapshot]:
    """Keeps the current checkpoint too when it is far enough from the last one; returns what is kept."""
    kept = of(folder)
    facts = checkpoint.facts(current)
    if not kept or facts["position"] >= kept[-1].position + APART:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{facts['position']:015d}.snapshot"
        path.unlink(missing_ok=True)
        os.link(current, path)
        kept.append(Snapshot(path, facts["position"], facts["at"], facts["applied"], path.stat().st_size))
    while len(kept) > 2 and (len(kept) > MOST or sum(one.size for one in kept) > budget_bytes):
        least = _least_missed([one.position for one in kept])
        kept.pop(least).path.unlink(missing_ok=True)
    return kept


def before(folder: Path, amendments: Sequence[Amendment]) -> Snapshot | None:
    """The newest state that none of the amendments would have changed, or None: then everything is learned anew."""
    sound = [one for one in of(folder) if not _lacks(amendments[one.applied :], one.at)]
    return sound[-1] if sound else None


def purge(folder: Path, kept: Path, amendments: Sequence[Amendment], is_benched: bool = False) -> bool:
    """Removes stored states that no replay can start from any more, and files beside the current one that hold what
    was erased; tells whether the current one holds nothing of it.

    While it does, the one before it stays too, unless the learner is benched: then neither is to be trusted. Call it
    while nothing is being learned anew.
    """
    sound = {one.path for one in of(kept) if not _lacks(amendments[one.applied :], one.at)}
    for path in set(kept.glob("*.snapshot")) - sound:
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / "rebuilt", ignore_errors=True)
    if not is_benched and _holds_erased(folder / "current", amendments):
        return False
    for path in (folder / "current", folder / "previous", folder / "unfinished"):
        if _holds_erased(path, amendments):
            path.unlink()
    return True


def _lacks(amendments: Sequence[Amendment], at: int) -> bool:
    return any(change.at <= at for change in amendments)


def _holds_erased(path: Path, amendments: Sequence[Amendment]) -> bool:
    """Whether a stored state has learned what was erased since; one that cannot be read may have."""
    try:
        facts = checkpoint.facts(path)
    except FileNotFoundError:
        return False
    except checkpoint.CheckpointRefused:
        return any(change.label is None for change in amendments)
    return _lacks([change for change in amendments[facts["applied"] :] if change.label is None], facts["at"])


def _least_missed(positions: list[int]) -> int:
    """Which one to drop: its neighbours then lie closest together, seen from the present. Never the first or last."""
    now = positions[-1] + APART
    return min(range(1, len(positions) - 1), key=lambda i: (now - positions[i - 1]) / (now - positions[i + 1]))
