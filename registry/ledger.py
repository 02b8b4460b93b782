"""The ledger: every decision about a model, append-only and chained by hash, in the durable log.

MLflow keeps no history of aliases; this does. A line is a `contracts.events.Decision`. Lines that change who answers
or shadows carry the whole board that they lead to in `numbers["board"]`, so that the ledger alone says who was live.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal

import msgspec

from contracts import lease
from contracts.events import Decision
from contracts.log import Log
from contracts.streams import Streams
from registry import history

log = logging.getLogger(__name__)

Kind = Literal[
    "prior", "bootstrap", "enrolled", "promoted", "rolled_back", "retired", "confirmed", "moved_by_hand",
    "budget", "refused", "retrained", "drift", "corrected", "erased", "frozen", "unfrozen", "accepted",
    "pardoned",
]  # fmt: skip

HOLD_S = 10.0
WAIT_S = 30.0  # three dead holders in a row


class Ledger:
    """One model's decisions. Appends are serialised by a lease in Redis, so the chain cannot fork."""

    def __init__(self, table: Log, streams: Streams):
        self.table, self.streams, self.model = table, streams, streams.model

    def append(
        self,
        kind: Kind,
        version: int | None,
        reason: str,
        *,
        cause: str,
        numbers: Mapping[str, Any] | None = None,
        key: str = "",
        now: float | None = None,
        under: lease.Lease | None = None,
    ) -> Decision:
        """Writes a line and shows it to the page's stream; returns it as stored.

        With a `key`, the line that already has that key is returned instead and nothing is written: a flow that was
        killed may run again. `numbers` must go through JSON. Raises LeaseTaken when others write for 30 s on end, and
        LeaseLost, writing nothing, when the lease `under` which the line was decided has run out.
        """
        with lease.held(self.streams.client, self.model, "ledger", HOLD_S, WAIT_S) as mine:
            lines = self.read()
            found = next((line for line in lines if key and line.key == key), None)
            if found is None:
                at = time.time() if now is None else now
                found = _chained(lines, at, self.model, kind, version, reason, cause, numbers or {}, key)
                if under is not None:
                    under.renew()
                mine.renew()  # reading may have been slow, and two holders would fork the chain
                self.table.append_ledger(found.seq, found.hash, msgspec.json.encode(found).decode())
                lines.append(found)
                log.info("decided model=%s seq=%d kind=%s version=%s", self.model, found.seq, kind, version)
                self.table.compact("ledger")
            self._mirror(lines)
        return found

    def read(self) -> list[Decision]:
        """Every line, oldest first."""
        return [msgspec.json.decode(line, type=Decision) for line in self.table.ledger()]

    def verify(self) -> int | None:
        """The seq of the first line that is damaged, missing or out of place; None when the whole chain holds."""
        rows = self.table.rows("ledger").to_pylist()
        previous = ""
        for seq, row in enumerate(rows):
            if row["offset"] != seq or not _holds(row["line"], seq, previous, row["hash"]):
                return seq
            previous = row["hash"]
        # The chain itself cannot show that its end was cut off; the table's last transaction can.
        return None if self.table.position("ledger") == len(rows) - 1 else len(rows)

    def live_at(self, at: float) -> int | None:
        """The version that answered at an epoch second: 0 is the prior, None is nobody yet."""
        return history.board_after([line for line in self.read() if line.at <= at]).champion

    def show(self) -> list[Decision]:
        """Every line, oldest first; brings the page's stream up to date where a writer was killed or Redis emptied."""
        with lease.held(self.streams.client, self.model, "ledger", HOLD_S, WAIT_S):
            lines = self.read()
            self._mirror(lines)
        return lines

    def _mirror(self, lines: Sequence[Decision]) -> None:
        newest = self.streams.decisions(count=1)
        # A line may be missing there when its writer was killed; Redis takes ids in ascending order only.
        for line in lines[newest[0].seq + 1 if newest else 0 :]:
            self.streams.mirror(line)


def _chained(
    lines: Sequence[Decision],
    at: float,
    model: str,
    kind: Kind,
    version: int | None,
    reason: str,
    cause: str,
    numbers: Mapping[str, Any],
    key: str,
) -> Decision:
    previous = lines[-1].hash if lines else ""
    line = Decision(len(lines), at, model, kind, version, reason, cause, dict(numbers), key, previous, "")
    # Numbers as they will be read back: tuples become lists, structs become objects.
    stored = msgspec.json.decode(msgspec.json.encode(line), type=Decision)
    return msgspec.structs.replace(stored, hash=_hash(stored))


def _hash(line: Decision) -> str:
    return sha256(msgspec.json.encode(msgspec.structs.replace(line, hash=""))).hexdigest()


def _holds(text: str, seq: int, previous: str, hash_: str) -> bool:
    try:
        line = msgspec.json.decode(text, type=Decision)
    except msgspec.DecodeError:
        return False
    untouched = msgspec.json.encode(line).decode() == text  # a changed space or an added field is a changed byte too
    return untouched and (line.seq, line.previous, line.hash) == (seq, previous, hash_) and _hash(line) == hash_
