"""Losses by the hour are the same however they come."""

import numpy as np

from registry.slots import KEPT, SLOT_S, Slots


def test_batches_change_no_bit() -> None:
    """One by one, all at once, and in pieces that end within an hour."""
    rng = np.random.default_rng(0)
    at, losses = np.sort(rng.uniform(0, 50 * SLOT_S, 2_000)).tolist(), rng.random(2_000).tolist()
    whole, single, pieces = Slots(), Slots(), Slots()
    whole.add(at, losses)
    for one, loss in zip(at, losses, strict=True):
        single.add([one], [loss])
    for begin in range(0, 2_000, 37):
        pieces.add(at[begin : begin + 37], losses[begin : begin + 37])
    assert whole.hours == single.hours == pieces.hours
    assert sum(n for n, _ in whole.hours.values()) == 2_000
    assert whole.began == int(at[0] // SLOT_S)


def test_the_newest_hours_stay_and_the_first_is_remembered() -> None:
    """What is kept is bounded, and how long the past was is still known."""
    slots = Slots()
    slots.add([hour * SLOT_S + 1.0 for hour in range(KEPT + 10)], [1.0] * (KEPT + 10))
    assert len(slots.hours) == KEPT
    assert (slots.began, next(iter(slots.hours))) == (0, 10)


def test_a_corrected_label_changes_its_hour() -> None:
    """Where that hour is still kept; another one is nobody's."""
    slots = Slots()
    slots.add([10.0, SLOT_S + 1.0], [1.0, 1.0])
    slots.restate(10.0, -1.0)
    slots.restate(-5.0, 1.0)
    assert slots.hours == {0: (1, 0.0), 1: (1, 1.0)}
