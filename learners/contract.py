"""What every learner must keep, the catalogue's or one's own: one list for `tiltyard check-learner` and the tests."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from contracts.quantities import ConfigError
from learners import batch_contract, online_contract
from learners.case import Case
from learners.export import NotExportable
from learners.online import LearnerFailed
from learners.promise import Broken

CHECKS: dict[str, dict[str, Callable[[Case], str]]] = {
    "online": online_contract.CHECKS,
    "batch": batch_contract.CHECKS,
}
"""By kind and by what is kept. Without the first of each there is nothing to look at; the last refuses nothing."""


FIRST = {next(iter(checks)) for checks in CHECKS.values()}


@dataclass(frozen=True)
class Finding:
    """What one check found, in figures; or why the learner is refused."""

    check: str
    ok: bool
    told: str


def run(case: Case) -> Iterator[Finding]:
    """A finding for each check of the learner's kind, as it is made; only the first where that one is refused."""
    for name in CHECKS[case.learner.kind]:
        yield (finding := look(case, name))
        if not finding.ok and name in FIRST:
            return


def look(case: Case, name: str) -> Finding:
    """What the check of this name finds."""
    try:
        return Finding(name, True, CHECKS[case.learner.kind][name](case))
    except (Broken, NotExportable, ConfigError) as error:
        return Finding(name, False, str(error))
    except LearnerFailed as error:
        return Finding(name, False, error.reason)
    except Exception as error:  # noqa: BLE001  # a learner of one's own raises whatever it likes
        return Finding(name, False, f"{type(error).__name__}: {error}")
