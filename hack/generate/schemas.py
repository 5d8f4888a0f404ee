"""The schemas that are read where making them would take too long (api/schemas)."""

import json
from typing import Any

from pykaito.api.definitions import Definition
from pykaito.api.schema import Rule
from pykaito.api.structural import structural_schema


def to_json(definition: Definition) -> str:
    """Return the schema of a definition, which all of its versions share."""
    schema = structural_schema(definition.versions[-1].model)
    return json.dumps(in_words(schema), ensure_ascii=False, indent=1) + "\n"


def in_words(schema: Any) -> Any:
    """Return a schema with its rules in the CRD's own words."""
    if isinstance(schema, Rule):
        return schema.as_schema()
    if isinstance(schema, dict):
        return {name: in_words(value) for name, value in schema.items()}
    if isinstance(schema, list):
        return [in_words(value) for value in schema]
    return schema
