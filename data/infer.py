"""A commented `tiltyard.toml` from what is known of a stream."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.schema import Label, Schema, Task
from data import csvfile
from data.columns import Column

LOOK_AHEAD = 50_000
_MANY_TEXTS = 100

_LEARNERS: dict[str, dict[str, Any]] = {
    "linear": {"algorithm": "linear"},
    "tree": {"algorithm": "hoeffding_tree"},
    "boosting": {"algorithm": "hist_gradient_boosting", "kind": "batch"},
}

_HEAD = """\
# What Tiltyard keeps good, and how. Check it with `tiltyard doctor`; `tiltyard schema` prints a JSON Schema of this
# file for editors. Addresses and secrets are no part of it: they are TILTYARD_* variables.
"""

_TAIL = """\
# What follows are the defaults that people change first.
[models.{name}.gate]
maturity = "10m"        # how long a prediction waits for its label before it counts: longer than your slowest labels
min_matured = 500       # labelled predictions before anything is decided
bootstrap_labels = 200  # labels the first learner must have seen to replace the prior

[models.{name}.schedules]
retrain = "24h"         # an interval, a cron line ("0 3 * * *"), or "off"
promote = "5m"
watch = "1h"            # the drift report

[models.{name}.mail]
recipients = []         # who gets drift reports and decisions; without TILTYARD_SMTP_URL they go to the outbox folder
"""


def draft(path: Path, label_column: str, *, name: str | None = None, task: Task | None = None) -> str:
    """A configuration for the rows of a CSV file, as its first `LOOK_AHEAD` rows have them. Raises BadFile."""
    guess = csvfile.look(path, label_column, rows=LOOK_AHEAD, task=task)
    looked = "all" if guess.whole else f"the first {guess.rows:,}"
    notes = {column.name: note for column in guess.columns if (note := _note(column))}
    head = (
        f"{_HEAD}# Types are those of {looked} rows of {path.name}:\n"
        '# float, int, bool or category, with "?" where a value may be missing.\n'
    )
    left_out = [f"# {column.name} is left out: {_note(column)}" for column in guess.columns if column.feature is None]
    name = name or model_name(path)
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
        raise csvfile.BadFile(f'"{name}" cannot name a model: lower case letters, digits, - and _, a letter first')
    table = model_table(name, guess.schema, title=f"{label_column} of {path.name}", notes=notes, left_out=left_out)
    return f"{head}\n{table}\n{_TAIL.format(name=name)}"


def model_table(
    name: str,
    schema: Schema,
    *,
    title: str = "",
    learners: Mapping[str, Mapping[str, Any]] = _LEARNERS,
    notes: Mapping[str, str] | None = None,
    left_out: list[str] | None = None,
) -> str:
    """The TOML tables of one model up to its learners; further tables may follow."""
    notes = notes or {}
    lines = [f"[models.{name}]", f"title = {_toml(title)}", "", f"[models.{name}.features]"]
    for feature in schema.features:
        note = f"  # {notes[feature.name]}" if feature.name in notes else ""
        lines.append(f"{_key(feature.name)} = {_toml(feature.type + '?' * feature.optional)}{note}")
    lines += [*(left_out or []), "", *_label(name, schema.label)]
    for learner, table in learners.items():
        lines += ["", f"[models.{name}.learners.{learner}]", *_assignments(table)]
    return "\n".join(lines) + "\n"


def tables(name: str, sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Further TOML tables of a model."""
    return "\n".join(
        "\n".join([f"[models.{name}.{section}]", *_assignments(table), ""]) for section, table in sections.items()
    )


def model_name(path: Path) -> str:
    """A valid model name that reads like the file's."""
    stem = path.name.removesuffix(".gz").removesuffix(".csv").lower()
    text = re.sub(r"[^a-z0-9_-]+", "-", stem).strip("-_")
    return (text if text[:1].isalpha() else f"model-{text}".rstrip("-"))[:63]


def _note(column: Column) -> str:
    if column.type == "empty":
        return "it has no value in any of these rows"
    if column.type == "time":
        return "it holds times; give their parts that matter, such as the hour, as columns of their own"
    parts = [f"{column.missing:,} of {column.seen:,} are missing"] * (column.missing > 0)
    parts += [f"{column.odd:,} are no {column.type}: such rows are refused"] * (column.odd > 0)
    if column.type == "category" and column.distinct > _MANY_TEXTS:
        parts.append(f"{column.distinct:,} different texts: remove it if it is an identifier")
    return "; ".join(parts)


def _label(name: str, label: Label) -> list[str]:
    lines = [f"[models.{name}.label]", f"task = {_toml(label.task)}"]
    if label.classes:
        positive = "  # the second one is the positive class" if label.task == "binary" else ""
        lines.append(f"classes = {_toml(list(label.classes))}{positive}")
        lines.append("# prior = [...]  # probabilities answered until something has learned; all equal by default")
    else:
        lines.append("# prior = [0.0]  # the value answered until something has learned")
    return lines


def _assignments(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_toml(value)}" for key, value in table.items()]


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _toml(text)


def _toml(value: Any) -> str:
    """Strings, numbers, booleans, flat lists and tables read the same in TOML as in JSON, but for a few signs."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
