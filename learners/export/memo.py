"""What one export found out, for the next one of the same model."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any


class Memo:
    """Values by place in the graph, each with the stamp of what it was made from. It only saves time.

    Pickles hold nothing: a memo knows objects by their identity.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Any, Any]] = {}
        self._each: dict[Hashable, dict[int, tuple[Any, Any, Any]]] = {}

    def __reduce__(self) -> tuple[type["Memo"], tuple[()]]:
        return Memo, ()

    def recall(self, place: Hashable, stamp: Any, make: Callable[[], Any]) -> Any:
        """The value kept at this place if its stamp is equal, else a new one. Nobody may change either."""
        kept = self._kept.get(place)
        if kept is None or kept[0] != stamp:
            kept = self._kept[place] = (stamp, make())
        return kept[1]

    def each(
        self, place: Hashable, things: Sequence[Any], stamp: Callable[[Any], Any], make: Callable[[Any], Any]
    ) -> list[Any]:
        """`make(thing)` of each, kept from the last call for the very things whose stamp is equal."""
        before = self._each.get(place, {})
        now = self._each[place] = {}
        for thing in things:
            fresh, kept = stamp(thing), before.get(id(thing))
            # What is kept holds the thing itself: nothing else can have its id.
            now[id(thing)] = kept if kept is not None and kept[1] == fresh else (thing, fresh, make(thing))
        return [now[id(thing)][2] for thing in things]
