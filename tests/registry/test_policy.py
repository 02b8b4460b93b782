"""Rules as the ledger has them."""

from contracts.config import parse
from registry import policy

TOML = """
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float"}
learners.linear = {algorithm = "linear"}
"""


def test_what_counts_as_a_label_is_entered_like_the_gates_rules(ledger):
    """Two labels for one question, or none, are other evidence by other rules; what only costs disk is not entered."""
    texts = [TOML, TOML + '[models.m.labels]\non_timeout = "negative"\ncombine = "majority"\nsnapshots_mb = 7', TOML]
    for text in texts:
        for _ in range(2):
            policy.enter(ledger, parse(text).model("m"), cause="gate")
    first, second, third = ledger.read()
    assert first.numbers["labels"] == {"combine": "latest", "on_timeout": "drop"}
    assert (first.reason, first.numbers["changed"]) == ("These rules decide from now on.", {})
    assert second.numbers["changed"] == {
        "labels.combine": ["latest", "majority"],
        "labels.on_timeout": ["drop", "negative"],
    }
    assert second.reason == 'labels.combine is "majority", was "latest"; labels.on_timeout is "negative", was "drop".'
    assert third.numbers["labels"] == first.numbers["labels"]


def test_a_ledger_from_before_labels_were_entered_goes_on(ledger):
    """What was in force is not known: the rules of today are entered once."""
    model = parse(TOML).model("m")
    entered = policy.enter(ledger, model, cause="gate")
    ledger.append("policy", None, "as before", cause="gate", numbers={"gate": entered.numbers["gate"], "changed": {}})
    found = policy.enter(ledger, model, cause="gate")
    assert found.numbers["changed"] == {"labels.combine": [None, "latest"], "labels.on_timeout": [None, "drop"]}
    assert policy.enter(ledger, model, cause="gate") is None
