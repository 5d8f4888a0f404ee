"""Errors of any origin as OpenAI's error bodies."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from pykaito.runtime.hf.chat_schema import GenerateKwargs
from pykaito.runtime.hf.errors import (
    SHOWN,
    ApiError,
    InvalidRequestError,
    nearest,
    shown,
)
from pykaito.runtime.hf.gate import error_response
from pykaito.runtime.hf.openai_schema import (
    UNSUPPORTED,
    ChatCompletionBody,
    CompletionBody,
)

log = logging.getLogger(__name__)


def install_error_handlers(app: FastAPI) -> None:
    """Make every reply other than 200 carry an error body."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


async def _api_error(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, ApiError)  # noqa: S101 - as it was registered
    return error_response(error)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as it was registered
    return error_response(explain(error.errors(), request.headers))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - as it was registered
    cause = error.__cause__
    if error.status_code == HTTPStatus.BAD_REQUEST and cause is not None:
        # Not the grammar but what it says: bytes, depth or digits beyond reading.
        wrong = InvalidRequestError(
            f"the request's body is not JSON that can be read: {cause}",
            code="invalid_json",
        )
        return error_response(wrong)
    message = f"{request.method} {request.url.path}: {error.detail}"
    body = InvalidRequestError(message).body()
    return JSONResponse(body, error.status_code, headers=error.headers)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(ApiError("the server failed on this request; see its log"))


def explain(
    errors: Sequence[Mapping[str, Any]], headers: Mapping[str, str]
) -> InvalidRequestError:
    """Turn what pydantic found into one error about one field."""
    first = errors[0]
    path = [str(part) for part in first["loc"][1:]]
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", first["msg"])
        at = first["loc"][-1]
        return InvalidRequestError(
            f"the request's body is not JSON: {reason} at character {at}",
            code="invalid_json",
        )
    if not path:
        kind = headers.get("content-type", "none")
        hint = "" if "json" in kind else f", sent as application/json (found {kind})"
        return InvalidRequestError(f"the request's body must be a JSON object{hint}")
    if first["type"] == "extra_forbidden":
        return _unknown_field(path)
    field = _field(path)
    if first["type"] == "missing":
        return InvalidRequestError(f"{field}: required, found nothing", param=field)
    # A union reports an error per alternative, each under its own name.
    alternatives = [one for one in errors if str(one["loc"][1]) == path[0]]
    wishes = dict.fromkeys(_wish(str(one["msg"])) for one in alternatives)
    return InvalidRequestError(
        f"{field}: found {shown(first['input'])}, {' or '.join(wishes)}", param=field
    )


def _wish(message: str) -> str:
    for prefix in ("Input should be ", "Value error, must be "):
        if message.startswith(prefix):
            return f"must be {message.removeprefix(prefix)}"
    return message.removeprefix("Value error, ")


def _field(path: Iterable[str]) -> str:
    """Join a path, less the names of a union's alternatives."""
    return ".".join(
        part
        for part in path
        if part.isdigit() or part.isidentifier()
        if part not in {"str", "int"}
    )


def _unknown_field(path: Sequence[str]) -> InvalidRequestError:
    name = path[-1] if len(path[-1]) <= SHOWN else f"{path[-1][:SHOWN]}…"
    name = name or '""'
    # As it was sent, whatever `_field` would make of it.
    field = ".".join([*filter(None, [_field(path[:-1])]), name])
    if len(path) == 1 and name in UNSUPPORTED:
        return InvalidRequestError(
            f"{field}: not supported, {UNSUPPORTED[name]}", param=field
        )
    if path[0] == "generate_kwargs":
        known = set(GenerateKwargs.model_fields)
    else:
        known = {*ChatCompletionBody.model_fields, *CompletionBody.model_fields}
    return InvalidRequestError(
        f"{field}: unknown field{nearest(name, known)}",
        param=field,
        code="unknown_parameter",
    )
