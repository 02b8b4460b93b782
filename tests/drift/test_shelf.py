"""Finished reports in their folder."""

from pathlib import Path

import pytest

from drift import shelf


def test_the_oldest_reports_make_room(tmp_path: Path) -> None:
    """Names sort by time; each report is some four megabytes."""
    folder = tmp_path / "reports" / "m"
    names = [shelf.put(f"<p>{at}</p>", folder, at=1_763_800_000.25 + at, keep=3) for at in range(5)]
    assert names == sorted(names)
    assert sorted(path.name for path in folder.iterdir()) == names[2:]
    assert (folder / names[-1]).read_text() == "<p>4</p>"


def test_a_folder_that_cannot_be_written_keeps_its_reports(tmp_path: Path) -> None:
    """The error is the system's, with its path; nothing half-written stays."""
    name = shelf.put("old", tmp_path, at=1.0)
    with pytest.raises(OSError, match="File exists"):
        shelf.put("new", tmp_path / name, at=2.0)
    assert [path.name for path in tmp_path.iterdir()] == [name]
