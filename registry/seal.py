"""Digests of the ledger's files: a changed byte is found also where no line reads differently for it.

They are no proof against somebody who changes them, too; the chain of hashes and a head noted elsewhere are. The file
is as `sha256sum` writes it. What a killed writer left without a digest gets one with the next line.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

FILE = "ledger.sums"
_TABLE = "ledger"


def seal(folder: Path) -> None:
    """Notes the digests of commits that are new in a model's log folder, and of the files that they added.

    The caller holds the ledger's lease.
    """
    known = _known(folder)
    commits = [path for path in _commits(folder) if _name(folder, path) not in known]
    fresh = [path for commit in commits for path in (commit, *(path for path, _ in _added(folder, commit)))]
    if fresh:
        with (folder / FILE).open("a") as file:
            file.write("".join(f"{_digest(path)}  {_name(folder, path)}\n" for path in fresh))
            file.flush()
            os.fsync(file.fileno())


def first_changed(folder: Path) -> tuple[int, str] | None:
    """The first line that a changed file holds, and the file's name; None where every file is as it was written."""
    known, found, line = _known(folder), [], 0
    for commit in _commits(folder):
        added = list(_added(folder, commit))
        # By the commits before it: where this one is damaged, so may be what it says of itself.
        for path, first in [(commit, line), *added]:
            digest = known.get(_name(folder, path))
            if digest is not None and path.exists() and digest != _digest(path):
                found.append((first, path.name))
        line = max([line, *(first + 1 for _, first in added)])
    return min(found, default=None)


def _known(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / FILE).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    parts = (line.partition("  ") for line in lines)
    return {name: digest for digest, _, name in parts if name}


def _commits(folder: Path) -> list[Path]:
    """Commits alone: a writer that was killed may have left other files, and they may still change."""
    return sorted((folder / _TABLE / "_delta_log").glob("*.json"))


def _added(folder: Path, commit: Path) -> Iterator[tuple[Path, int]]:
    """Files that a commit added, each with the first line that it holds; what cannot be read of it is left out."""
    for text in commit.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            added = json.loads(text)["add"]
            path, first = folder / _TABLE / added["path"], json.loads(added["stats"])["minValues"]["offset"]
            path.relative_to(folder)
            yield path, int(first)


def _name(folder: Path, path: Path) -> str:
    return str(path.relative_to(folder))


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
