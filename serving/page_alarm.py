"""What the page tells of the champion's loss against its own past, and of the threshold that makes an alarm of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from contracts.alarm_facts import AlarmFacts, LossFacts
from serving import page_words
from serving.page_facts import Seen


@dataclass(frozen=True)
class Row:
    """One loss; empty where something is not known."""

    what: str
    usual: str
    now: str
    statistic: str
    threshold: str
    basis: str
    stands: bool


@dataclass(frozen=True)
class Alarm:
    """What stands at the newest look."""

    at: float
    severity: str
    sentence: str
    since: float | None
    budget: str
    rows: tuple[Row, ...]
    detectors: str
    validity: str


def alarm_of(seen: Seen, loss: str) -> Alarm | None:
    """None before the first look."""
    facts = seen.alarm
    if facts is None:
        return None
    return Alarm(
        at=facts.at,
        severity=facts.severity,
        sentence=facts.sentence,
        since=facts.since,
        budget=page_words.number(facts.budget),
        rows=tuple(_rows(facts, loss)),
        detectors=", ".join(f"{name} {page_words.count(ago)} labels ago" for name, ago in facts.detectors.items()),
        validity=facts.validity,
    )


def _rows(facts: AlarmFacts, loss: str) -> Iterator[Row]:
    """An estimate is always of mistakes."""
    for what, found, name in (("measured", facts.measured, loss), ("estimated", facts.estimated, "zero_one")):
        if found is not None:
            yield _row(what, found, name)


def _row(what: str, found: LossFacts, loss: str) -> Row:
    window = f" over {page_words.duration(found.window_s)}" if found.window_s else ""
    return Row(
        what=what,
        usual="" if found.usual is None else page_words.loss_figure(loss, found.usual),
        now="" if found.loss is None else page_words.loss_figure(loss, found.loss) + window,
        statistic=f"{found.statistic:.2f}",
        threshold=f"{found.threshold:.2f}",
        basis=found.basis,
        stands=found.since is not None,
    )
