"""One supervisor per state folder."""

import fcntl
import os
import time
from pathlib import Path


class StateInUse(Exception):
    """Another supervisor works in the state folder."""

    def __init__(self, folder: Path, pid: str):
        by = f"`tiltyard up` with process id {pid}" if pid else "another `tiltyard up`"
        super().__init__(f"{folder} is in use by {by}: stop it with Ctrl-C there, or give another folder with --state")


def acquire(folder: Path, patience_s: float = 20.0) -> int:
    """A file descriptor that holds the folder's lock until it, and every copy of it, is closed.

    When the holder is dead, its guard is ending what it left behind: that is waited for. Raises StateInUse, and
    OSError when the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            if lives(pid) or time.monotonic() > deadline:
                os.close(descriptor)
                raise StateInUse(folder, pid) from None
            time.sleep(0.1)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def release(descriptor: int) -> None:
    os.close(descriptor)
