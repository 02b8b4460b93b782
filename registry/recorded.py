"""Predictions as the durable log has them, for evidence."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from contracts.gate_rules import Gate


class Recorded(NamedTuple):
    """One of them. `shadows` is (revision, scores) by version; scores are as logged at the question."""

    offset: int
    answered_by: int
    revision: int
    scores: tuple[float, ...]
    shadows: dict[int, tuple[int, tuple[float, ...]]]
    unit: str
    segments: tuple[str, ...]

    def told_by(self, version: int) -> "Recorded | None":
        """The same question, had one of its shadows answered it; None where it has no score of that version."""
        if version == self.answered_by:
            return self
        if version not in self.shadows:
            return None
        revision, scores = self.shadows[version]
        others = {one: what for one, what in self.shadows.items() if one != version}
        others[self.answered_by] = self.revision, self.scores
        return self._replace(answered_by=version, revision=revision, scores=scores, shadows=others)


def columns(rules: Gate) -> list[str]:
    """What `read` needs of the table `predictions`."""
    unit = [] if rules.unit in (None, "entity") else [str(rules.unit)]
    features = {*rules.segments, *unit}
    return ["offset", "version", "revision", "scores", "shadows", "entity", *(f"x_{name}" for name in sorted(features))]


def read(table: pa.Table, rules: Gate) -> list[Recorded]:
    """Rows of the table `predictions`, with their unit and segments by these rules."""
    offsets = table["offset"].to_pylist()
    return [
        Recorded(offset, version, revision, tuple(scores), shadows, unit, segments)
        for offset, version, revision, scores, shadows, unit, segments in zip(
            offsets,
            table["version"].to_pylist(),
            table["revision"].to_pylist(),
            table["scores"].to_pylist(),
            _shadows(table["shadows"]),
            _units(table, rules, offsets),
            _segments(table, rules),
            strict=True,
        )
    ]


def _shadows(column: pa.ChunkedArray) -> list[dict[int, tuple[int, tuple[float, ...]]]]:
    """Read by column: cells one by one take five times as long."""
    found: list[dict[int, tuple[int, tuple[float, ...]]]] = []
    for cells in column.chunks:
        flat = cells.flatten()
        versions, revisions = flat.field("version").to_pylist(), flat.field("revision").to_pylist()
        scores = flat.field("scores").to_pylist()
        begin = 0
        for length in cells.value_lengths().to_pylist():
            end = begin + (length or 0)
            found.append({versions[i]: (revisions[i], tuple(scores[i])) for i in range(begin, end)})
            begin = end
    return found


def _units(table: pa.Table, rules: Gate, offsets: Sequence[int]) -> list[str]:
    if rules.unit is None:
        return [""] * len(offsets)
    name = "entity" if rules.unit == "entity" else f"x_{rules.unit}"
    cells: list[Any] = table[name].to_pylist() if name in table.column_names else [None] * len(offsets)
    told = [cell if rules.unit == "entity" else str(cell) for cell in cells]
    return [unit or str(offset) for unit, offset in zip(told, offsets, strict=True)]


def _segments(table: pa.Table, rules: Gate) -> list[tuple[str, ...]]:
    if not rules.segments:
        return [()] * table.num_rows
    by_name = [[f"{name}={cell}" for cell in table[f"x_{name}"].to_pylist()] for name in rules.segments]
    return list(zip(*by_name, strict=True))
