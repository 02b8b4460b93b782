"""A dossier as sections of sentences and tables, of which its page, its mail and its text are made."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from contracts.gate_rules import Gate
from registry import dossier_parts as parts
from registry.dossier import Dossier
from registry.dossier_parts import Section, start
from registry.prospects import would_change
from registry.reproduce import can_be, subject

_PARTS = {
    "collecting": "is still compared with",
    "continue": "is still compared with",
    "ready": "has won against, and is kept back from replacing,",
    "promote": "has won against",
    "retire": "is worse than",
    "give_up": "was given up against",
    "inconclusive": "could not be told apart from",
}
_SHOWN_LINES = 12
_BARRED = "Nothing: a version that was rolled back does not return. A new one is compared anew."


def headline(dossier: Dossier) -> str:
    """What was decided, in a line."""
    line, version = dossier.line, dossier.named(dossier.version)
    champion = "nobody" if dossier.champion is None else dossier.named(dossier.champion)
    match line.kind if line is not None else "":
        case "promoted" | "bootstrap" | "moved_by_hand":
            return start(f"{version} answers instead of {champion}")
        case "rolled_back":
            assert line is not None
            return start(f"{version} was rolled back; {dossier.named(subject(line))} answers again")
        case "retired":
            return start(f"{version} left the shadow of {champion}")
        case "asked":
            return start(f"{version} has won against {champion} and asks a person to let it answer")
    verdict = dossier.verdict
    return start(f"{version} {_PARTS[verdict.decision if verdict else 'collecting']} {champion}")


def reason(dossier: Dossier) -> str:
    """The sentence of the decision."""
    if dossier.line is not None:
        return dossier.line.reason
    return dossier.verdict.reason if dossier.verdict else "It has not been compared on any question yet."


def sections(dossier: Dossier) -> list[Section]:
    """All there is to say, in the order in which people ask."""
    verdict, comparison, rules = dossier.verdict, dossier.seen.comparison, dossier.rules
    found: list[Section] = []
    if dossier.line is not None and dossier.line.kind == "asked":
        found.append(Section("To answer it", [_to_answer(dossier)]))
    if verdict is not None:
        is_back = dossier.line is not None and dossier.line.kind == "rolled_back"
        found += [
            Section("What was counted", [*_follower(dossier), *parts.counted(verdict, comparison, rules)]),
            Section("What would change it", [_BARRED] if is_back else would_change(verdict, comparison, rules)),
        ]
    elif dossier.line is not None and "watch" in dossier.line.numbers:
        found += [
            Section(
                "What was counted", [*_follower(dossier), *parts.watched(dossier.line.numbers["watch"], comparison)]
            ),
            Section("What would change it", [_BARRED]),
        ]
    elif dossier.line is not None:
        told = [f"{name}: {value}" for name, value in dossier.line.numbers.items() if name not in ("board", "learner")]
        found.append(Section("What was known", [f"{dossier.line.cause} did it; no comparison decided this.", *told]))
    if comparison is not None:
        found += [*parts.guardrails(comparison, rules), *parts.segments(comparison), *parts.answers(comparison)]
        found.append(Section("Labels", list(parts.labels(dossier, comparison))))
    found.append(Section("Versions", parts.versions(dossier)))
    if verdict is not None:
        found.append(Section("Rules", [_rules(rules)]))
    if dossier.line is not None:
        found.append(Section("Since then", list(_since(dossier))))
    said = [f"{clock(one.at)}, line {one.seq}: {one.kind} ({one.cause}). {one.reason}" for one in dossier.told]
    found.append(Section("In the ledger", [*said[-_SHOWN_LINES:], *_where(dossier)]))
    return found


def text(dossier: Dossier) -> str:
    """For a terminal, and for mail that shows no markup."""
    out = [headline(dossier), "", reason(dossier)]
    for section in sections(dossier):
        out += ["", section.title, *(f"  {sentence}" for sentence in section.sentences)]
        table = [section.header, *section.rows] if section.rows else []
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        out += ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join(out) + "\n"


def clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().isoformat(" ", "seconds")


def _follower(dossier: Dossier) -> Iterator[str]:
    if dossier.line is not None and dossier.line.kind == "rolled_back":
        yield f"The challenger that it was compared with is its predecessor, {dossier.named(subject(dossier.line))}."


def _to_answer(dossier: Dossier) -> str:
    about = f"{dossier.version} --model {dossier.model} --reason TEXT"
    return (
        f"Say yes or no on the model's page, by `tiltyard approve {about}` or `tiltyard refuse {about}`, or by a run "
        f"of Prefect's deployment approve/{dossier.model}. The request lapses where labels that come meanwhile change "
        "the verdict; a no holds as long as this champion answers."
    )


def _rules(rules: Gate) -> str:
    chosen = msgspec.to_builtins(rules)
    shown = {name: chosen[name] for name in ("alpha", "slots", "margin", "min_gain", "min_matured", "max_matured")}
    shown |= {name: value for name, value in chosen.items() if value != getattr(Gate(), name)}
    return "; ".join(f"{name} {value}" for name, value in shown.items()) + "."


def _since(dossier: Dossier) -> Iterator[str]:
    corrections, pairs = 0, 0
    for line in dossier.corrections:
        moved = line.numbers.get("moved", {}).get(str(dossier.version), {})
        corrections, pairs = corrections + bool(moved), pairs + moved.get("pairs", 0)
    if pairs:
        yield f"Corrected labels have changed {pairs:,} of its pairs in {corrections} lines of the ledger."
    else:
        yield "No corrected label has changed its evidence."


def _where(dossier: Dossier) -> Iterator[str]:
    line = dossier.line
    yield from (f"The log does not give quite the ledger's figures: {why}." for why in dossier.seen.differs)
    if line is not None:
        yield f"Line {line.seq} has the hash {line.hash}."
    if line is not None and can_be(line):
        yield (
            f"It was decided on predictions below offset {line.numbers['through']}, with labels up to "
            f"{line.numbers['labels']}: `tiltyard what-if` reaches it again from the log."
        )
