"""The tables of docs/, those of api.md from the same schemas as the CRDs.

A page is written by hand; a table stands between a line
`<!-- generated: TITLE -->` and the next `<!-- end -->`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hack.generate import presets
from hack.generate.described import described_schema
from hack.generate.markdown import table
from pykaito.api.definitions import DEFINITIONS, Definition
from pykaito.api.schema import VALIDATIONS

_SECTION = re.compile(
    r"(<!-- generated: (?P<title>.+?) -->\n).*?(<!-- end -->)", re.DOTALL
)

_CONDITION = ".conditions[]."  # known from everywhere else in Kubernetes
_FEW = 6  # values of an enum that a cell of a table can name


class Field(NamedTuple):
    """One field of a kind, by its path, and its schema."""

    path: str
    schema: Mapping[str, Any]
    required: bool


def fill(page: str) -> str:
    """Return the page with every table brought up to date.

    Raises:
        KeyError: the page asks for a table that there is not.
    """
    tables = _tables()
    return _SECTION.sub(
        lambda match: f"{match[1]}{tables[match['title']]}{match[3]}", page
    )


def fields(
    schema: Mapping[str, Any], path: str = "", *, required: bool = False
) -> Iterator[Field]:
    """Walk a schema, parents first: a.b for fields, [] for items, {} for values."""
    yield Field(path, schema, required)
    wanted = schema.get("required", ())
    for name, child in schema.get("properties", {}).items():
        inner = f"{path}.{name}".removeprefix(".")
        yield from fields(child, inner, required=name in wanted)
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from fields(schema["additionalProperties"], f"{path}{{}}")


def _tables() -> dict[str, str]:
    tables = presets.tables()
    for definition in DEFINITIONS:
        storage = next(version for version in definition.versions if version.storage)
        walked = list(fields(described_schema(storage.model)))
        tables[f"{definition.kind} fields"] = _fields_table(walked)
        tables[f"{definition.kind} rules"] = _rules_table(walked)
        tables[f"{definition.kind} columns"] = _columns_table(definition)
    return tables


def _fields_table(walked: list[Field]) -> str:
    rows = [
        (
            f"`{field.path}`",
            _type(field.schema) + (", required" if field.required else ""),
            _default(field.schema),
            field.schema["description"],
        )
        for field in walked
        if field.path and "description" in field.schema and _CONDITION not in field.path
        # An item or value repeats what its list or map says of it.
        if not field.path.endswith(("[]", "{}"))
    ]
    return table(("Field", "Type", "Default", "Meaning"), rows)


def _rules_table(walked: list[Field]) -> str:
    rows = [
        (
            f"`{(field.path + rule.field_path).removeprefix('.')}`",
            "update" if rule.is_transition else "always",
            rule.message,
        )
        for field in walked
        for rule in field.schema.get(VALIDATIONS, ())
    ]
    return table(("Field", "When", "Rule"), rows)


def _columns_table(definition: Definition) -> str:
    rows = [
        (
            column.name.upper(),
            f"`{column.path}`",
            "`-o wide`" if column.wide else "always",
            ", ".join(
                version.name
                for version in definition.versions
                if column in version.columns
            ),
        )
        for column in max((version.columns for version in definition.versions), key=len)
    ]
    return table(("Column", "Path", "Shown", "Versions"), rows)


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        values = schema["enum"]
        if len(values) > _FEW:
            return f"one of {len(values)} names"
        return " or ".join(values)
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map to {_type(schema['additionalProperties'])}"
    if "x-kubernetes-int-or-string" in schema:
        return "quantity"
    return str(schema["type"])


def _default(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    return "" if default is None or isinstance(default, Mapping) else f"`{default}`"
