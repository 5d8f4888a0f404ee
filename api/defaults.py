"""What the API server makes of an object before it looks at it: nulls and defaults.

It leaves out a null where none is allowed, so that it counts as absent, and fills
in what is absent and has a default.
"""

import copy
from collections.abc import Mapping
from typing import Any


def with_defaults(schema: Mapping[str, Any], value: Any) -> Any:
    """Return a value as the API server stores it, but for unknown fields.

    What does not have the type that the schema asks for is left as it is.
    """
    if isinstance(value, Mapping):
        return _object(schema, value)
    if isinstance(value, list | tuple) and "items" in schema:
        return [with_defaults(schema["items"], item) for item in value]
    return value


def _object(schema: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    fields = schema.get("properties", {})
    values = schema.get("additionalProperties")
    result = {}
    for name, item in value.items():
        known = fields.get(name, values)
        if known is None:
            result[name] = item
        elif item is not None:
            result[name] = with_defaults(known, item)
    for name, field in fields.items():
        if "default" in field and name not in result:
            result[name] = with_defaults(field, copy.deepcopy(field["default"]))
    return result
