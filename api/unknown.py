"""Fields that the API does not have: nearly always a misspelling.

The models ignore them, so that they read objects of a newer CRD, and the API
server prunes them; `kubectl apply` asks it to refuse them.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pykaito.api.meta import ApiModel
from pykaito.api.schema import PRESERVE
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.api.validate import object_schema
from pykaito.api.violation import Violation

#: What every kind has of it, and what its author does not write.
_NOT_COMPARED = frozenset({"metadata", "status"})


def unknown_fields(
    obj: Mapping[str, Any], *, model: type[ApiModel] = Workspace
) -> Iterator[Violation]:
    """Yield the fields of a raw object that its kind does not have."""
    known = object_schema(model)
    written = {k: v for k, v in obj.items() if k not in _NOT_COMPARED}
    yield from _unknown(known, written, "")


def _unknown(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[Violation]:
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from _unknown(schema["items"], item, f"{path}[{number}]")
    fields = schema.get("properties")
    if not isinstance(value, Mapping) or fields is None or PRESERVE in schema:
        return
    for name, item in value.items():
        below = f"{path}.{name}" if path else str(name)
        if name in fields:
            yield from _unknown(fields[name], item, below)
        else:
            yield Violation(below, f"no such field; {_instead(str(name), fields)}")


def _instead(name: str, fields: Mapping[str, Any]) -> str:
    if near := difflib.get_close_matches(name, fields, n=1):
        return f"did you mean {near[0]}?"
    return "kubectl explain workspace --recursive lists the fields there are"
