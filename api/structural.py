"""From pydantic's JSON Schema to a structural schema, the form that a CRD takes.

pydantic writes references, titles and nullable unions; the API server accepts
none of them. kube-custom-resource 0.7.2 does a similar translation and was not
taken: its models must derive from its own base classes, it knows no CEL rules on
a field whose type is shared, and what it needs beyond this file (a registry and
a metaclass) decides how an API is laid out.

A keyword that is not known here is an error, so that nothing a model asks for
is silently left unenforced.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from pykaito.api.schema import PRESERVE, VALIDATIONS

_KEPT = frozenset({
    "type", "format", "enum", "pattern", "minimum", "maximum", "minLength",
    "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
    "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type", "x-kubernetes-map-type", PRESERVE, VALIDATIONS,
})  # fmt: skip
_TRANSLATED = frozenset({
    "title", "description", "default", "const", "required", "properties", "items",
    "additionalProperties",
})  # fmt: skip
_EMPTY: tuple[Any, ...] = (None, "", 0, [], {})


class UnsupportedSchemaError(Exception):
    """A model uses a JSON Schema keyword that a CRD cannot hold."""


def structural_schema(
    model: type[BaseModel],
    generator: type[GenerateJsonSchema] = GenerateJsonSchema,
) -> dict[str, Any]:
    """Return the schema of a kind, `model`, with its rules as `Rule`.

    Its apiVersion and kind are left out, as every kind has them. Of metadata a
    CRD can restrict the name alone, so that is what is kept.
    """
    schema = model.model_json_schema(schema_generator=generator, mode="validation")
    definitions = schema.pop("$defs", {})
    translated = _translate(schema, definitions, path=model.__name__)
    fields = translated["properties"]
    name = fields.pop("metadata")["properties"]["name"]
    del fields["apiVersion"], fields["kind"]
    translated["required"].remove("metadata")  # no object is without
    if name != {"type": "string"}:
        metadata = {"type": "object", "properties": {"name": name}}
        translated["properties"] = {"metadata": metadata, **fields}
    return translated


def _translate(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], *, path: str
) -> dict[str, Any]:
    """Return `schema` with references inlined and only keywords a CRD can hold."""
    schema = _resolve(schema, definitions)
    if unknown := sorted(schema.keys() - _KEPT - _TRANSLATED):
        raise UnsupportedSchemaError(f"{path}: {', '.join(unknown)}: not for a CRD")
    result: dict[str, Any] = {}
    if "description" in schema:
        result["description"] = " ".join(schema["description"].split())
    result |= {name: value for name, value in schema.items() if name in _KEPT}
    if "const" in schema:
        result["enum"] = [schema["const"]]
    if (default := _without_empty(schema.get("default"))) not in _EMPTY:
        result["default"] = default
    if required := schema.get("required"):
        result["required"] = required
    if "properties" in schema:
        result["properties"] = {
            name: _translate(field, definitions, path=f"{path}.{name}")
            for name, field in schema["properties"].items()
        }
    if "items" in schema:
        result["items"] = _translate(schema["items"], definitions, path=f"{path}[]")
    values = schema.get("additionalProperties")
    if isinstance(values, Mapping):
        result["additionalProperties"] = _translate(
            values, definitions, path=f"{path}{{}}"
        )
    elif values and PRESERVE not in schema:
        raise UnsupportedSchemaError(f"{path}: a map of anything: PRESERVE_UNKNOWN?")
    return result


def _resolve(
    schema: Mapping[str, Any], definitions: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge a schema with what it refers to, the nearer one winning.

    CEL rules of both are kept: the type's own, then those of the field.
    """
    near = dict(schema)
    if "x-kubernetes-int-or-string" in near:
        near.pop("type", None)  # the extension says it
        return near
    if "$ref" in near:
        far = definitions[near.pop("$ref").removeprefix("#/$defs/")]
    elif "anyOf" in near:
        # The API server drops a null where a value is optional, so that a field
        # of X or None is, to a CRD, an optional X.
        options = [option for option in near["anyOf"] if option != {"type": "null"}]
        if len(options) != 1:
            return near  # a real union: refused as an unknown keyword
        del near["anyOf"]
        (far,) = options
    else:
        return near
    far = _resolve(far, definitions)
    merged = {**far, **near}
    if both := [*far.get(VALIDATIONS, ()), *near.get(VALIDATIONS, ())]:
        merged[VALIDATIONS] = both
    return merged


def _without_empty(value: Any) -> Any:
    """Drop from a default what only says that a field is absent."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: item for name, item in value.items() if _without_empty(item) not in _EMPTY
    }
