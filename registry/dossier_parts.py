"""The sections of a dossier that tell a comparison and the versions in it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.facts import ComparisonFacts
from contracts.gate_rules import Gate
from registry.dossier import Dossier
from registry.evidence import Evidence
from registry.gate import SHOWN, Verdict, counts_in_words
from registry.guards import coverage

_MOST = 12


@dataclass(frozen=True)
class Section:
    title: str
    sentences: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def counted(verdict: Verdict, comparison: ComparisonFacts | None, rules: Gate) -> Iterator[str]:
    if comparison is not None:
        yield counts_in_words(Evidence.from_json(comparison.evidence))
    else:
        yield f"{verdict.n:,} labelled requests, of which it won {verdict.wins:,} and lost {verdict.losses:,}."
    yield (
        f"Its advantage is {_points(verdict.mean)} points of loss; at all times at once it is at least "
        f"{_points(verdict.lower)} (with {1 - rules.alpha / rules.slots:.2%} certainty) and at most "
        f"{_points(verdict.upper)} (with {1 - SHOWN:.0%})."
    )
    yield (
        f"Evidence: log10 E = {verdict.log_e / math.log(10):.2f}; {verdict.needed / math.log(10):.2f} promotes. That "
        "is no probability that it is better: a useless challenger ever gets there in at most "
        f"{100 * rules.alpha:g} of 100 champion tenures."
    )
    if comparison is not None and comparison.clipped:
        yield f"{comparison.clipped:,} of the errors were larger than what counts."


def watched(watch: Mapping[str, Any], comparison: ComparisonFacts | None) -> Iterator[str]:
    """Of a rollback by the watch on a champion under probation."""
    if comparison is not None and comparison.n:
        yield counts_in_words(Evidence.from_json(comparison.evidence))
    reached, needed = watch["log_r"] / math.log(10), watch["needed"] / math.log(10)
    yield (
        "The watch on the champion, which counts from a new start with every hundred pairs, rang after "
        f"{watch['alarmed_at']:,} of them: it rings at log10 R = {needed:.2f}, and stood at {reached:.2f} at the look."
    )


def guardrails(comparison: ComparisonFacts, rules: Gate) -> Iterator[Section]:
    rows = []
    for name, tolerance in rules.guardrails.items():
        evidence = _read(comparison.guardrails.get(name))
        passed = "passes" if evidence.log_e(-tolerance) >= -math.log(rules.alpha) else "not shown"
        least = _points(evidence.lower(rules.alpha))
        rows.append((name, _points(evidence.mean), least, _points(-tolerance), passed))
    if rows:
        yield Section("Guardrails, in points of loss", (), ("loss", "so far", "at least", "allowed", ""), rows)


def segments(comparison: ComparisonFacts) -> Iterator[Section]:
    found = {name: _read(told) for name, told in comparison.segments.items()}
    rows = []
    for name, one in sorted(found.items(), key=lambda each: each[1].mean)[:_MOST]:
        lower, upper = one.bounds(SHOWN)
        worse = "worse" if one.log_e_worse() >= math.log(len(found) / SHOWN) else ""
        rows.append((name, f"{one.n:,}", _points(one.mean), _points(lower), _points(upper), worse))
    if rows:
        header = ("segment", "requests", "advantage", "from", "to", "")
        told = [f"The {_MOST} worst of {len(found)}."] if len(found) > _MOST else []
        yield Section("Segments, in points of loss", told, header, rows)


def answers(comparison: ComparisonFacts) -> Iterator[Section]:
    alike = sum(n for mine, other, n in comparison.answers if mine == other)
    total = sum(n for _, _, n in comparison.answers)
    if total:
        classes = sorted({mine for mine, _, _ in comparison.answers} | {other for _, other, _ in comparison.answers})
        counts = {(mine, other): n for mine, other, n in comparison.answers}
        rows = [[f"champion {mine}", *(f"{counts.get((mine, other), 0):,}" for other in classes)] for mine in classes]
        told = f"On {total:,} questions they answered alike {alike:,} times ({alike / total:.1%})."
        header = ["class, counted from 0", *(f"challenger {other}" for other in classes)]
        yield Section("Answers", [told], header, rows[:_MOST] if len(classes) <= _MOST else ())


def labels(dossier: Dossier, comparison: ComparisonFacts) -> Iterator[str]:
    share = coverage(comparison)
    if share is not None:
        asked = f"{dossier.rules.min_coverage:.0%} is asked"
        yield f"{share:.0%} of the questions on which the two may differ have labels; {asked}."
    if dossier.seen.delay_s is not None:
        median, p90, p99 = dossier.seen.delay_s
        rest = f"nine of ten within {p90:,.1f} s, 99 of 100 within {p99:,.1f} s"
        yield f"Labels came after {median:,.1f} s at the median, {rest}."
    yield f"A prediction waits {dossier.rules.maturity} for its label before it counts (gate.maturity)."
    if dossier.seen.late:
        yield f"{dossier.seen.late:,} labels of this model came later than that, and are no evidence."
    if comparison.audit is not None:
        late = _read(comparison.audit)
        yield f"With late labels alone the advantage is {_points(late.mean)} points on {late.n:,} requests."
    if comparison.uncovered:
        yield f"{comparison.uncovered:,} pairs lack a shadow score that came in time, and were left out."
    if comparison.corrected:
        yield f"{comparison.corrected:.1%} of labels had been corrected."


def versions(dossier: Dossier) -> list[str]:
    return list(_made(dossier)) or [f"The ledger does not say how {dossier.named(dossier.version)} was made."]


def _made(dossier: Dossier) -> Iterator[str]:
    numbers = dossier.numbers
    if training := numbers.get("training_set"):
        tables = ", ".join(f"{name.removeprefix('delta_')} {at}" for name, at in training.items() if "delta" in name)
        yield (
            f"{start(dossier.named(dossier.version))} was fitted on {training['rows']:,} rows, offsets "
            f"{training['first_offset']} to {training['last_offset']} (Delta versions: {tables})."
        )
    if metrics := numbers.get("metrics"):
        told = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        yield f"On rows that it never saw: {told}."
    if parity := numbers.get("parity"):
        apart = f"{parity['max_abs_difference']:.2g} at most, on {parity['rows']:,} rows"
        yield f"What it scores as ONNX differs from what was fitted by {apart}."
    for version, scoring_s in sorted(dossier.seen.scoring_s.items()):
        yield f"{start(dossier.named(version))} takes {1e6 * scoring_s:,.0f} µs for a question."


def start(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _read(told: str | None) -> Evidence:
    return Evidence() if told is None else Evidence.from_json(told)


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"
