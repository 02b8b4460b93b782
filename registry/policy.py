"""The gate's rules, and what counts as a label, as the ledger has them: a line whenever they are others than before."""

from typing import Any

import msgspec

from contracts.config import Model
from contracts.events import Decision
from registry.ledger import Ledger


def enter(ledger: Ledger, model: Model, *, cause: str) -> Decision | None:
    """Enters a model's rules where they are not the ones in force by the ledger; None where they are.

    Call before deciding by them, under the lease of whoever decides. Raises LeaseTaken.
    """
    last = next((line for line in reversed(ledger.read()) if line.kind == "policy"), None)
    gate: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(model.gate))
    labels = {"combine": model.labels.combine, "on_timeout": model.labels.on_timeout}
    rules = _named(gate, labels)
    before = {} if last is None else _named(last.numbers["gate"], last.numbers.get("labels", {}))
    if rules == before:
        return None
    changed = {
        name: [before.get(name), rules.get(name)]
        for name in {**before, **rules}
        if before.get(name) != rules.get(name) or (name in before) != (name in rules)
    }
    reason = "; ".join(
        f"{name if '.' in name else f'gate.{name}'} is {_text(new)}, was {_text(old)}"
        for name, (old, new) in changed.items()
    )
    return ledger.append(
        "policy",
        None,
        f"{reason}." if last else "These rules decide from now on.",
        cause=cause,
        numbers={"gate": gate, "labels": labels, "changed": changed if last else {}},
        key=f"policy:{-1 if last is None else last.seq}",
    )


def _named(gate: dict[str, Any], labels: dict[str, Any]) -> dict[str, Any]:
    """Every rule by its name, as it stands in "changed"."""
    return gate | {f"labels.{name}": rule for name, rule in labels.items()}


def _text(value: Any) -> str:
    return "not set" if value is None else msgspec.json.encode(value).decode()
