"""The description of the API at /openapi.json, true for every reply.

FastAPI makes it of the bodies and of what the endpoints say that they answer. What it
takes for granted and is not so here, a 422 above all, is put right afterwards.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import pykaito
from pykaito.runtime.hf.errors import (
    ApiError,
    BodyTimeoutError,
    BodyTooLargeError,
    EngineError,
    InvalidRequestError,
    NotReadyError,
    QueueFullError,
    RequestTimeoutError,
)
from pykaito.runtime.hf.reply_schema import (
    ChatCompletionChunk,
    CompletionChunk,
    ErrorReply,
)

#: The first version of OpenAPI that describes streams of events.
OPENAPI_VERSION = "3.2.0"

#: What may become of a request for tokens, whichever endpoint it is for.
OF_ANY_GENERATION: tuple[type[ApiError], ...] = (
    InvalidRequestError,
    BodyTimeoutError,
    BodyTooLargeError,
    QueueFullError,
    EngineError,
    NotReadyError,
    RequestTimeoutError,
)

Responses = dict[int | str, dict[str, Any]]

#: The bodies of events, which no endpoint returns as such.
_EVENTS = (ChatCompletionChunk, CompletionChunk)

_TEMPLATE = "#/components/schemas/{model}"
_INVENTED = ("HTTPValidationError", "ValidationError")

_RETRY_AFTER = {
    "description": "Seconds until another try makes sense.",
    "schema": {"type": "integer", "minimum": 1},
}


def replies(
    model: type[BaseModel],
    *errors: type[ApiError],
    events: type[BaseModel] | None = None,
) -> Responses:
    """Return what an endpoint says of its replies.

    Args:
        model: The body of a 200.
        errors: What it may answer otherwise.
        events: The data of an event, where the reply can be streamed.
    """
    good: dict[str, Any] = {"model": model, "description": _first_line(model)}
    if events is not None:
        good["content"] = {"text/event-stream": {"itemSchema": _event(events)}}
    ordered = sorted(errors, key=lambda error: error.status)
    return {200: good, **{error.status: _error(error) for error in ordered}}


def describe(app: FastAPI) -> None:
    """Have the application serve the description."""
    app.openapi_version = OPENAPI_VERSION
    app.version = pykaito.__version__

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _put_right(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    openapi_version=app.openapi_version,
                    description=app.description,
                    routes=app.routes,
                )
            )
        return app.openapi_schema

    # As FastAPI's documentation has it.
    app.openapi = openapi  # type: ignore[method-assign]


def _error(error: type[ApiError]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "model": ErrorReply,
        "description": _first_line(error),
    }
    if error in {QueueFullError, NotReadyError}:
        # A server that waits for its restart does not know when to come back.
        required = error is QueueFullError
        described["headers"] = {"Retry-After": {**_RETRY_AFTER, "required": required}}
    return described


def _event(model: type[BaseModel]) -> dict[str, Any]:
    bodies = [{"$ref": _TEMPLATE.format(model=m.__name__)} for m in (model, ErrorReply)]
    of_json = {
        "contentMediaType": "application/json",
        "contentSchema": {"anyOf": bodies},
    }
    data = [{"const": "[DONE]"}, {"type": "string", **of_json}]
    return {
        "type": "object",
        "properties": {"data": {"anyOf": data}},
        "required": ["data"],
        "description": "The data of the last event is [DONE].",
    }


def _put_right(schema: dict[str, Any]) -> dict[str, Any]:
    operations = (one for path in schema["paths"].values() for one in path.values())
    for operation in operations:
        # What is no valid body is answered 400.
        operation["responses"].pop("422", None)
    schemas = schema["components"]["schemas"]
    for name in _INVENTED:
        schemas.pop(name, None)
    modes = [(model, "serialization") for model in _EVENTS]
    _, found = models_json_schema(modes, ref_template=_TEMPLATE)  # type: ignore[arg-type]
    schemas |= found["$defs"]
    schema["components"]["schemas"] = dict(sorted(schemas.items()))
    plain: dict[str, Any] = _plain(schema)
    return plain


def _plain(value: Any) -> Any:
    """Return JSON with whole numbers as integers: FastAPI makes all limits floats."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _first_line(described: type) -> str:
    return (described.__doc__ or "").partition("\n")[0]
