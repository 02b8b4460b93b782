"""How the page writes figures, times, verdicts and counts."""

import math
from collections.abc import Sequence
from datetime import datetime

from markupsafe import Markup, escape

from contracts.events import Decision
from contracts.facts import ComparisonFacts

KINDS = {
    "prior": "Prior",
    "bootstrap": "Bootstrap",
    "enrolled": "Enrolled",
    "promoted": "Promoted",
    "rolled_back": "Rolled back",
    "retired": "Retired",
    "confirmed": "Confirmed",
    "moved_by_hand": "Moved by hand",
    "policy": "Rules",
    "verdict": "Verdict",
    "dry_run": "Dry run",
    "budget": "New budget",
    "refused": "Refused",
    "asked": "Asks a person",
    "approved": "Approved",
    "declined": "Declined",
    "deleted": "Deleted in MLflow",
    "corrected": "Corrected",
    "erased": "Erased",
    "frozen": "Frozen",
    "unfrozen": "Unfrozen",
    "accepted": "Accepted",
    "pardoned": "Pardoned",
    "forecast": "Due for a fit",
    "outcome": "Forecast checked",
    "alarm": "Alarm",
    "alarm_over": "Alarm over",
}
_VERDICTS = {
    "collecting": "collecting",
    "continue": "undecided",
    "ready": "held back",
    "promote": "has won",
    "retire": "worse",
    "give_up": "no gain",
    "inconclusive": "inconclusive",
}
_LOSSES = {
    "zero_one": "Mistakes",
    "brier": "Brier loss",
    "log": "Log loss",
    "absolute": "Mean absolute error",
    "squared": "Mean absolute error",
}


def count(number: float) -> str:
    return f"{number:,.0f}"


def clock(at: float, now: float) -> str:
    """Local time; with the day, where that is not today."""
    local = datetime.fromtimestamp(at)
    time = f"{local:%H:%M}"
    return time if local.date() == datetime.fromtimestamp(now).date() else f"{local.day} {local:%b} {time}"


def iso(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")


def duration(span_s: float) -> str:
    """ "250 ms", "12 s", "8 min", "3 h", "4 days"."""
    if span_s < 1:
        return f"{max(0.0, span_s) * 1000:.0f} ms"
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if span_s >= 2 * length:
            return f"{span_s / length:.0f} {unit}"
    return f"{span_s:.3g} s" if span_s < 10 else f"{span_s:.0f} s"


def micros(span_s: float) -> str:
    """ "12.3 µs", "4.56 ms": what computers take."""
    return f"{1e6 * span_s:.3g} µs" if span_s < 0.0009995 else f"{1e3 * span_s:.3g} ms"


def size(bytes_: float) -> str:
    """ "512 B", "4.1 kB", "1.23 MB", "10 GB"."""
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_ >= length:
            return f"{bytes_ / length:.3g} {unit}"
    return f"{bytes_:.0f} B"


def points(share: float) -> str:
    """A share as points, without a sign: 0.0123 -> "1.2"; small ones keep two digits, as the gate's sentences do."""
    shown = abs(100 * share)
    return f"{shown:.1f}" if shown >= 0.1 or shown == 0 else f"{shown:.2g}"


def signed_points(share: float) -> str:
    """As on an axis: "+1.2", "0", "−0.5"."""
    if share == 0:
        return "0"
    shown = f"{abs(100 * share):.4g}"
    return f"{'+' if share > 0 else '−'}{shown}"


def advantage(share: float) -> str:
    """As in a sentence: "+1.2", "0.0", "−0.52"."""
    return f"{'+' if share > 0 else '−' if share < 0 else ''}{points(share)}"


def signed(value: float) -> str:
    """Two decimals with a real minus sign."""
    return f"{value:.2f}".replace("-", "−")


def loss_title(loss: str) -> str:
    return _LOSSES.get(loss, loss)


def loss_figure(loss: str, value: float) -> str:
    """One mean loss with its unit: mistakes are per cent."""
    return f"{100 * value:.1f} %" if loss == "zero_one" else number(value)


def loss_tick(loss: str, value: float) -> str:
    return f"{100 * value:.4g} %" if loss == "zero_one" else number(value)


def number(value: float) -> str:
    """Four digits, and no powers of ten for large ones."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def kind(decision: Decision) -> str:
    return KINDS.get(decision.kind, decision.kind.replace("_", " ").capitalize())


def verdict(comparison: ComparisonFacts, is_on_probation: bool) -> str:
    return "on probation" if is_on_probation else _VERDICTS.get(comparison.decision, comparison.decision)


def counts(comparison: ComparisonFacts, loss: str) -> str:
    """What was counted, as a sentence; the gate's own words."""
    if comparison.n == 0:
        return "No labelled request has compared the two yet."
    differed = "only one of the two was right on" if loss == "zero_one" else "their losses differed on"
    better = "right" if loss == "zero_one" else "better"
    return (
        f"On {count(comparison.n)} labelled requests {differed} {count(comparison.wins + comparison.losses)}: "
        f"the challenger was {better} {count(comparison.wins)} times, the champion {count(comparison.losses)}."
    )


def waiting(number: int) -> str:
    """How many disagreements a person could decide."""
    return "1 disagreement waits" if number == 1 else f"{count(number)} disagreements wait"


def log10(natural: float) -> float:
    return natural / math.log(10)


def commands(text: str) -> Markup:
    """Text in which what stands between backticks is something to type."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
