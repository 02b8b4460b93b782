"""The page's charts and what stands beside them: which versions are drawn, how, and over which windows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from contracts.config import Model
from contracts.facts import ComparisonFacts, VersionFacts
from contracts.marks import Mark, mark_of
from contracts.releases import PRIOR_VERSION
from serving import chart_bars, charts, page_band, page_compare, page_story, page_words
from serving.chart_parts import STYLES, Frame
from serving.charts import Line
from serving.page_compare import Beside
from serving.page_facts import Seen

LINES = 8
_SMOOTH_LABELS = 200
_WIDE, _NARROW = Frame(900, 300, left=52), Frame(350, 250, left=52)


@dataclass(frozen=True)
class Challenger:
    """One challenger against the champion, with its charts where there is something to draw."""

    facts: ComparisonFacts
    style: int
    verdict: str
    counts: str
    evidence: float
    """log10 E, as the meter shows it."""
    needed: float
    meter: Markup
    band: Markup | None
    curve: Markup | None
    beside: Beside


def versions_of(seen: Seen) -> list[VersionFacts]:
    """The champion first, then challengers, then others by how lately they were asked; each with a score."""
    if seen.learn is None:
        return []
    order = {version: place for place, version in enumerate(seen.board.versions)}

    def place(facts: VersionFacts) -> tuple[int, float]:
        return order.get(facts.version, len(order)), -(facts.curve[-1][0] if facts.curve else 0.0)

    return sorted(seen.learn.versions, key=place)


def styles_of(model: Model, seen: Seen, drawn: Iterable[VersionFacts]) -> dict[int, int]:
    """A style for each version: its learner's, unless an older version on the page has that one already."""
    own = {name: 1 + i % (STYLES - 1) for i, name in enumerate(model.learners)}
    versions = {*seen.board.versions, *(facts.version for facts in drawn)} - {PRIOR_VERSION}
    free = [style for style in range(STYLES - 1, 0, -1) if style not in own.values()]
    styles, taken = {PRIOR_VERSION: 0}, set[int]()
    for version in sorted(versions):
        style = own.get(seen.learner(version), 1)
        if style in taken and free:
            style = free.pop()
        styles[version] = style
        taken.add(style)
    return styles


def window_of(versions: Sequence[VersionFacts], begin: float = 0.0) -> int:
    """Labels in one drawn mean: 200, and no less than a thirtieth of what is drawn from an epoch second on."""
    longest = max((sum(n for at, n, _ in facts.curve if at >= begin) for facts in versions[:LINES]), default=0)
    return max(_SMOOTH_LABELS, 100 * round(longest / 3000))


def smoothed(curve: Sequence[tuple[float, int, float]], window: int) -> list[tuple[float, float]]:
    """(time, mean loss of the last `window` labels, rounded up to whole stretches), beginning with a full window.

    A curve shorter than that gives its one mean.
    """
    found: list[tuple[float, float]] = []
    start, labels, total = 0, 0, 0.0
    for at, n, loss in curve:
        labels, total = labels + n, total + n * loss
        while labels - curve[start][1] >= window:
            labels, total = labels - curve[start][1], total - curve[start][1] * curve[start][2]
            start += 1
        if labels >= window:
            found.append((at, total / labels))
    return found or ([(curve[-1][0], total / labels)] if labels else [])


def loss_charts(
    seen: Seen, model: Model, versions: Sequence[VersionFacts], window: int, styles: dict[int, int], begin: float = 0.0
) -> tuple[Markup, ...]:
    """The prequential losses from an epoch second on, for a wide and a narrow screen; empty where there are none."""
    drawn = [facts for facts in versions[:LINES] if facts.curve and facts.curve[-1][0] >= begin]
    if not drawn:
        return ()
    lines = [
        Line(
            _short(facts.version),
            [point for point in smoothed(facts.curve, window) if point[0] >= begin],
            styles[facts.version],
            is_thick=facts.version == seen.board.champion,
        )
        for facts in drawn
    ]
    marks = [Mark(line.at, _short(champion), "role") for line, champion in page_story.tenures(seen.decisions)]
    marks += [mark for line in seen.decisions if (mark := mark_of(line)) is not None and mark.kind != "role"]
    told = ", ".join(f"version {f.version} ({f.learner}) {page_words.loss_figure(model.loss, f.loss)}" for f in drawn)
    title = f"{page_words.loss_title(model.loss)} over time. Over all labelled requests: {told}."

    def words(value: float) -> str:
        return page_words.loss_tick(model.loss, value)

    return tuple(charts.loss_chart(lines, marks, words, title, frame) for frame in (_WIDE, _NARROW))


def _short(version: int) -> str:
    return "prior" if version == PRIOR_VERSION else f"v{version}"


def comparisons_of(seen: Seen) -> Iterable[ComparisonFacts]:
    """Those of the present tenure, the one nearest to winning first.

    Right after a promotion the learn flow still reports those of the tenure before.
    """
    if seen.learn is None:
        return []
    present = [facts for facts in seen.learn.comparisons if facts.champion == seen.board.champion]
    return sorted(present, key=lambda facts: -facts.log_e)


def challenger_of(
    facts: ComparisonFacts, seen: Seen, model: Model, styles: dict[int, int], begin: float, now: float
) -> Challenger:
    """As of now; its charts from the epoch second `begin` on."""
    style = styles.get(facts.challenger, 1)
    value, needed = page_words.log10(facts.log_e), page_words.log10(facts.needed)
    drawn = page_band.charts_of(facts, seen, model, style, begin, now)
    return Challenger(
        facts=facts,
        style=style,
        verdict=page_words.verdict(facts, facts.challenger == seen.board.previous),
        counts=page_words.counts(facts, model.loss),
        evidence=value,
        needed=needed,
        meter=chart_bars.meter(value, needed, style, f"Evidence {value:.2f} of {needed:.2f} (log10 E)"),
        band=drawn[0] if drawn else None,
        curve=drawn[1] if drawn else None,
        beside=page_compare.beside(facts, model),
    )
