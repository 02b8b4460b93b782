"""What a caller is told when there is no answer: one form for every error."""

from typing import TypeVar

import msgspec

from contracts.schema import bad_input

Body = TypeVar("Body", bound=msgspec.Struct)


class Refusal(Exception):
    """A request that gets an error. `field` names the part of the body that is wrong, where one is."""

    def __init__(self, status: int, reason: str, field: str | None = None, headers: dict[str, str] | None = None):
        super().__init__(f"{status} {field}: {reason}" if field else f"{status} {reason}")
        self.status, self.reason, self.field, self.headers = status, reason, field, headers

    @property
    def body(self) -> bytes:
        """`{"error": {"field"?, "reason"}}`."""
        named = {} if self.field is None else {"field": self.field}
        return msgspec.json.encode({"error": {**named, "reason": self.reason}})


def read(body: bytes, kind: type[Body]) -> Body:
    """What a request's body says. Raises Refusal naming the field."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        bad = bad_input(error)
        raise Refusal(422, bad.reason, bad.field) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, f"the body is not valid JSON: {error}" if body else "the body is empty") from None


def redis_away(what: str) -> Refusal:
    return Refusal(503, f"Redis is away: {what}; send it again", headers={"Retry-After": "1"})
