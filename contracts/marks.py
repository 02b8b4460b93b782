"""How charts over time mark what happened: told apart by shape and by name, never by colour alone."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from contracts.axes import apart
from contracts.events import Decision

Kind = Literal["role", "correction", "drift", "alarm", "rules"]

SHAPES: dict[Kind, str] = {
    "role": "M-3 6V-6l8.5 3.5l-8.5 3.5",
    "correction": "M0 -5.5l5 5.5l-5 5.5l-5 -5.5z",
    "drift": "M-5.5 -4.5h11l-5.5 9.5z",
    "alarm": "M-5.5 -4.5h11l-5.5 9.5z",
    "rules": "M-4.5 -4.5h9v9h-9z",
}
"""SVG paths about the origin, 12 px wide; those of roles and alarms are filled, the others hollow."""
MEANINGS: dict[Kind, str] = {
    "role": "who answers or shadows",
    "correction": "labels corrected or erased",
    "drift": "drift report",
    "alarm": "drift alarm",
    "rules": "rules of the gate",
}
_APART = 13.0  # px between shapes
_ROLES = {
    "bootstrap": "answers",
    "confirmed": "confirmed",
    "enrolled": "enrolled",
    "moved_by_hand": "moved",
    "promoted": "promoted",
    "retired": "retired",
    "rolled_back": "rolled back",
}
_OTHERS: dict[str, tuple[str, Kind]] = {
    "alarm": ("alarm", "alarm"),
    "alarm_over": ("alarm over", "drift"),
    "budget": ("budget", "rules"),
    "corrected": ("corrected", "correction"),
    "drift": ("drift", "drift"),
    "erased": ("erased", "correction"),
    "policy": ("rules", "rules"),
}


@dataclass(frozen=True)
class Mark:
    """Something that happened at an epoch second."""

    at: float
    label: str
    kind: Kind


@dataclass(frozen=True)
class Placed:
    """A shape `x` px from the left, for marks of one kind; its name is empty where there is no room for it."""

    marks: tuple[Mark, ...]
    x: float
    name: str
    is_left: bool = False
    """The name ends at the shape instead of beginning there."""


def mark_of(line: Decision, challenger: int | None = None) -> Mark | None:
    """How a ledger line is marked; None where it explains no turn of a curve, or only those of other challengers."""
    moved = line.numbers.get("moved")
    if challenger is not None and isinstance(moved, dict) and str(challenger) not in moved:
        return None
    if line.kind in _ROLES:
        who = "" if line.version is None else f"v{line.version} "
        return Mark(line.at, f"{who}{_ROLES[line.kind]}", "role")
    name, kind = _OTHERS.get(line.kind, ("", None))
    return None if kind is None else Mark(line.at, name, kind)


def placed(
    marks: Sequence[Mark], x: Callable[[float], float], left: float, right: float, character: float
) -> list[Placed]:
    """Shapes side by side between two edges, with the names that fit at so many px per character.

    Marks of one kind that would overlap share a shape, whose name says how many more there are.
    """
    groups = _grouped(sorted(marks, key=lambda mark: mark.at), x, right - left)
    places, found, taken = apart([x(group[0].at) for group in groups], left, right, _APART), list[Placed](), left
    for i, (at, group) in enumerate(zip(places, groups, strict=True)):
        name = group[0].label + (f" +{len(group) - 1}" if group[1:] else "")
        end, length = (places[i + 1] if i + 1 < len(places) else right + _APART) - 8, 9 + len(name) * character
        fits, is_left = at + length <= end, at - length >= taken
        found.append(Placed(tuple(group), at, name if fits or is_left else "", is_left and not fits))
        taken = at + (length if fits else 9)
    return found


def _grouped(marks: Sequence[Mark], x: Callable[[float], float], width: float) -> list[list[Mark]]:
    """As few as there is room for."""
    for reach in itertools.count(1):
        found: list[list[Mark]] = []
        for mark in marks:
            near = next((group for group in reversed(found) if group[0].kind == mark.kind), None)
            if near is not None and x(mark.at) - x(near[0].at) < reach * _APART:
                near.append(mark)
            else:
                found.append([mark])
        if len(found) * _APART <= width or len(found) <= len(SHAPES):
            break
    return found
