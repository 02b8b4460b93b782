"""The ledger: every decision about a model, append-only and chained by hash, in the durable log.

MLflow keeps no history of aliases; this does. A line is a `contracts.events.Decision`. Lines that change who answers
or shadows carry the whole board that they lead to in `numbers["board"]`, so that the ledger alone says who was live.
"""

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal

import msgspec
import pyarrow as pa
import redis
from deltalake.exceptions import DeltaError

from contracts import lease, tables
from contracts.events import Decision
from contracts.log import Log
from contracts.streams import Streams
from registry import history, seal

log = logging.getLogger(__name__)

Kind = Literal[
    # Who answers and who shadows; these carry the board, but for a `moved_by_hand` that was moved back.
    "prior", "bootstrap", "enrolled", "promoted", "rolled_back", "retired", "confirmed", "moved_by_hand",
    # What the gate holds to be so, and what people answer it.
    "policy", "verdict", "dry_run", "budget", "refused", "asked", "approved", "declined", "deleted",
    # What is learned and published.
    "corrected", "erased", "frozen", "unfrozen", "accepted", "pardoned",
    # What the watch on the champion's loss found.
    "alarm", "alarm_over",
    # What a fit of a batch learner was expected to save, and what it saved.
    "forecast", "outcome",
]  # fmt: skip

HOLD_S = 10.0
WAIT_S = 30.0  # three dead holders in a row


_UNREADABLE = (OSError, ValueError, pa.ArrowException, DeltaError)


class Checked(msgspec.Struct, frozen=True):
    """What a look at the whole chain found."""

    lines: list[Decision]
    """Those before the first damaged one."""
    broken: int | None = None
    """The seq of the first line that is damaged, missing or out of place."""
    why: str = ""

    @property
    def head(self) -> str:
        """Hash of the last good line: noted elsewhere, it shows later that nothing before it was rewritten."""
        return self.lines[-1].hash if self.lines else ""


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
                seal.seal(self.table.folder)
            self._mirror(lines)
        return found

    def read(self) -> list[Decision]:
        """Every line, oldest first."""
        return [msgspec.json.decode(line, type=Decision) for line in self.table.ledger()]

    def verify(self) -> int | None:
        """The seq of the first line that is damaged, missing or out of place; None when the whole chain holds."""
        return self.check().broken

    def check(self) -> Checked:
        """The lines that can be trusted, and what is wrong with the one after them. Needs no Redis.

        The chain itself cannot show that its end was cut off. The table's last transaction can, and so can the page's
        stream where Redis answers.
        """
        try:
            rows = self.table.rows("ledger").to_pylist()
            end = self.table.position("ledger")
        except _UNREADABLE as error:
            return self._check_singly(error)
        found = _trusted(rows)
        if found.broken is None and end >= len(rows):
            return msgspec.structs.replace(found, broken=len(rows), why=f"the table had lines up to {end}")
        if found.broken is None and (changed := seal.first_changed(self.table.folder)) is not None:
            seq, name = changed
            return Checked(found.lines[:seq], seq, f"{name} is not as it was written, though every line reads the same")
        return found if found.broken is not None else self._compared(found)

    def _check_singly(self, error: Exception) -> Checked:
        """The same for a table of which some file cannot be read."""
        table, rows = tables.Table(self.table.folder, "ledger"), list[dict[str, Any]]()
        with contextlib.suppress(*_UNREADABLE):
            while (found := table.read(filters=[("offset", "=", len(rows))])) is not None and found[1].num_rows:
                rows += found[1].to_pylist()
        held = _trusted(rows)
        if held.broken is not None:
            return held
        return msgspec.structs.replace(held, broken=len(rows), why=f"its file cannot be read: {_in_a_line(error)}")

    def _compared(self, found: Checked) -> Checked:
        """A stream that knows more, or other lines, gives away an end that was cut off together with its trace."""
        with contextlib.suppress(redis.RedisError):
            for shown in self.streams.decisions(count=1):
                if shown.seq >= len(found.lines):
                    why = f"the page's stream has lines up to {shown.seq}"
                    return msgspec.structs.replace(found, broken=len(found.lines), why=why)
                if shown.hash != found.lines[shown.seq].hash:
                    return Checked(found.lines[: shown.seq], shown.seq, "the page's stream has another line there")
        return found

    def live_at(self, at: float) -> int | None:
        """The version that answered at an epoch second: 0 is the prior, None is nobody yet."""
        return history.board_after(history.until(self.read(), at)).champion

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


def _trusted(rows: Sequence[Mapping[str, Any]]) -> Checked:
    lines: list[Decision] = []
    for seq, row in enumerate(rows):
        if row.get("offset") != seq:
            return Checked(lines, seq, f"another line stands there: {row.get('offset')}")
        try:
            line = msgspec.json.decode(row["line"], type=Decision)
        except (msgspec.DecodeError, UnicodeError, KeyError, TypeError):
            return Checked(lines, seq, "it is no line of a ledger")
        # A changed space or an added field is a changed byte too.
        if msgspec.json.encode(line).decode() != row["line"] or not line.hash == row.get("hash") == _hash(line):
            return Checked(lines, seq, "its text does not have its hash")
        if (line.seq, line.previous) != (seq, lines[-1].hash if lines else ""):
            return Checked(lines, seq, "it does not follow the line before it")
        lines.append(line)
    return Checked(lines)


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
