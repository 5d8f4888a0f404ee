"""The structural schema of each kind, as `make generate` wrote it down.

Reading one takes a millisecond, making one takes pydantic many: a command that asks
no cluster would wait for it longer than for all else that it does.
"""

import json
from importlib.resources import files
from typing import Any

from pykaito.api.schema import VALIDATIONS, find_rule


def file_name(kind: str) -> str:
    """Return the name of a kind's file in this folder."""
    return f"{kind.lower()}.json"


def read_schema(kind: str) -> dict[str, Any]:
    """Return the schema of a kind, whose model has been imported, with its rules.

    It is what `structural_schema` makes of the model.

    Raises:
        FileNotFoundError: there is no such kind.
        LookupError: the model has changed since, and lacks a rule.
    """
    text = files(__package__).joinpath(file_name(kind)).read_text("utf-8")
    schema: dict[str, Any] = json.loads(text, object_hook=_with_rules)
    return schema


def _with_rules(value: dict[str, Any]) -> dict[str, Any]:
    if VALIDATIONS in value:
        value[VALIDATIONS] = [find_rule(words) for words in value[VALIDATIONS]]
    return value
