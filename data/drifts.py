"""The drift laboratory: known changes to any stream of rows, so that it is known beforehand what should be noticed.

Real drift changes what a label is given the features, virtual drift what is asked; either comes at once, gradually or
again and again: Gama et al. (2014), "A survey on concept drift adaptation", sections 2.2 and 2.3; Lu et al. (2018),
"Learning under concept drift: a review", section 2.1. Where they speak of incremental drift, `width` mixes rows of the
old and the new kind instead, which is their gradual one.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from contracts.known_keys import nearest
from contracts.quantities import ConfigError
from contracts.schema import Schema
from data import drift_columns as columns
from data import drift_labels as labels
from data.drift_onset import Past
from data.streams import Row

Drift = (
    labels.Flip
    | labels.Prior
    | labels.LabelNoise
    | columns.Shift
    | columns.Scale
    | columns.Resample
    | columns.Mix
    | columns.Stuck
    | columns.Noise
    | columns.Dropout
    | columns.Missing
    | columns.Unit
)
KINDS: dict[str, type[Drift]] = {
    "abrupt": labels.Abrupt,
    "gradual": labels.Gradual,
    "recurring": labels.Recurring,
    "shift": columns.Shift,
    "scale": columns.Scale,
    "resample": columns.Resample,
    "mix": columns.Mix,
    "prior": labels.Prior,
    "stuck": columns.Stuck,
    "noise": columns.Noise,
    "dropout": columns.Dropout,
    "missing": columns.Missing,
    "unit": columns.Unit,
    "label-noise": labels.LabelNoise,
}
_PAST_ROWS = 2
_BARE_FRACTION = re.compile(r"\.\d+")
_TEXTS = ("column", "value", "class", "classes")
_WORDS = {
    "Expected `int`, got `str`": "must be a whole number",
    "Expected `float`, got `str`": "must be a number",
    "matching regex": "must be an amount such as 10 or 2sd",
}


def parse(text: str) -> Drift:
    """A change as words: a kind, then key=value, as in "unit column=x factor=1000 at=3000 until=6000".

    Raises ConfigError naming the part that is wrong, with the nearest right one.
    """
    try:
        kind, *parts = shlex.split(text) or [""]
    except ValueError:
        raise ConfigError(f"drift {text!r}: a quotation mark is not closed") from None
    if kind not in KINDS:
        raise ConfigError(f'drift {text!r}: there is no kind "{kind}"{nearest(kind, KINDS)}')
    known = [one.encode_name for one in msgspec.structs.fields(KINDS[kind])]
    given: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not value:
            raise ConfigError(f'drift {text!r}: "{part}" is no key=value; {kind} takes {", ".join(known)}')
        if key not in known:
            raise ConfigError(f'drift {text!r}: {kind} has no "{key}"{nearest(key, known)}')
        if key in given:
            raise ConfigError(f'drift {text!r}: "{key}" is there twice')
        given[key] = f"0{value}" if _BARE_FRACTION.fullmatch(value) and key not in _TEXTS else value
    try:
        drift: Drift = msgspec.convert(given, KINDS[kind], strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"drift {text!r}: {_reason(str(error), given)}") from None
    return drift


@dataclass
class Tally:
    """What became of one change."""

    drift: Drift
    told: str
    changed: int = 0
    """Rows that differ from what they were."""
    left_out: int = 0
    first: int | None = None
    """The first of these, in the source."""
    last: int | None = None

    @property
    def sentence(self) -> str:
        done = [f"{self.changed:,} rows changed"] if self.changed or not self.left_out else []
        done += [f"{self.left_out:,} rows left out"] if self.left_out else []
        where = "" if self.first is None else f", from row {self.first:,} to {self.last:,}"
        return f"{self.told}: {', '.join(done)}{where}"

    def as_json(self) -> dict[str, Any]:
        return {
            "drift": self.told, "changed": self.changed, "left_out": self.left_out, "first": self.first,
            "last": self.last,
        }  # fmt: skip


@dataclass
class Injection:
    """Changes to make to a stream, in their order; every row before the first one's `at` stays what it was.

    Equal specs and seeds give equal rows. Rows are counted in the source, so that a change that leaves rows out moves
    no other.
    """

    drifts: Sequence[Drift]
    schema: Schema
    tallies: list[Tally] = field(default_factory=list)
    """Of the rows so far; `rows` begins them anew."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a change does not fit the stream."""
        for drift in self.drifts:
            drift.check(self.schema)
            if drift.at < _PAST_ROWS and drift.needs_past(self.schema):
                why = f"{drift.told(self.schema)}, which is measured on the rows before"
                raise ConfigError(f"at={drift.at}: must be {_PAST_ROWS} or more: {why}")
        self.tallies = [Tally(drift, told(drift, self.schema)) for drift in self.drifts]

    def rows(self, source: Iterable[Row]) -> Iterator[Row]:
        self.tallies[:] = [Tally(drift, told(drift, self.schema)) for drift in self.drifts]
        pasts = [
            Past(self.schema, Random(f"{drift.seed} {order}"))  # each draws on its own: one more moves no other
            for order, drift in enumerate(self.drifts)
        ]
        for number, row in enumerate(source):
            changed: Row | None = row
            for past, tally in zip(pasts, self.tallies, strict=True):
                changed = None if changed is None else _step(number, changed, past, tally)
            if changed is not None:
                yield changed


def told(drift: Drift, schema: Schema) -> str:
    """What a change does and when, in words."""
    return f"{drift.when}: {drift.told(schema)}"


def _step(number: int, row: Row, past: Past, tally: Tally) -> Row | None:
    drift, (features, label) = tally.drift, row
    if number < drift.at:
        past.add(drift.measured(features, label, past.schema))
        return row
    strength = drift.strength(number)
    if past.random.random() >= strength:
        return row
    changed = drift.changed(features, label, past)
    if changed == row:
        return row
    tally.changed += changed is not None
    tally.left_out += changed is None
    tally.first, tally.last = number if tally.first is None else tally.first, number
    return changed


def _reason(message: str, given: Mapping[str, str]) -> str:
    """msgspec's words about an object, as words about a drift."""
    reason, _, path = message.partition(" - at `$.")
    if "missing required field" in reason:
        return f"{reason.split('`')[1]}= is missing"
    words = next(
        (ours for theirs, ours in _WORDS.items() if theirs in reason), re.sub("Expected `.*?`", "must be", reason)
    )
    key = path.rstrip("`")
    return f"{key}={given[key]}: {words}" if key else words
