"""What this runtime adds to the description that vLLM gives of its API."""

from collections.abc import Mapping
from typing import Any

from pykaito.runtime.vllm.rate_limit import PATHS, RETRY_AFTER

TITLE = "pykaito vLLM runtime"

ACTIVE_HEALTH = "/health/active"

#: vLLM's endpoints that change how many engines there are, or tell of it.
CLOSED = frozenset({"/scale_elastic_ep", "/is_scaling_elastic_ep"})

#: vLLM's own has a number for its code.
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"const": "requests"},
                "param": {"type": "null"},
                "code": {"const": "rate_limit_exceeded"},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}

_TOO_MANY = {
    "description": "Too many requests wait",
    "headers": {
        "Retry-After": {
            "description": "Seconds until another try makes sense.",
            "required": True,
            "schema": {"type": "integer", "const": RETRY_AFTER},
        }
    },
    "content": {"application/json": {"schema": _ERROR}},
}


def described(schema: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return vLLM's description with what this runtime adds, less what it closes.

    Args:
        schema: as vLLM makes it.
        version: of vLLM, which has the API that it has.
    """
    paths = {
        path: {method: _limited(path, one) for method, one in operations.items()}
        for path, operations in schema["paths"].items()
        if path not in CLOSED
    }
    active = {
        "summary": "Active Health",
        "description": "Say whether the engine generates, by a token.",
        "operationId": "active_health",
        "responses": {
            "200": _health("Healthy", "Tokens come"),
            "503": _health("Unhealthy", "No token came"),
        },
    }
    return {
        **schema,
        "info": {"title": TITLE, "version": version},
        "paths": {**paths, ACTIVE_HEALTH: {"get": active}},
    }


def _limited(path: str, operation: Mapping[str, Any]) -> Mapping[str, Any]:
    if path not in PATHS:
        return operation
    return {**operation, "responses": {**operation["responses"], "429": _TOO_MANY}}


def _health(status: str, description: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"status": {"const": status}, "reason": {"type": "string"}},
        "required": ["status", "reason"],
    }
    return {
        "description": description,
        "content": {"application/json": {"schema": schema}},
    }
