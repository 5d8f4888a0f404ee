"""Fields of which an object takes one, where somebody chose another: pure.

A volume has one source, a probe one way to ask, a variable a value or a place it is
from. Who puts another in place of ours removes ours, and nobody owns what is not there:
an apply puts it back beside theirs, and the API server refuses both together.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from pykaito.operator.errors import FieldConflict
from pykaito.operator.objects import Object

_HANDLERS = frozenset({"exec", "grpc", "httpGet", "sleep", "tcpSocket"})
_HANDLED = (
    ("startupProbe",),
    ("readinessProbe",),
    ("livenessProbe",),
    ("lifecycle", "preStop"),
    ("lifecycle", "postStart"),
)
_ORIGINS = frozenset({"value", "valueFrom"})

#: The keys of `managedFields`: `f:` and a field, or `k:` and what names an item.
Steps = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    """A place where one of several fields may be."""

    at: Steps
    ours: AbstractSet[str]
    theirs: AbstractSet[str]


def replaced(wanted: Object, live: Object, manager: str) -> tuple[FieldConflict, ...]:
    """Return the wanted fields that others have put another in place of.

    Args:
        wanted: as it is to be applied.
        live: as the API server has it, with its managed fields.
        manager: who applies; what it chose itself before, it may change.
    """
    return tuple(
        FieldConflict(
            field=_path((*choice.at, f"f:{field}")), manager=owner, message=""
        )
        for choice in _choices(_pod(wanted), _pod(live))
        if choice.ours and choice.theirs and not choice.ours & choice.theirs
        if (owner := _owner(live, choice)) != manager
        for field in sorted(choice.ours)
    )


def _choices(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[_Choice]:
    root = ("f:spec", "f:template", "f:spec")
    for at, ours, theirs in _both(root, wanted, live, "volumes"):
        yield _Choice(at, ours.keys() - {"name"}, theirs.keys() - {"name"})
    for kind in ("initContainers", "containers"):
        for at, ours, theirs in _both(root, wanted, live, kind):
            yield from _of_container(at, ours, theirs)


def _of_container(
    at: Steps, wanted: Mapping[str, Any], live: Mapping[str, Any]
) -> Iterator[_Choice]:
    for place, ours, theirs in _both(at, wanted, live, "env"):
        yield _Choice(place, ours.keys() & _ORIGINS, theirs.keys() & _ORIGINS)
    for path in _HANDLED:
        yield _Choice(
            (*at, *(f"f:{field}" for field in path)),
            _at(wanted, path).keys() & _HANDLERS,
            _at(live, path).keys() & _HANDLERS,
        )


def _both(
    at: Steps, wanted: Mapping[str, Any], live: Mapping[str, Any], field: str
) -> Iterator[tuple[Steps, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield the items of a list that both have, by their names."""
    theirs = {item["name"]: item for item in live.get(field) or ()}
    items = wanted.get(field)
    # What is refused may have any shape.
    for item in items if isinstance(items, list | tuple) else ():
        name = item.get("name") if isinstance(item, Mapping) else None
        if isinstance(name, str) and name in theirs:
            step = json.dumps({"name": name}, separators=(",", ":"))
            yield (*at, f"f:{field}", f"k:{step}"), item, theirs[name]


def _at(node: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    for field in path:
        found = node.get(field)
        node = found if isinstance(found, Mapping) else {}
    return node


def _owner(live: Object, choice: _Choice) -> str:
    """Return who chose what is there, empty if it is not told."""
    for entry in live["metadata"].get("managedFields") or ():
        fields = entry.get("fieldsV1") or {}
        if any(_has(fields, (*choice.at, f"f:{field}")) for field in choice.theirs):
            return str(entry.get("manager", ""))
    return ""


def _has(fields: Mapping[str, Any], steps: Sequence[str]) -> bool:
    for step in steps:
        if step not in fields:
            return False
        fields = fields[step]
    return True


def _path(steps: Steps) -> str:
    """Return the path of a field as conflicts have it."""
    return "".join(
        f".{step[2:]}"
        if step.startswith("f:")
        else f"[name={json.dumps(json.loads(step[2:])['name'])}]"
        for step in steps
    )


def _pod(obj: Object) -> Mapping[str, Any]:
    template: Mapping[str, Any] = (obj.get("spec") or {}).get("template") or {}
    return template.get("spec") or {}
