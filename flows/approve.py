"""A person's answer to a request of the gate, given on Prefect's own page."""

from prefect import flow

from flows import announcing, approval
from flows.place import place_named


@flow(name="approve", flow_run_name="approve {model} version {version}")
def approve(model: str, version: int, person: str, reason: str, refuse: bool = False) -> str:
    """Let a version answer that has won and asks for approval, or refuse it.

    Args:
        model: name of a table [models.NAME] in tiltyard.toml.
        version: the one that asks; the run of promote that asked names it.
        person: your name, for the ledger: Prefect does not tell it.
        reason: why; stands in the ledger.
        refuse: refuse it instead, as long as the present champion answers.

    The run fails, saying why, where the version does not ask or has not won any more.
    """
    answer, place = approval.refuse if refuse else approval.approve, place_named(model)
    told = answer(place, version, f"{person} (Prefect)", reason)
    announcing.announce(place)
    return told
