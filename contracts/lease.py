"""A lease in Redis: at most one holder per name, lost by silence, renewed by use."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from contracts import streams

# No holder's lease lasts longer than `hold_s`: one that does was dated by a clock that has been set back since, and its
# holder may be gone. A living one renews it well within what is left then.
_ACQUIRE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class LeaseTaken(Exception):
    """Somebody else does this now."""

    def __init__(self, name: str):
        super().__init__(f"{name} is already running elsewhere; nothing was done")
        self.name = name


class LeaseLost(Exception):
    """The lease ran out while its holder was busy: what is not yet saved must not be saved."""


class Lease:
    """Held by one process for `seconds` from the last renewal."""

    def __init__(self, client: redis.Redis, model: str, name: str, hold_s: float = 15.0):
        self.client, self.name, self.hold_s = client, f"{name} of {model}", hold_s
        self.key = streams.key(model, f"lease:{name}")
        self.token = secrets.token_hex(8)

    def acquire(self) -> None:
        """Raises LeaseTaken."""
        if not self.client.eval(_ACQUIRE, 1, self.key, self.token, str(int(self.hold_s * 1000))):
            raise LeaseTaken(self.name)

    def renew(self) -> None:
        """Raises LeaseLost."""
        if not self.client.eval(_RENEW, 1, self.key, self.token, str(int(self.hold_s * 1000))):
            raise LeaseLost(self.name)

    def release(self) -> None:
        self.client.eval(_RELEASE, 1, self.key, self.token)


@contextmanager
def held(client: redis.Redis, model: str, name: str, hold_s: float = 15.0, wait_s: float = 0.0) -> Iterator[Lease]:
    """A lease for the length of a block, waiting up to `wait_s` for another holder. Raises LeaseTaken.

    It is renewed beside the block, so that it ends with the process and not with a slow step. Before writing what only
    one may write, the holder calls `renew` all the same: a process that was suspended may have lost it.
    """
    lease, deadline = Lease(client, model, name, hold_s), time.monotonic() + wait_s
    while True:
        try:
            lease.acquire()
            break
        except LeaseTaken:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(lease, over), name=f"lease {name}", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        over.set()
        keeper.join()
        lease.release()


def _keep(lease: Lease, over: threading.Event) -> None:
    """Renews while its holder works, however long one step takes; ends when the lease is lost, and the holder's own
    `renew` will say so."""
    while not over.wait(lease.hold_s / 3):
        try:
            lease.renew()
        except LeaseLost:
            return
        except redis.RedisError:
            continue  # away for a moment; the lease runs out if it stays away
