"""The folder of finished reports: each written whole, the oldest making room."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

log = logging.getLogger(__name__)


def put(html: str, folder: Path, at: float, keep: int = 100) -> str:
    """Writes a report made at epoch seconds `at` and returns its file name; the newest `keep` stay (4 MB each).

    Raises OSError when the folder cannot be written; the reports in it are then as they were.
    """
    path = folder / f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%S.%fZ}.html"
    write(path, html.encode())
    for old in sorted(folder.glob("*.html"))[:-keep]:
        old.unlink(missing_ok=True)
    return path.name


def keep(path: Path, data: bytes, most: int) -> None:
    """Writes a file that can be made again, where the disk allows; the newest `most` of its kind stay in its folder."""
    try:
        path.unlink(missing_ok=True)  # whatever it held is not to outlive a failed write
        write(path, data)
        for old in sorted(path.parent.glob(f"*{path.suffix}"), key=lambda one: one.stat().st_mtime_ns)[:-most]:
            old.unlink(missing_ok=True)
    except OSError as error:
        log.warning("not kept path=%s reason=%s", path, error.strerror)


def clear(folder: Path) -> None:
    """Removes every file of a folder that need not be there."""
    for path in folder.glob("*"):
        path.unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Writes a whole file, in a folder that need not be there, or none. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
