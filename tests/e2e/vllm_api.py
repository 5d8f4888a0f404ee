"""The part of vLLM's API that a Workspace promises, so that a test can ask it all.

vLLM has more endpoints: of other products (``/v1/messages``, ``/v1/responses``,
``/invocations``), and of its own operation. The ones here are those of the docs.
"""

import json
import re
from typing import Any

PROMISED = (
    "/health",
    "/health/active",
    "/v1/models",
    "/v1/completions",
    "/v1/chat/completions",
    "/tokenize",
    "/detokenize",
)

_TEXT = {"type": "string", "minLength": 1, "maxLength": 40}
_TOKEN = {"type": "integer", "minimum": 0, "maximum": 2000}
_TOKENS = {"type": "array", "items": _TOKEN, "minItems": 1, "maxItems": 20}
_NULL = {"type": "null"}
_MESSAGE = {
    "type": "object",
    "properties": {"role": {"enum": ["system", "user", "assistant"]}, "content": _TEXT},
    "required": ["role", "content"],
}

#: Fields that nearly never are right by chance: without these no request would come
#: as far as the engine. And answers are to be short.
_RIGHT: dict[str, dict[str, Any]] = {
    "messages": {"type": "array", "items": _MESSAGE, "minItems": 1, "maxItems": 3},
    "prompt": {
        "anyOf": [
            _TEXT,
            _TOKENS,
            {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 3},
        ]
    },
    "max_tokens": {"type": "integer", "minimum": 1, "maximum": 4},
    "allowed_token_ids": {"anyOf": [_TOKENS, _NULL]},
    "stop": {"anyOf": [_TEXT, _NULL]},
    "truncate_prompt_tokens": {
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": 100}, _NULL]
    },
    "n": {"type": "integer", "minimum": 1, "maximum": 3},
}
#: What a server of such a model refuses whatever it is.
_REFUSED = (
    *("tools", "tool_choice", "prompt_embeds", "chat_template", "media_io_kwargs"),
    *("mm_processor_kwargs", "max_completion_tokens"),
)


def promised(schema: dict[str, Any], model: str) -> dict[str, Any]:
    """Return the description of the endpoints that are promised.

    Args:
        schema: as the server gives it.
        model: that requests are to name.
    """
    right = {**_RIGHT, "model": {"const": model}}
    for name in ("ChatCompletionRequest", "CompletionRequest"):
        body = schema["components"]["schemas"][name]
        fields = {
            field: right.get(field, described)
            for field, described in body["properties"].items()
            if field not in _REFUSED
        }
        wanted = {"model", "messages", "prompt", "max_tokens"}
        body |= {"properties": fields, "required": sorted(wanted & fields.keys())}
    for path in PROMISED:
        for operation in schema["paths"][path].values():
            bad = operation["responses"].get("400")
            if bad is not None:
                # Bytes that are no JSON get the framework's own words instead.
                described = bad["content"]["application/json"]
                told = {"required": ["detail"]}
                described["schema"] = {"anyOf": [described["schema"], told]}
    return {**schema, "paths": {path: schema["paths"][path] for path in PROMISED}}


def comparable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return all endpoints, and the models of those that are promised.

    FastAPI names models of the same name one way or the other, process by process;
    those of ``/v1/responses`` have such.
    """
    models: dict[str, Any] = schema["components"]["schemas"]
    left = _names([schema["paths"][path] for path in PROMISED])
    found: dict[str, Any] = {}
    while left:
        name = left.pop()
        found[name] = models[name]
        left |= _names(models[name]) - found.keys()
    return {"info": schema["info"], "paths": schema["paths"], "models": found}


def _names(described: Any) -> set[str]:
    return set(re.findall(r"#/components/schemas/([^\"]+)", json.dumps(described)))
