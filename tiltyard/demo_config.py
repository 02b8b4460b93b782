"""The configuration of a demo: a real one, with time compressed so that hours fit into minutes."""

import textwrap
from typing import Any

from data import infer
from data.streams import Stream

DEFAULT_STREAM = "image-segments"
DELAY_ROWS = 100
_SECONDS = 230
"""Asking takes about so long, whatever the length of the stream."""
_MOST_PER_S = 60.0

_LEARNERS: dict[str, dict[str, Any]] = {
    "linear": {"algorithm": "linear"},
    "tree": {"algorithm": "hoeffding_tree"},
    "boosting": {"algorithm": "hist_gradient_boosting", "kind": "batch"},
}

FIRST_LINE = "# The configuration of a demo, written by `tiltyard demo`. Time is compressed: in real use labels take"
_HEAD = f"""\
{FIRST_LINE}
# hours and retraining happens at night; here labels take seconds, and everything else follows suit.
"""


def rate_for(stream: Stream) -> float:
    """Rows per second at which a short stream lasts long enough for a promotion to be seen."""
    return min(_MOST_PER_S, max(5.0, round(stream.length / _SECONDS)))


def limit_for(rate: float) -> int:
    """Rows of a long stream that are enough."""
    return round(rate * _SECONDS)


def model_name(stream: Stream) -> str:
    return stream.name.removesuffix(".gz").removesuffix(".csv")


def text(stream: Stream, rate: float) -> str:
    """A `tiltyard.toml` for a stream replayed at a rate, its labels `DELAY_ROWS` rows late."""
    name = model_name(stream)
    delay_s = DELAY_ROWS / rate
    # Labels come after `delay_s`; half as much again, and some seconds, before a missing one counts as missing.
    maturity_s = round(1.5 * delay_s + 5)
    sections: dict[str, dict[str, Any]] = {
        "gate": {"maturity": f"{maturity_s}s", "min_matured": 200, "bootstrap_labels": 100, "shadow_timeout": "5s"},
        "schedules": {"learn": "15s", "retrain": "30s", "promote": "60s", "watch": "120s"},
        "retrain": {"min_rows": 400},
        "drift": {"reference_rows": 500, "current_rows": 300, "min_rows": 200},
        "mail": {"recipients": ["you@example.org"], "when": "always"},
    }
    table = infer.model_table(name, stream.schema, title=stream.description, learners=_LEARNERS)
    provenance = "\n".join(textwrap.wrap(stream.provenance, 116, initial_indent="# ", subsequent_indent="# "))
    return f"{_HEAD}{provenance}\n\n{table}\n{infer.tables(name, sections)}"
