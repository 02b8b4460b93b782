"""`tiltyard check-learner`: does a learner keep what every learner must? Each check with its figures or its reason."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from contracts import config
from contracts.config import Learner, Model
from contracts.log import Log
from contracts.quantities import ConfigError
from learners.case import Case
from learners.contract import CHECKS, Finding, run
from learners.synthetic import Examples, examples
from tiltyard import instance

_LEAST_ROWS = 100


def check(
    state: Path | None, file: Path | None, model_name: str, name: str | None, rows: int, log: bool, as_json: bool
) -> int:
    """Checks one learner of a model, or all; the exit status is 1 when one of them is refused. Raises ConfigError."""
    chosen = instance.find(state)
    model = config.load((file or chosen.config).absolute()).model(model_name)
    data = _logged(Log(chosen.log_folder, model_name, model.schema), rows) if log else examples(model.schema, rows)
    told = {key: _look(key, learner, data, log, as_json) for key, learner in _wanted(model, name).items()}
    if as_json:
        print(json.dumps({key: [asdict(finding) for finding in found] for key, found in told.items()}, indent=2))
    return int(any(not finding.ok for found in told.values() for finding in found))


def _wanted(model: Model, name: str | None) -> dict[str, Learner]:
    if name is None:
        return dict(model.learners)
    if name not in model.learners:
        raise ConfigError(f'there is no learner "{name}"; known are {", ".join(model.learners)}')
    return {name: model.learners[name]}


def _logged(log: Log, rows: int) -> Examples:
    found = log.examples(last=rows)
    if len(found) < _LEAST_ROWS:
        raise ConfigError(
            f"the log in {log.folder} has {len(found)} labelled predictions, and {_LEAST_ROWS} are needed; "
            "leave out --log to try generated rows, or name the state folder with --state"
        )
    return Examples(log.schema, found.rows, found.labels)


def _look(name: str, learner: Learner, data: Examples, log: bool, quiet: bool) -> list[Finding]:
    console, began = Console(quiet=quiet, highlight=False, soft_wrap=True), time.perf_counter()
    source = "of the log, the newest" if log else "generated from the schema"
    console.print(f"{name} ({learner.kind}, {learner.named}) on {len(data.rows):,} rows {source}", markup=False)
    found: list[Finding] = []
    checks = CHECKS[learner.kind]
    with console.status("") as status:
        status.update(f"  {next(iter(checks))} ...")
        for finding in run(Case(learner, data)):
            found.append(finding)
            mark = "[green]ok     [/]" if finding.ok else "[red]refused[/]"
            console.print(f"  {mark}  ", end="")
            console.print(f"{finding.check}: {finding.told}", markup=False)
            status.update(f"  {len(found)} of {len(checks)} checks in {time.perf_counter() - began:.0f} s ...")
    refused = sum(not finding.ok for finding in found)
    sys.stdout.flush()
    console.print(f"{name}: refused, {refused} to be put right" if refused else f"{name}: fit to serve", markup=False)
    return found
