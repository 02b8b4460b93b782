"""The folder of finished reports: each written whole, the oldest making room."""

import os
from datetime import UTC, datetime
from pathlib import Path


def put(html: str, folder: Path, at: float, keep: int = 100) -> str:
    """Writes a report made at epoch seconds `at` and returns its file name; the newest `keep` stay (4 MB each).

    Raises OSError when the folder cannot be written; the reports in it are then as they were.
    """
    path = folder / f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%S.%fZ}.html"
    write(path, html.encode())
    for old in sorted(folder.glob("*.html"))[:-keep]:
        old.unlink(missing_ok=True)
    return path.name


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
