"""Questions on which versions disagree, as the page shows them, and how many wait for a person's label."""

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.config import Model
from contracts.quantities import seconds
from contracts.schema import Value
from serving import page_words
from serving.disagreements import Answer, Disagreement, Lately
from serving.page_facts import Seen

EXAMPLES_SHOWN = 8
_UNLABELLED_SHOWN = 3
_FEATURES_SHOWN = 5


@dataclass(frozen=True)
class Said:
    """One version's answer to one question; None where it gave none."""

    text: str
    is_other: bool
    """Whether it differs from the champion's."""
    is_right: bool | None
    """None while nobody knows; of values, whether it came nearest."""


@dataclass(frozen=True)
class Example:
    id: str
    asked_at: float
    features: str
    left_out: int
    """Features that are not told."""
    said: tuple[Said, ...]
    """By version; empty while a class has no label: who said what is no help to whoever gives it."""
    either: str
    """What was said, in class order, where `said` is empty."""
    label: str


@dataclass(frozen=True)
class Disagreements:
    """What the newest questions of this tenure show."""

    sentence: str
    wanted: str
    """How many of them wait for a label, and until when that counts; empty for values."""
    versions: tuple[int, ...]
    examples: tuple[Example, ...]


def disagreements_of(lately: Lately, seen: Seen, model: Model) -> Disagreements | None:
    """None before any challenger has answered the same question."""
    if not lately.examined:
        return None
    versions = seen.board.versions
    return Disagreements(
        sentence=_sentence(lately, model),
        wanted="" if model.label.is_regression else _wanted(lately, model),
        versions=versions,
        examples=tuple(_example(one, model, versions) for one in _chosen(lately, model)),
    )


def _chosen(lately: Lately, model: Model) -> list[Disagreement]:
    """Mostly such as have a label, since the very newest never do."""
    if model.label.is_regression:
        return list(lately.found[:EXAMPLES_SHOWN])
    waiting = [one for one in lately.found if one.label is None]
    room = EXAMPLES_SHOWN - min(_UNLABELLED_SHOWN, len(waiting))
    labelled = [one for one in lately.found if one.label is not None][:room]
    chosen = labelled + waiting[: EXAMPLES_SHOWN - len(labelled)]
    return sorted(chosen, key=lambda one: -one.offset)


def _sentence(lately: Lately, model: Model) -> str:
    looked = f"the newest {page_words.count(lately.examined)} questions of this tenure"
    if model.label.is_regression:
        return f"Where answers to {looked} lie farthest apart."
    return f"On {page_words.count(len(lately.found))} of {looked} a challenger answered otherwise than the champion."


def _wanted(lately: Lately, model: Model) -> str:
    lasts = page_words.duration(seconds(model.gate.maturity))
    counts = f"A label counts as evidence for {lasts} after the question (gate.maturity)"
    if lately.waiting:
        return f"{page_words.waiting(lately.waiting)} for a label that decides something. {counts}."
    late = sum(one.label is None for one in lately.found)
    rest = f" {page_words.count(late)} have matured without one: theirs would only be audited." if late else ""
    return f"None waits for a label that counts.{rest} {counts}."


def _example(one: Disagreement, model: Model, versions: Iterable[int]) -> Example:
    is_open = one.label is None and not model.label.is_regression
    named = zip(model.schema.names, one.row, strict=True)
    known = [f"{name} {_value(value)}" for name, value in named if value is not None]
    return Example(
        id=one.id,
        asked_at=one.asked_at,
        features=", ".join(known[:_FEATURES_SHOWN]),
        left_out=max(0, len(known) - _FEATURES_SHOWN),
        said=() if is_open else tuple(_said(one, version) for version in versions),
        either=" or ".join(text for text in model.label.class_texts if text in one.answers.values()),
        label="" if one.label is None else _text(one.label),
    )


def _said(one: Disagreement, version: int) -> Said:
    champion, answer = next(iter(one.answers.values())), one.answers.get(version)
    if answer is None:
        return Said("–", False, None)
    return Said(_text(answer), answer != champion, None if one.label is None else _is_right(one, answer))


def _is_right(one: Disagreement, answer: Answer) -> bool:
    if isinstance(answer, str) or not isinstance(one.label, float):
        return answer == one.label
    label = one.label
    nearest = min(abs(other - label) for other in one.answers.values() if isinstance(other, float))
    return abs(answer - label) == nearest


def _text(answer: Answer) -> str:
    return answer if isinstance(answer, str) else page_words.number(answer)


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
