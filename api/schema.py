"""How a model says what JSON Schema cannot: CEL rules and Kubernetes' extensions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

# Kubernetes' own formats of names. Python's, Rust's (pydantic) and Go's (the API
# server) regular expressions read them, so they keep to what those share.
DNS_LABEL = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_VALUE = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
LABEL_KEY = (
    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One CEL rule of a CRD (x-kubernetes-validations).

    A rule that mentions `oldSelf` is a transition rule: the API server evaluates
    it on updates only, and only where the field was set before and after.
    """

    rule: str
    """The CEL expression that must hold; `self` is the annotated value."""

    message: str
    """What would be right, for when `found` is absent or cannot be evaluated."""

    found: str = ""
    """A CEL expression for a message that also says what was found."""

    field_path: str = ""
    """The field to blame, relative to the annotated value, such as `.count`."""

    def as_schema(self) -> dict[str, str]:
        """Return the rule in the CRD's own words."""
        schema = {"rule": self.rule, "message": self.message}
        if self.found:
            schema["messageExpression"] = self.found
        if self.field_path:
            schema["fieldPath"] = self.field_path
        return schema


def rules(*rules: Rule, **extensions: Any) -> dict[str, Any]:
    """Return a `json_schema_extra` that carries CEL rules and other keywords."""
    return {
        "x-kubernetes-validations": [rule.as_schema() for rule in rules],
        **extensions,
    }


def list_map(*keys: str) -> dict[str, Any]:
    """Return a `json_schema_extra` for a list whose items are known by `keys`.

    Several appliers can then own an item each.
    """
    return {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": list(keys),
    }


@dataclass(frozen=True, slots=True)
class Matching:
    """An annotation of text: it must match a pattern, here and in the CRD.

    JSON Schema's own `pattern` would do, but its message is the pattern. This
    says in words what would be right, and what was found.
    """

    pattern: str
    right: str
    """What would be right, as the end of a sentence that starts with "must"."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        rule = Rule(
            f"self.matches(r'{self.pattern}')",
            f"must {self.right}",
            found=f"'must {self.right}; found ' + self",
        )
        return {**handler(schema), **rules(rule)}

    def _check(self, value: str) -> str:
        if re.fullmatch(self.pattern.removesuffix("$"), value) is None:
            raise PydanticCustomError("matching", "must {right}", {"right": self.right})
        return value


LIST_SET: Mapping[str, Any] = {"x-kubernetes-list-type": "set"}
"""A list that holds no value twice."""

PRESERVE_UNKNOWN: Mapping[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
"""An object whose fields belong to another API and are kept as they are."""

Int32 = Annotated[int, Field(json_schema_extra={"format": "int32"})]
Int64 = Annotated[int, Field(json_schema_extra={"format": "int64"})]

_QUANTITY = (
    "^([+-]?([0-9]+([.][0-9]*)?|[.][0-9]+))"
    "(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)))?$"
)


def _as_text(value: Any) -> Any:
    return str(value) if type(value) is int else value


Quantity = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(json_schema_extra={"pattern": _QUANTITY, "x-kubernetes-int-or-string": True}),
]
"""An amount of a resource in Kubernetes' notation: "1", "512Mi", "0.5".

A whole number may also be written without quotes; in Python it is text.
"""
