"""The sentences that a model's story opens with: who answers, since when, why, and what comes next."""

from collections.abc import Sequence

from contracts.config import Model
from contracts.events import Decision
from contracts.releases import PRIOR_VERSION
from serving import page_words
from serving.page_facts import Seen


def champion_after(line: Decision) -> int | None:
    """Who answers after a ledger line, from the board that it carries; None for a line that moves nobody."""
    board = line.numbers.get("board")
    champion = board.get("champion") if isinstance(board, dict) else None
    return champion if isinstance(champion, int) else None


def tenures(decisions: Sequence[Decision]) -> list[tuple[Decision, int]]:
    """The lines, oldest first, by which somebody else came to answer, and who. `decisions` come newest first."""
    found: list[tuple[Decision, int]] = []
    before: int | None = None
    for line in reversed(decisions):
        champion = champion_after(line)
        if champion is None:
            continue
        # The oldest line at hand began a tenure only if it is the ledger's first.
        if champion != before and (before is not None or line.seq == 0):
            found.append((line, champion))
        before = champion
    return found


def crowned(seen: Seen) -> Decision | None:
    """The decision by which the champion came to answer, as far as the lines at hand go back."""
    found = tenures(seen.decisions)
    return found[-1][0] if found and found[-1][1] == seen.board.champion else None


def named(seen: Seen, version: int) -> str:
    return "The prior" if version == PRIOR_VERSION else f"Version {version} ({seen.learner(version)})"


def headline(seen: Seen, model: Model, now: float) -> str:
    """The first thing one reads: who answers, since when, and what makes it the better one."""
    champion, crowning = seen.board.champion, crowned(seen)
    if champion is None:
        return "Nothing answers yet."
    if champion == PRIOR_VERSION:
        return "The prior answers: the same scores every time, until a learner has earned it."
    told = f"{named(seen, champion)} answers"
    if crowning is None:
        return f"{told}."
    because = _because(seen, model, crowning)
    return f"{told} since {page_words.clock(crowning.at, now)}{'; ' if because else ''}{because}."


def _because(seen: Seen, model: Model, crowning: Decision) -> str:
    """What the line that crowned the champion says for it; empty where that has no short form."""
    if crowning.kind == "bootstrap":
        return "it was the first to have learned enough labels"
    if crowning.kind == "rolled_back":
        return f"version {crowning.version} was rolled back"
    gained = _gained(crowning)
    if gained is None:
        return ""
    what = "fewer mistakes" if model.loss == "zero_one" else "less loss"
    beaten = crowning.numbers["board"].get("previous")
    whom = "the champion before"
    if isinstance(beaten, int):
        is_newer_fit = crowning.version is not None and seen.learner(beaten) == seen.learner(crowning.version)
        whom = f"version {beaten}" if is_newer_fit else seen.learner(beaten)
    return (
        f"it makes {page_words.points(gained[0])} points {what} than {whom} (at least {page_words.points(gained[1])})"
    )


def _gained(crowning: Decision) -> tuple[float, float] | None:
    """(gain, its lower bound) from the numbers of a promotion; None where they do not speak for it."""
    gain, lower = crowning.numbers.get("gain", crowning.numbers.get("mean")), crowning.numbers.get("lower")
    if isinstance(gain, int | float) and isinstance(lower, int | float) and gain > lower > 0:
        return gain, lower
    return None


def why(crowning: Decision) -> str:
    """The reason as written down, less the opening that the headline has told already."""
    gained = _gained(crowning)
    opening, _, rest = crowning.reason.partition(". ")
    return rest if rest and gained and opening.startswith(f"{page_words.points(gained[0])} points") else crowning.reason


def next_step(seen: Seen, model: Model) -> str:
    """What has to happen next, where nothing was decided yet; empty otherwise."""
    if seen.board.champion is None:
        return "No version has been published; tiltyard up does that when it starts."
    if seen.board.champion != PRIOR_VERSION:
        return ""
    wanted = model.gate.bootstrap_labels
    learners = {} if seen.learn is None else seen.learn.learners
    if not learners:
        return f"The first learner to have learned {page_words.count(wanted)} labels takes over."
    first = max(learners, key=lambda name: learners[name].learned)
    return (
        f"The first learner to have learned {page_words.count(wanted)} labels takes over; "
        f"{first} has learned {page_words.count(learners[first].learned)}."
    )
