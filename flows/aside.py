"""Work beside learning: in a forked child, which sees everything as it is now and changes nothing of it.

A learner of 100 MB takes seconds to store, and must not stop learning for that. A fork shares its memory page by page,
so that what the child stores is one moment's state. Only for processes of one thread.
"""

import ctypes
import gc
import os
import pickle
import select
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1


class AsideFailed(Exception):
    """The child raised, or was killed; what it was to do is not done."""


class Aside(Generic[Result]):
    """One piece of work in a child of its own, which dies with this process."""

    def __init__(self, work: Callable[[], Result]):
        self._out, inlet = os.pipe()
        self._bytes = bytearray()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._out)
            _work_and_exit(work, inlet, parent)
        os.close(inlet)
        os.set_blocking(self._out, False)
        self._has_told = self._is_gone = False

    def done(self) -> bool:
        """Whether `result` would not wait: the child has told all, and is gone. To free gigabytes takes it a second."""
        self._listen()
        if self._has_told:
            self._reap(os.WNOHANG)
        return self._is_gone

    def result(self) -> Result:
        """What the work gave; waits for it, and is called once. Raises what it raised, or AsideFailed."""
        while not self._has_told:
            select.select([self._out], [], [])
            self._listen()
        self._reap()
        os.close(self._out)
        if not self._bytes:
            raise AsideFailed(f"the process {self.pid} ended without an answer: it was killed, or ran out of memory")
        result: Any = pickle.loads(self._bytes)  # our own child's
        if isinstance(result, _Raised):
            raise result.error
        return result  # type: ignore[no-any-return]

    def kill(self) -> None:
        if not self._is_gone:
            os.kill(self.pid, signal.SIGKILL)
        self._reap()
        os.close(self._out)

    def _listen(self) -> None:
        while not self._has_told and select.select([self._out], [], [], 0)[0]:
            piece = os.read(self._out, 1 << 20)
            self._bytes += piece
            self._has_told = not piece

    def _reap(self, how: int = 0) -> None:
        if not self._is_gone:
            self._is_gone = os.waitpid(self.pid, how)[0] != 0


class Inline(Generic[Result]):
    """The same without a child: the work is done when this returns."""

    def __init__(self, work: Callable[[], Result]):
        self._work = work

    def done(self) -> bool:
        return True

    def result(self) -> Result:
        return self._work()

    def kill(self) -> None:
        """Nothing runs."""


class _Raised:
    def __init__(self, error: Exception):
        self.error = error


def collect_garbage_seldom() -> None:
    """Python looks for cycles after every 700 new objects, a third of the time of a loop that keeps what it makes.

    What exists now is never looked at again, which also leaves its pages shared with forked children.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Asks Linux for a signal when the process `parent` ends, so that nothing works on for nobody."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os.kill(os.getpid(), by)


def _work_and_exit(work: Callable[[], Any], inlet: int, parent: int) -> None:
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        die_with_parent(parent)
        with os.fdopen(inlet, "wb") as out:
            out.write(_pickled(work))
        status = 0
    finally:
        os._exit(status)


def _pickled(work: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps(work())
    except Exception as error:  # noqa: BLE001  # it travels to the parent, which knows what to do
        try:
            pickle.loads(pickle.dumps(error))  # an exception with its own arguments may not come back
            return pickle.dumps(_Raised(error))
        except Exception:  # noqa: BLE001
            return pickle.dumps(_Raised(AsideFailed(traceback.format_exc())))
