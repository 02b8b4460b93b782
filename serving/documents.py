"""What `/docs` says about a model: JSON Schemas of its questions, answers and labels."""

from typing import Any

from contracts.schema import Feature, Schema

_TYPES = {"float": "number", "int": "integer", "bool": "boolean", "category": "string"}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["reason"],
            "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
        }
    },
}
_REASONS = {
    400: "The body is not JSON",
    403: "A page of another site sent it",
    404: "There is no such model, prediction, feedback or request",
    409: "It was answered, or has asked anew, or its verdict has changed",
    413: "The body is too large",
    415: "The content type is not application/json",
    422: "A field is missing, of a wrong type, or not in the schema; `field` names it",
    429: "This prediction's label has changed as often as is taken",
    500: "The model gave no finite score",
    503: "No champion yet, or Redis is away; send it again after Retry-After seconds",
}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_ENTITY = {
    **_TEXT_OR_NULL,
    "minLength": 1,
    "maxLength": 256,
    "description": "Whom the question is about, so that `tiltyard erase` can find it. Only a keyed hash is stored.",
    "examples": ["customer-17"],
}


def predict(name: str, schema: Schema) -> dict[str, Any]:
    """OpenAPI of one model's predict route."""
    return {
        "requestBody": _body(
            {
                "type": "object",
                "required": ["features"],
                "additionalProperties": False,
                "properties": {"features": _features(schema), "entity_id": _ENTITY},
            }
        ),
        "responses": _responses(200, "The champion's answer", _answer(name, schema), 400, 413, 422, 500, 503),
    }


def feedback(schema: Schema) -> dict[str, Any]:
    """OpenAPI of one model's feedback route."""
    label = {"type": "number"} if schema.label.is_regression else {"enum": list(schema.label.classes)}
    question = {
        "type": "object",
        "required": ["prediction_id", "label"],
        "additionalProperties": False,
        "properties": {
            "prediction_id": {"type": "string"},
            "label": label,
            "reporter": {**_TEXT_OR_NULL, "maxLength": 200},
            "comment": {**_TEXT_OR_NULL, "maxLength": 2000},
            "labeled_at": {"type": ["number", "string", "null"], "description": "Epoch seconds or ISO 8601."},
        },
    }
    receipt = {
        "type": "object",
        "properties": {
            "feedback_id": {"type": "string"},
            "status": {"enum": ["accepted", "duplicate", "correction"]},
        },
    }
    responses = _responses(202, "A receipt", receipt, 400, 404, 413, 422, 429, 503)
    return {"requestBody": _body(question), "responses": responses}


def ask_labels(schema: Schema) -> dict[str, Any]:
    """OpenAPI of one model's labelling queue."""
    number_or_null = {"type": ["number", "null"], "description": "Epoch seconds; null where it has matured."}
    texts = {"type": "array", "items": {"enum": list(schema.label.class_texts)}}
    item = {
        "type": "object",
        "properties": {
            "prediction_id": {"type": "string"},
            "asked_at": {"type": "number"},
            "counts_until": number_or_null,
            "features": _features(schema),
            "answers": {**texts, "description": "In class order: who said what is no help to the truth."},
            "said": {"type": "object", "additionalProperties": {"type": "string"}, "description": "By version."},
        },
    }
    queue = {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "classes": texts,
            "champion": {"type": ["integer", "null"]},
            "waiting": {"type": "integer", "description": "Unlabelled disagreements that still count as evidence."},
            "examined": {"type": "integer", "description": "Questions looked through."},
            "items": {"type": "array", "items": item},
        },
    }
    return {"responses": _responses(200, "Unlabelled disagreements, the most deciding first", queue, 422, 503)}


def approvals() -> dict[str, Any]:
    """OpenAPI of one model's route for a person's answers to requests of the gate."""
    line = "Line of the ledger by which it asked, where that was read; else whichever asks now."
    answer = {
        "type": "object",
        "required": ["version", "person", "reason"],
        "additionalProperties": False,
        "properties": {
            "version": {"type": "integer", "minimum": 1, "description": "The one that asks."},
            "person": {"type": "string", "minLength": 1, "maxLength": 80, "description": "For the ledger."},
            "reason": {"type": "string", "minLength": 1, "maxLength": 1000, "description": "For the ledger."},
            "refuse": {"type": "boolean", "default": False},
            "asked": {"type": ["integer", "null"], "description": line},
        },
    }
    properties = {"approval_id": {"type": "string"}, "status": {"const": "taken"}}
    receipt = {"type": "object", "properties": properties}
    taken = _responses(202, "Taken; a flow carries it out", receipt, 400, 403, 404, 409, 413, 415, 422, 503)
    return {"requestBody": _body(answer), "responses": taken}


def _features(schema: Schema) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {feature.name: _feature(feature) for feature in schema.features},
        "required": [feature.name for feature in schema.features if not feature.optional],
        "additionalProperties": False,
    }


def _feature(feature: Feature) -> dict[str, Any]:
    kind = _TYPES[feature.type]
    typed: dict[str, Any] = {"type": [kind, "null"] if feature.optional else kind}
    return {**typed, "minLength": 1} if feature.is_category else typed


def _answer(name: str, schema: Schema) -> dict[str, Any]:
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    if schema.label.is_regression:
        answered: dict[str, Any] = {"label": {"type": "number"}, "value": {"type": "number"}}
    else:
        probabilities = {"type": "object", "properties": dict.fromkeys(schema.label.class_texts, probability)}
        answered = {"label": {"enum": list(schema.label.classes)}, "probabilities": probabilities}
    where = {"model": {"const": name}, "version": {"type": "integer"}, "revision": {"type": "integer"}}
    identity = {"prediction_id": {**_TEXT_OR_NULL, "description": "Null when Redis did not take the prediction."}}
    return {"type": "object", "properties": {**identity, **answered, **where}}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _responses(status: int, description: str, schema: dict[str, Any], *errors: int) -> dict[str, Any]:
    good = {str(status): {"description": description, "content": {"application/json": {"schema": schema}}}}
    bad = {
        str(error): {"description": _REASONS[error], "content": {"application/json": {"schema": _ERROR}}}
        for error in errors
    }
    return {**good, **bad}
