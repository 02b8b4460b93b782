"""What a learner promises, and what to raise where it does not keep that."""


class Broken(Exception):
    """A learner does not keep what it must; the message says what it did instead."""


def require(kept: bool, otherwise: str) -> None:
    """Raises Broken unless it is kept."""
    if not kept:
        raise Broken(otherwise)
