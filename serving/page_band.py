"""What a challenger's charts are drawn from: how the comparison went, and what happened meanwhile."""

import math
from collections.abc import Iterable, Sequence

import msgspec
from markupsafe import Markup

from contracts.config import Model
from contracts.facts import ComparisonFacts
from contracts.marks import MEANINGS, Mark, mark_of
from contracts.quantities import seconds
from serving import chart_band, chart_marks, page_story, page_words
from serving.chart_band import State, Stretch
from serving.chart_parts import Frame
from serving.page_facts import Seen

_FRAME = Frame(340, 222, left=40, right=16, top=26)
_TOLD = 12
_SAME_S = 60.0  # a drift report and the ledger's line about it


class _Ended(msgspec.Struct):
    """Of stored evidence."""

    ended_at: float | None = None


def legend(model: Model) -> tuple[tuple[Markup, str], ...]:
    """The shapes of marks with what they mean."""
    found = [(chart_marks.key(kind), meaning) for kind, meaning in MEANINGS.items()]
    if model.gate.season is not None:
        found.append((chart_marks.CYCLE_KEY, f"a whole season of {model.gate.season}"))
    return tuple(found)


def charts_of(
    facts: ComparisonFacts, seen: Seen, model: Model, style: int, begin: float, now: float
) -> tuple[Markup, Markup] | None:
    """Band and evidence from an epoch second on; None where nothing was compared since."""
    stretch = _stretch(facts, seen, model, begin)
    if stretch is None:
        return None
    name = f"version {facts.challenger} ({facts.learner}) against version {facts.champion}"
    gain, lower, upper = map(page_words.advantage, (facts.gain, facts.lower, facts.upper))
    value, needed = page_words.log10(facts.log_e), page_words.log10(facts.needed)
    shown = _shown(stretch, now)
    band = chart_band.band_chart(
        stretch,
        model.gate.min_gain,
        style,
        page_words.signed_points,
        f"Running advantage of {name}. Now {gain} points, between {lower} and {upper}. {shown}",
        _FRAME,
    )
    evidence = chart_band.evidence_chart(
        stretch,
        needed,
        style,
        f"Evidence for {name}, log10 E. Now {value:.2f}; the gate opens at {needed:.2f}. {shown}",
        _FRAME,
    )
    return band, evidence


def _stretch(facts: ComparisonFacts, seen: Seen, model: Model, begin: float) -> Stretch | None:
    states = _states(facts)
    timed = [state for state in states if state.at]
    if len(timed) < 2:
        return Stretch(states, 0, facts.n, is_counted=True) if len(states) > 1 else None
    if timed[-1].at < begin:
        return None
    before = sum(state.at < begin for state in timed)
    began = [at for at in _began(facts, seen) if begin <= at <= timed[0].at]
    low = begin if before else max(began, default=timed[0].at)
    marks = [mark for mark in _marks(facts, seen) if mark.at >= low]
    high = max([timed[-1].at, *(mark.at for mark in marks)])
    season = 0.0 if model.gate.season is None else seconds(model.gate.season)
    return Stretch(timed[max(0, before - 1) :], low, high, marks, _cycles(facts.started_at, season, low, high))


def _began(facts: ComparisonFacts, seen: Seen) -> Iterable[float]:
    """When the two came to be compared: the later of the champion's coming and the challenger's."""
    yield from (line.at for line, champion in page_story.tenures(seen.decisions) if champion == facts.champion)
    yield from (line.at for line in seen.decisions if line.kind == "enrolled" and line.version == facts.challenger)


def _marks(facts: ComparisonFacts, seen: Seen) -> Iterable[Mark]:
    """Oldest first, without corrections that moved other challengers alone."""
    drifts = []
    for line in reversed(seen.decisions):
        mark = mark_of(line, facts.challenger)
        drifts += [line.at] if line.kind == "drift" else []
        if mark is not None:
            yield mark
    watch = seen.watch
    if watch is not None and watch.current_rows and all(abs(watch.at - at) > _SAME_S for at in drifts):
        yield Mark(watch.at, "drift alarm", "alarm") if watch.alarm else Mark(watch.at, "no drift", "drift")


def _cycles(started_at: float, season: float, low: float, high: float) -> Sequence[float]:
    """Ends of whole seasons since the first question, as the gate counts them."""
    if not season:
        return ()
    first = max(1, math.ceil((low - started_at) / season))
    return [started_at + i * season for i in range(first, math.floor((high - started_at) / season) + 1)]


def _shown(stretch: Stretch, now: float) -> str:
    """What a reader of the picture sees of its range and its marks."""
    first, last = stretch.visible[0], stretch.visible[-1]
    counts = f"{page_words.count(first.n)} to {page_words.count(last.n)} labelled questions"
    if stretch.is_counted:
        return f"Drawn from {counts}."
    told = [f"{page_words.clock(mark.at, now)} {mark.label}" for mark in stretch.marks[-_TOLD:]]
    marked = f" Marked: {', '.join(told)}." if told else ""
    return f"Drawn from {page_words.clock(stretch.begin, now)} to {page_words.clock(last.at, now)}, {counts}.{marked}"


def _states(facts: ComparisonFacts) -> list[State]:
    """Those that were kept, and the present one."""
    times = facts.curve_at or (0.0,) * len(facts.curve)
    states = [State(*point, at) for point, at in zip(facts.curve, times, strict=True) if point[0] < facts.n]
    if not facts.n:
        return states
    ended_at = msgspec.json.decode(facts.evidence, type=_Ended).ended_at or 0.0
    present = State(facts.n, page_words.log10(facts.log_e), facts.gain, facts.lower, facts.upper, ended_at)
    return [*states, present]
