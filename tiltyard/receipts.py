"""What an erasure has done, for whoever must prove it: a JSON file in the state folder, and its hash in the ledger.

It names the entity by its keyed hash, so that who holds the key and the name can tell whose it is, and nobody else. The
ledger cannot be erased from, so not even that stands there.
"""

import os
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec

from contracts.forgetting import Gone
from contracts.releases import Releases
from contracts.settings import Settings

Status = Literal["complete", "pending", "nothing"]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One entity and one model. Counts of an erasure that was interrupted may lack what went before it was."""

    model: str
    entity: str
    """Its keyed hash (`contracts.entities.masked`)."""
    status: Status
    at: str = ""
    """When it was written, in UTC."""
    predictions: int = 0
    streams: Gone = Gone()
    """Entries that went from the streams."""
    logged_predictions: int = 0
    """Rows of the log."""
    logged_labels: int = 0
    learned: int = 0
    """Labels that learners had learned or were about to, and have learned without since."""
    learners: dict[str, str] = {}
    """What became of each online learner."""
    redis: str = ""
    """What came of Redis's own file."""
    waits: tuple[str, ...] = ()
    """What is still to be done, by whom; run the command again then."""
    remains: tuple[str, ...] = ()
    """What is not erased, where it lies, and what to do about it."""

    def encoded(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @property
    def sha256(self) -> str:
        """Of the file."""
        return sha256(self.encoded()).hexdigest()


def unfinished(chosen: Settings, model: str, entity: str) -> Receipt | None:
    """The receipt of an erasure that waits to be completed."""
    try:
        return msgspec.json.decode(_unfinished(chosen, model, entity).read_bytes(), type=Receipt)
    except FileNotFoundError:
        return None


def keep(chosen: Settings, receipt: Receipt) -> Path:
    """Writes it, in place of the unfinished one; returns the file. Raises OSError."""
    pending = _unfinished(chosen, receipt.model, receipt.entity)
    path = pending
    if receipt.status == "complete":
        stamp = receipt.at.translate({ord(sign): None for sign in "-:"})
        path = pending.with_name(f"{receipt.model}-{receipt.entity}-{stamp}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".unfinished")
    with draft.open("wb") as file:
        file.write(receipt.encoded())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    if path != pending:
        pending.unlink(missing_ok=True)
    return path


def _unfinished(chosen: Settings, model: str, entity: str) -> Path:
    return chosen.state / "receipts" / f"{model}-{entity}.pending.json"


def remains(
    chosen: Settings, model: str, learners: set[str], releases: Releases, versions: tuple[int, ...]
) -> list[str]:
    """What an erasure does not reach. `versions` were made while it was there."""
    told = []
    if versions:
        listed, board = ", ".join(map(str, versions)), releases.board()
        told.append(
            f"Versions in MLflow that were made while it was there ({listed}): their graphs, golden rows and pickled "
            "estimators, as they were then. Once one neither answers nor shadows, delete it with its run, and run "
            "`mlflow gc`."
        )
        fitted = [one for one in versions if one in board.versions and _is_batch(releases, one)]
        if fitted:
            told.append(
                f"Batch versions that answer or shadow and were fitted on it: {', '.join(map(str, fitted))}. Such a "
                "version never learns anew: run the flow `retrain`, whose fit takes its place once it has earned to."
            )
    gone = _names(chosen.checkpoint_folder / model / "learners") - learners
    if gone:
        told.append(f"Checkpoints of learners that are configured no more: {', '.join(sorted(gone))}. Delete them.")
    reports = len(list((chosen.report_folder / model).glob("*.html")))
    if reports:
        told.append(
            f"Drift reports, whose histograms may count it: {reports}; the newest 100 are kept. Delete those in "
            f"reports/{model} that were made while it was there, and those in MLflow, in folder drift of runs."
        )
    told.append("Sums to which it contributed: evidence, loss curves and counters. No row can be read from them.")
    told.append("Copies that others keep: backups, replicas of Redis, mails, what was exported.")
    return told


def _is_batch(releases: Releases, version: int) -> bool:
    manifest = releases.manifest(version)
    return manifest is not None and manifest.kind == "batch"


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
