"""What stands beside a challenger's evidence: labels it rests on, other losses, segments, answers, and their cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from markupsafe import Markup

from contracts.config import Model
from contracts.facts import AnsweringFacts, ComparisonFacts
from contracts.releases import PRIOR_VERSION
from serving import chart_bars, page_words
from serving.page_facts import Seen

MATRIX_CLASSES = 8
_PAIRS_SHOWN = 10
_SHADES = 4
_CLIPPED_WARNS = 0.05


class Sums(msgspec.Struct, frozen=True):
    """What of stored evidence is shown."""

    n: int
    wins: int
    losses: int
    up: int = 0
    down: int = 0
    s1: float = 0.0

    @property
    def mean(self) -> float:
        return (self.up - self.down + self.s1) / self.n if self.n else 0.0


@dataclass(frozen=True)
class Coverage:
    """How many of the questions that decide have labels."""

    sentence: str
    bar: Markup
    groups: str
    """The same by what the champion answered; empty where that says nothing more."""


@dataclass(frozen=True)
class Guardrail:
    name: str
    mean: float
    lower: float
    upper: float
    tolerance: float
    n: int

    @property
    def state(self) -> str:
        if not self.n or -self.tolerance > self.lower:
            return "suffers" if self.n and self.upper < -self.tolerance else "not shown yet"
        return "holds"


@dataclass(frozen=True)
class Agreement:
    """How often champion and challenger answered which classes."""

    sentence: str
    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    """(champion's class, (text, shade) by challenger's class); shade -1 is the same answer."""
    pairs: tuple[tuple[str, str, int], ...]
    """Instead of rows where there are many classes: the most frequent disagreements."""


@dataclass(frozen=True)
class Beside:
    """Everything of one challenger besides its evidence."""

    coverage: Coverage | None
    guardrails: tuple[Guardrail, ...]
    segments: Markup | None
    segments_note: str
    agreement: Agreement | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Speed:
    """What the scores of one version cost."""

    version: int
    learner: str
    role: str
    per_row: str
    at_once: str
    median: str
    p99: str


def beside(facts: ComparisonFacts, model: Model) -> Beside:
    chart, note = _segments(facts)
    return Beside(
        coverage=_coverage(facts, model),
        guardrails=tuple(_guardrail(facts, name, allowed) for name, allowed in model.gate.guardrails.items()),
        segments=chart,
        segments_note=note,
        agreement=_agreement(facts, model) if facts.answers else None,
        notes=tuple(_notes(facts, model)),
    )


def _coverage(facts: ComparisonFacts, model: Model) -> Coverage | None:
    labelled, asked = (sum(group[i] for group in facts.asked.values()) for i in (0, 1))
    if not asked:
        return None
    share, needed = labelled / asked, model.gate.min_coverage
    which = "answered differently" if model.loss in ("zero_one", "cost") else "may differ on"
    told = f"Of {page_words.count(asked)} questions that they {which}, {page_words.count(labelled)} have labels"
    wanted = f", and {100 * needed:.0f} % are needed" if needed else ""
    sentence = f"{told}: {100 * share:.0f} %{wanted}."
    classes = model.label.class_texts
    groups = [
        f"{classes[answer]} {100 * got / n:.0f} % of {page_words.count(n)}"
        for answer, (got, n) in sorted(facts.asked.items())
        if n and 0 <= answer < len(classes)
    ]
    by_answer = f"By the champion’s answer: {', '.join(groups)}." if 1 < len(groups) <= MATRIX_CLASSES else ""
    return Coverage(sentence, chart_bars.share_bar(share, needed, f"Label coverage {100 * share:.0f} %"), by_answer)


def _guardrail(facts: ComparisonFacts, name: str, tolerance: float) -> Guardrail:
    sums = _sums(facts.guardrails.get(name))
    lower, upper = facts.bounds.get(name, (-1.0, 1.0))
    return Guardrail(name, sums.mean, lower, upper, tolerance, sums.n)


def _segments(facts: ComparisonFacts) -> tuple[Markup | None, str]:
    """Those with the most requests, and what is not drawn."""
    shown = {name: _sums(text) for name, text in facts.segments.items() if name in facts.bounds}
    if not shown:
        return None, ""
    rows = [
        (name, f"on {page_words.count(sums.n)}", sums.mean, *facts.bounds[name])
        for name, sums in sorted(shown.items(), key=lambda item: -item[1].n)
    ]
    told = ", ".join(f"{name} {page_words.advantage(mean)} points" for name, _, mean, _, _ in rows)
    left_out = len(facts.segments) - len(rows)
    note = f"{page_words.count(left_out)} smaller segments are not drawn." if left_out else ""
    return chart_bars.whiskers(rows, page_words.advantage, f"Advantage by segment: {told}."), note


def _agreement(facts: ComparisonFacts, model: Model) -> Agreement:
    classes = model.label.class_texts
    found = {(mine, other): n for mine, other, n in facts.answers}
    total, same = sum(found.values()), sum(n for (mine, other), n in found.items() if mine == other)
    sentence = f"The same answer to {100 * same / total:.1f} % of {page_words.count(total)} questions."
    apart = {pair: n for pair, n in found.items() if pair[0] != pair[1]}
    most = max(apart.values(), default=1)
    if len(classes) > MATRIX_CLASSES:
        listed = sorted(apart.items(), key=lambda item: -item[1])[:_PAIRS_SHOWN]
        pairs = tuple((_named(classes, mine), _named(classes, other), n) for (mine, other), n in listed)
        return Agreement(sentence, (), (), pairs)

    def cell(mine: int, other: int) -> tuple[str, int]:
        n = found.get((mine, other), 0)
        return page_words.count(n), -1 if mine == other else round(_SHADES * n / most)

    columns = range(len(classes))
    rows = tuple((classes[mine], tuple(cell(mine, other) for other in columns)) for mine in columns)
    return Agreement(sentence, classes, rows, ())


def _named(classes: Sequence[str], column: int) -> str:
    return classes[column] if 0 <= column < len(classes) else "no answer"


def _notes(facts: ComparisonFacts, model: Model) -> Iterable[str]:
    """What else a reader should know of these figures."""
    audit = _sums(facts.audit)
    if audit.n:
        told = f"{page_words.count(audit.n)} labels came after maturity: {page_words.advantage(audit.mean)} points"
        yield f"{told} on those, which is no part of the evidence."
    if facts.clipped and facts.n:
        share = facts.clipped / facts.n
        wide = " The clip is too small for such errors (gate.clip)." if share > _CLIPPED_WARNS else ""
        yield f"{100 * share:.1f} % of errors were larger than what counts.{wide}"
    wins, _ = facts.young
    if wins and facts.corrected:
        young = f"{page_words.count(wins)} of its wins are younger than {model.gate.correction_lag}"
        yield f"{young}; {100 * facts.corrected:.1f} % of labels are corrected."


def _sums(text: str | None) -> Sums:
    return Sums(0, 0, 0) if text is None else msgspec.json.decode(text, type=Sums)


def speeds(seen: Seen) -> tuple[Speed, ...]:
    """Champion as it answers, challengers as they shadow; empty before anything was scored."""
    return tuple(found for version in seen.board.versions if (found := _speed(seen, version)) is not None)


def _speed(seen: Seen, version: int) -> Speed | None:
    learner = "prior" if version == PRIOR_VERSION else seen.learner(version)
    if version != seen.board.champion:
        cost = None if seen.shadow is None else seen.shadow.scoring.get(version)
        if cost is None or not cost.rows:
            return None
        per_row, at_once = _per_row(cost.total_s, cost.rows, cost.turns)
        return Speed(version, learner, "in shadow", per_row, at_once, "–", "–")
    told = [facts.versions[version] for facts in seen.serving if version in facts.versions]
    rows, turns = sum(one.answered + one.failed for one in told), sum(one.turns for one in told)
    if not turns or not rows:
        return None
    per_row, at_once = _per_row(sum(one.scoring_s for one in told), rows, turns)
    busiest = max(told, key=_turns)
    median, p99 = page_words.micros(busiest.median_s), page_words.micros(max(one.p99_s for one in told))
    return Speed(version, learner, "answering", per_row, at_once, median, p99)


def _turns(facts: AnsweringFacts) -> int:
    return facts.turns


def _per_row(total_s: float, rows: int, turns: int) -> tuple[str, str]:
    return page_words.micros(total_s / rows), f"{rows / max(1, turns):.3g}"
