"""How a model says what JSON Schema cannot: CEL rules and Kubernetes' extensions."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from string import ascii_lowercase, ascii_uppercase
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


Twin = Callable[..., Any]
"""A CEL expression in Python: of `self`, and of `oldSelf` in a transition rule.

Both are raw values, of the shape that the schema asks for and with its defaults.
"""

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One CEL rule of a CRD (x-kubernetes-validations), and the same in Python.

    The API server evaluates CEL; webhook, reconcilers and command line evaluate
    the twins, so that they refuse the same with the same words.

    A rule that mentions `oldSelf` is a transition rule: it is evaluated on updates
    only, and only where the field was set before and after.
    """

    rule: str
    """The CEL expression that must hold; `self` is the annotated value."""

    holds: Twin = field(compare=False)
    """The twin of `rule`."""

    message: str
    """What would be right, for when `found` is absent or cannot be evaluated."""

    found: str = ""
    """A CEL expression for a message that also says what was found."""

    says: Twin | None = field(default=None, compare=False)
    """The twin of `found`, given with it."""

    field_path: str = ""
    """The field to blame, relative to the annotated value, such as `.count`."""

    def __post_init__(self) -> None:
        if bool(self.found) != (self.says is not None):
            raise TypeError(f"{self.message}: found and says come together")
        _RULES[frozenset(self.as_schema().items())] = self

    @property
    def is_transition(self) -> bool:
        """Whether it compares the value with what it was."""
        return "oldSelf" in self.rule

    def sentence(self, *selves: Any) -> str:
        """Return what the API server says of a value for which it does not hold."""
        said = self.says(*selves).strip() if self.says else ""
        # It takes no message of several lines from an expression.
        return self.message if not said or "\n" in said else said

    def as_schema(self) -> dict[str, str]:
        """Return the rule in the CRD's own words."""
        words = {
            "fieldPath": self.field_path,
            "message": self.message,
            "messageExpression": self.found,
            "rule": self.rule,
        }
        return {keyword: word for keyword, word in words.items() if word}


_RULES: dict[frozenset[tuple[str, str]], Rule] = {}
"""Every rule that was made, by its words."""


def find_rule(words: Mapping[str, str]) -> Rule:
    """Return the rule that `as_schema` gives these words.

    Raises:
        LookupError: no imported module has it.
    """
    if rule := _RULES.get(frozenset(words.items())):
        return rule
    raise LookupError(f"no model has the rule {words['rule']!r}; run `make generate`")


def rules(*rules: Rule, **extensions: Any) -> Callable[[dict[str, Any]], None]:
    """Return a `json_schema_extra` that carries CEL rules and other keywords."""

    def extend(schema: dict[str, Any]) -> None:
        schema.update(extensions)
        schema[VALIDATIONS] = list(rules)

    return extend


def matches(pattern: str, value: str) -> bool:
    """Whether a pattern of a whole text, from ^ to $, matches in Go as here."""
    return re.fullmatch(pattern.removesuffix("$"), value) is not None


def lower_ascii(text: str) -> str:
    """Return a text as CEL's lowerAscii does, which leaves other letters alone."""
    return text.translate(_LOWER)


_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def list_map(*keys: str) -> dict[str, Any]:
    """Return a `json_schema_extra` for a list whose items are known by `keys`.

    Several appliers can then own an item each.
    """
    return {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": list(keys),
    }


class Matching:
    """An annotation of text: it must match a pattern, here and in the CRD.

    JSON Schema's own `pattern` would do, but its message is the pattern. This
    says in words what would be right, and what was found.

    Args:
        pattern: of the whole text, from ^ to $.
        right: what would be right, as the end of a sentence that starts with "must".
    """

    def __init__(self, pattern: str, right: str) -> None:
        self._pattern = pattern
        self._right = right
        self._rule = Rule(
            rule=f"self.matches(r'{pattern}')",
            holds=lambda value: matches(pattern, value),
            message=f"must {right}",
            found=f"'must {right}; found ' + self",
            says=lambda value: f"must {right}; found {value}",
        )

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), VALIDATIONS: [self._rule]}

    def _check(self, value: str) -> str:
        if not matches(self._pattern, value):
            right = {"right": self._right}
            raise PydanticCustomError("matching", "must {right}", right)
        return value


PRESERVE = "x-kubernetes-preserve-unknown-fields"

LIST_SET: Mapping[str, Any] = {"x-kubernetes-list-type": "set"}
"""A list that holds no value twice."""

PRESERVE_UNKNOWN: Mapping[str, Any] = {PRESERVE: True}
"""An object whose fields belong to another API and are kept as they are."""

# The API server takes a format for an integer and does not check its range.
Int32 = Annotated[int, Field(le=2**31 - 1, json_schema_extra={"format": "int32"})]
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
