"""What the API server finds wrong with a value: the schema of a CRD, and its rules.

The sentences are its own, word for word, so that nobody need tell who refused:
those of k8s.io/kube-openapi/pkg/validation for the schema, those of the rules for
the rest. It evaluates no rule at all on an object with certain faults. Here each
rule is evaluated whose own value has none of them, so that all faults are told at
once; whether there is any is the same.

On an update it lets stand what was wrong before and is unchanged (ratcheting).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pykaito.api.schema import VALIDATIONS, Rule
from pykaito.api.violation import Violation

Schema = Mapping[str, Any]

ABSENT: Final = object()
"""The old value of what is new, or cannot be told apart from its neighbours."""

KEYWORDS = frozenset({
    "type", "format", "enum", "pattern", "minimum", "maximum", "minLength",
    "maxLength", "maxItems", "maxProperties", "required", "properties", "items",
    "additionalProperties", "description", "default", "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields", VALIDATIONS,
})  # fmt: skip
"""All that a schema may say for its values to be checked wholly."""

_INT64 = 2**63


def check(schema: Schema, value: Any, old: Any = ABSENT) -> list[Violation]:
    """Return all faults of a value.

    Args:
        schema: structural, with its rules as `Rule`.
        value: as the API server reads it, with defaults.
        old: what it replaces, with defaults, for transition rules.
    """
    return _check(schema, value, old, _Path("", "")).found


class _Path(NamedTuple):
    """Where a value is: a value of a map is written a.b by schemas, a[b] by rules."""

    by_schema: str
    by_rules: str

    def field(self, name: str) -> "_Path":
        return _Path(_below(self.by_schema, name), _below(self.by_rules, name))

    def value(self, key: str) -> "_Path":
        return _Path(_below(self.by_schema, key), f"{self.by_rules}[{key}]")

    def item(self, number: int) -> "_Path":
        return _Path(f"{self.by_schema}[{number}]", f"{self.by_rules}[{number}]")


class _Child(NamedTuple):
    schema: Schema
    value: Any
    old: Any
    path: _Path


@dataclass(slots=True)
class _Outcome:
    found: list[Violation] = field(default_factory=list)
    #: Whether rules can read the value. A fault that leaves it readable, such as
    #: a number that is too small, does not keep rules from being evaluated.
    readable: bool = True


def _check(schema: Schema, value: Any, old: Any, path: _Path) -> _Outcome:
    where = path.by_schema
    if wrong := _type_fault(schema, value, where):
        return _Outcome([Violation(where, wrong)], readable=False)
    outcome = _Outcome(
        [Violation(where, fault) for fault in _unreadable(schema, value)]
    )
    outcome.readable = not outcome.found
    outcome.found += [
        Violation(where, f"Invalid value: {_shown(value)}: {where} in body {fault}")
        for fault in _range_faults(schema, value)
    ]
    if isinstance(value, Mapping):
        for name in schema.get("required", ()):
            if name not in value:
                missing = path.field(name).by_schema
                outcome.found.append(Violation(missing, "Required value"))
                outcome.readable = False
    if isinstance(value, Sequence):
        outcome.found += _duplicates(schema, value, path)
    for child in _children(schema, value, old, path):
        below = _check(*child)
        outcome.found += below.found
        outcome.readable &= below.readable
    if outcome.readable:
        outcome.found += _broken_rules(schema, value, old, path.by_rules)
    if outcome.found and _same(value, old):
        outcome.found.clear()
    return outcome


def _type_fault(schema: Schema, value: Any, path: str) -> str:
    wanted = (
        ("integer", "string")
        if "x-kubernetes-int-or-string" in schema
        else (schema["type"],)
    )
    found = _type(value)
    whole = isinstance(value, float) and value.is_integer()
    if found in wanted or (whole and wanted == ("integer",)):
        return ""
    return (
        f'Invalid value: "{found}": {path} in body must be of type '
        f'{",".join(wanted)}: "{found}"'
    )


def _type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer" if -_INT64 <= value < _INT64 else "number"
        case float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case _:
            return "array"


def _unreadable(schema: Schema, value: Any) -> Iterator[str]:
    """Yield the faults, beside the type, with which no rule is evaluated."""
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(map(_shown, schema["enum"]))
        yield f"Unsupported value: {_shown(value)}: supported values: {supported}"
    if isinstance(value, str):
        if len(value) > (most := schema.get("maxLength", len(value))):
            yield f"Too long: may not be more than {most} bytes"
    elif isinstance(value, Mapping | Sequence):
        keyword = "maxProperties" if isinstance(value, Mapping) else "maxItems"
        if len(value) > (most := schema.get(keyword, len(value))):
            yield f"Too many: {len(value)}: must have at most {most} items"


def _range_faults(schema: Schema, value: Any) -> Iterator[str]:
    if isinstance(value, int | float):
        if value < (least := schema.get("minimum", value)):
            yield f"should be greater than or equal to {least}"
        if value > (most := schema.get("maximum", value)):
            yield f"should be less than or equal to {most}"
    if isinstance(value, str):
        if len(value) < (least := schema.get("minLength", 0)):
            yield f"should be at least {least} chars long"
        pattern = schema.get("pattern", "")
        if not re.search(pattern.replace("$", r"\Z"), value):
            yield f"should match '{pattern}'"


def _duplicates(
    schema: Schema, items: Sequence[Any], path: _Path
) -> Iterator[Violation]:
    """Yield the items of a set, or of a map by keys, that came before: each once."""
    kind = schema.get("x-kubernetes-list-type")
    if kind not in {"set", "map"}:
        return
    seen: dict[str, int] = {}
    for number, item in enumerate(items):
        shown = _shown(_key(schema, item) if kind == "map" else item)
        seen[shown] = seen.get(shown, 0) + 1
        if seen[shown] == 2:  # noqa: PLR2004 - the first that is one too many
            yield Violation(path.item(number).by_schema, f"Duplicate value: {shown}")


def _key(schema: Schema, item: Any) -> Any:
    """Return what tells an item of a list of type map from its neighbours."""
    if not isinstance(item, Mapping):
        return item
    keys = schema["x-kubernetes-list-map-keys"]
    return {name: item[name] for name in sorted(keys) if name in item}


def _children(schema: Schema, value: Any, old: Any, path: _Path) -> Iterator[_Child]:
    if isinstance(value, Mapping):
        granular = schema.get("x-kubernetes-map-type") != "atomic"
        before = old if granular and isinstance(old, Mapping) else {}
        fields = schema.get("properties", {})
        values = schema.get("additionalProperties")
        for name, item in value.items():
            was = before.get(name, ABSENT)
            if name in fields:
                yield _Child(fields[name], item, was, path.field(name))
            elif values is not None:
                yield _Child(values, item, was, path.value(name))
    elif isinstance(value, list | tuple) and "items" in schema:
        known: dict[str, Any] = {}
        if schema.get("x-kubernetes-list-type") == "map" and old is not ABSENT:
            known = {_shown(_key(schema, item)): item for item in old}
        for number, item in enumerate(value):
            was = known.get(_shown(_key(schema, item)), ABSENT) if known else ABSENT
            yield _Child(schema["items"], item, was, path.item(number))


def _broken_rules(
    schema: Schema, value: Any, old: Any, path: str
) -> Iterator[Violation]:
    rules: Sequence[Rule] = schema.get(VALIDATIONS, ())
    for rule in rules:
        if rule.is_transition and not _can_compare(schema, old):
            continue
        selves = (value, old) if rule.is_transition else (value,)
        if not rule.holds(*selves):
            blamed = f"{path}{rule.field_path}".removeprefix(".")
            yield Violation(blamed, rule.sentence(*selves))


def _can_compare(schema: Schema, old: Any) -> bool:
    """Whether there is an old value that rules can read."""
    return old is not ABSENT and _check(schema, old, ABSENT, _Path("", "")).readable


def _same(value: Any, old: Any) -> bool:
    """Whether nothing changed; True is not 1 here, as it is not in JSON."""
    return old is not ABSENT and _shown(value) == _shown(old)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
