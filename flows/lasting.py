"""Work that takes long says so while it lasts."""

import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import Iterator

log = logging.getLogger(__name__)

FIRST_S, THEN_S = 2.0, 10.0


@contextlib.contextmanager
def told_while_it_lasts(what: str, first_s: float = FIRST_S, then_s: float = THEN_S) -> Iterator[None]:
    """A log line once the block has taken `first_s`, and another each `then_s`; none for what is quick."""
    ended, began = threading.Event(), time.monotonic()

    def tell() -> None:
        wait_s = first_s
        while not ended.wait(wait_s):
            log.info("%s, for %.0f s by now", what, time.monotonic() - began)
            wait_s = then_s

    # Prefect takes log lines for a run only from within its context.
    teller = threading.Thread(target=contextvars.copy_context().run, args=(tell,), daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
