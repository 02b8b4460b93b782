"""Ends what a supervisor started when the supervisor itself is gone, even by `kill -9`.

Run as a program with a pipe as its input, which closes with the supervisor. It reads lines "start PID", "last PID" (for
what must outlive the others) and "end PID", and "done" when there is nothing to do. It also holds the state folder's
lock, as an inherited file, so that nobody starts anew while the old processes still hold their ports.

It imports the standard library only and is started without site packages: it must be there at once, and be small.
"""

import contextlib
import os
import signal
import sys
import time

GRACE_S = 10.0


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the pipe tells the end, and nothing else
    groups: dict[int, str] = {}
    for line in sys.stdin:
        word, _, pid = line.strip().partition(" ")
        if word == "done":
            return
        if word == "end":
            groups.pop(int(pid), None)
        else:
            groups[int(pid)] = word
    for word in ("start", "last"):
        end_groups([pid for pid, when in groups.items() if when == word])


def end_groups(pids: list[int]) -> None:
    """Asks process groups to end, waits, and kills what is left."""
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 1.0)):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)
        deadline = time.monotonic() + patience_s
        while any(_lives(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):  # a group of the dead is not permitted to us on some systems
        return False
    return True


if __name__ == "__main__":
    main()
