"""The gate's rules as the ledger has them: a line whenever they are others than those it named last."""

from typing import Any

import msgspec

from contracts.events import Decision
from contracts.gate_rules import Gate
from registry.ledger import Ledger


def enter(ledger: Ledger, gate: Gate, *, cause: str) -> Decision | None:
    """Enters the rules where they are not the ones in force by the ledger; None where they are.

    Call before deciding by them, under the lease of whoever decides. Raises LeaseTaken.
    """
    last = next((line for line in reversed(ledger.read()) if line.kind == "policy"), None)
    rules: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(gate))
    before: dict[str, Any] = {} if last is None else last.numbers["gate"]
    if rules == before:
        return None
    changed = {
        name: [before.get(name), rules.get(name)]
        for name in {**before, **rules}
        if before.get(name) != rules.get(name) or (name in before) != (name in rules)
    }
    reason = "; ".join(f"gate.{name} is {_text(new)}, was {_text(old)}" for name, (old, new) in changed.items())
    return ledger.append(
        "policy",
        None,
        f"{reason}." if last else "These rules decide from now on.",
        cause=cause,
        numbers={"gate": rules, "changed": changed if last else {}},
        key=f"policy:{-1 if last is None else last.seq}",
    )


def _text(value: Any) -> str:
    return "not set" if value is None else msgspec.json.encode(value).decode()
