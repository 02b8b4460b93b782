"""Round numbers and times for the axes of charts, and places that keep apart."""

import itertools
import math
from collections.abc import Sequence
from datetime import datetime, timedelta

_TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
DAY_S = 86_400


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers (1, 2, 2.5 or 5 times a power of ten) within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(part * power for part in (1, 2, 2.5, 5, 10) if part * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def time_ticks(low: float, high: float, count: int) -> list[tuple[float, str]]:
    """At most about `count` round local times within [low, high] (epoch seconds), each as a clock or calendar shows."""
    step = next((step for step in _TIME_STEPS_S if (high - low) / step <= count), None)
    step = step or DAY_S * math.ceil((high - low) / DAY_S / max(1, count))
    shift = (datetime.fromtimestamp(low).astimezone().utcoffset() or timedelta()).total_seconds()
    first = math.ceil((low + shift) / step) * step - shift
    found = itertools.takewhile(lambda at: at <= high, itertools.count(first, step))
    return [(at, _clock(at, step)) for at in found]


def _clock(at: float, step: int) -> str:
    local = datetime.fromtimestamp(at)
    if step >= DAY_S or (local.hour, local.minute, local.second) == (0, 0, 0):
        return f"{local.day} {local:%b}"
    return f"{local:%H:%M:%S}" if step < 60 else f"{local:%H:%M}"


def apart(places: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """Rising places, moved as little as keeps them so far apart and inside."""
    placed: list[float] = []
    for place in places:
        placed.append(max(place, placed[-1] + gap if placed else low))
    limit = high
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - gap
    return placed
