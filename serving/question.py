"""A predict request's body in, its answer's body out."""

import json
import math
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from contracts.config import Model
from contracts.schema import BadInput, Value, bad_input
from serving.model import Scores, Served
from serving.refusal import Refusal

BODY_LIMIT = 1 << 20
"""Bytes of the largest body that is read."""

_Entity = Annotated[str, Meta(min_length=1, max_length=256)]
_FORM = 'send {"features": {...}}'


class Form:
    """Reads one model's questions and writes its answers."""

    def __init__(self, name: str, model: Model):
        self.name, self.schema = name, model.schema
        label = self.schema.label
        self._classes, self._texts = label.classes, label.class_texts
        fields: list[Any] = [("features", self.schema.struct), ("entity_id", _Entity | None, None)]
        body = msgspec.defstruct("Question", fields, forbid_unknown_fields=True)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(body)

    def read(self, body: bytes | bytearray) -> tuple[tuple[Value, ...], str | None]:
        """Features in schema order, and the entity id. Raises Refusal: 422 naming the field, or 400 for no JSON."""
        try:
            question = self._decoder.decode(body)
            return self.schema.row(question.features), question.entity_id
        except BadInput as error:
            raise Refusal(422, error.reason, f"features.{error.field}") from None
        except msgspec.ValidationError as error:
            bad = bad_input(error)
            raise Refusal(422, f"{bad.reason}; {_FORM}" if bad.field == "body" else bad.reason, bad.field) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _malformed(body, error) from None

    def column(self, scores: Scores) -> int:
        """Of the class that is answered, the first of equally probable ones; 0 for a value."""
        return scores.index(max(scores))

    def write(self, served: Served, scores: Scores, column: int, prediction_id: str | None) -> bytes:
        """The answer as JSON, whose label is that of the `column`."""
        answer: dict[str, object] = {"prediction_id": prediction_id}
        if self._classes:
            answer["label"] = self._classes[column]
            answer["probabilities"] = dict(zip(self._texts, scores, strict=True))
        else:
            answer["label"] = answer["value"] = scores[0]
        answer["model"], answer["version"], answer["revision"] = self.name, served.version, served.revision
        return msgspec.json.encode(answer)


def _malformed(body: bytes | bytearray, error: Exception) -> Refusal:
    """Python's parser reads NaN and Infinity, so that the field which holds one can be named."""
    if not body:
        return Refusal(400, f"the body is empty; {_FORM}")
    if b"NaN" in body or b"Infinity" in body:
        try:
            features = json.loads(body)["features"]
            field = next(
                name for name, value in features.items() if isinstance(value, float) and not math.isfinite(value)
            )
        except (ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError):
            pass  # then it is malformed in another way too
        else:
            return Refusal(422, "is not a finite number", f"features.{field}")
    return Refusal(400, f"the body is not valid JSON: {error}")
