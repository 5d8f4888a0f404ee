"""Who owns which field: server-side apply on an object taken apart into leaves.

An object is a dictionary of its leaves by path, written as the API server writes
them in conflicts. Ownership is a set of paths for each manager.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pykaito.operator.errors import ApplyConflictError

Leaves = dict[tuple[str, ...], Any]
Owners = dict[str, set[tuple[str, ...]]]

#: Lists whose items are known by these keys; other lists are one leaf.
LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    ".conditions": ("type",),
    ".containers": ("name",),
    ".initContainers": ("name",),
    ".volumes": ("name",),
    ".ports": ("containerPort", "port", "protocol"),
}
#: Lists of the same kind whose items are one leaf each.
ATOMIC_ITEMS: Mapping[str, tuple[str, ...]] = {".ownerReferences": ("uid",)}
SETS = (".finalizers",)
#: Objects that are one leaf.
ATOMIC = (".requiredDuringSchedulingIgnoredDuringExecution",)


def leaves(obj: Any, path: tuple[str, ...] = ()) -> Leaves:
    """Take an object apart."""
    return dict(_leaves(obj, path))


def _leaves(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    field = path[-1] if path else ""
    if isinstance(node, dict) and node and field not in ATOMIC:
        for key, value in node.items():
            yield from _leaves(value, (*path, f".{key}"))
    elif _is_list_of_maps(node) and field in LIST_KEYS:
        for item in node:
            step = _selector({k: item[k] for k in LIST_KEYS[field] if k in item})
            yield from _leaves(item, (*path, step))
    elif _is_list_of_maps(node) and field in ATOMIC_ITEMS:
        for item in node:
            yield (*path, _selector({k: item[k] for k in ATOMIC_ITEMS[field]})), item
    elif isinstance(node, list) and node and field in SETS:
        for item in node:
            yield (*path, f"[={json.dumps(item)}]"), item
    else:
        yield path, node


def _is_list_of_maps(node: Any) -> bool:
    """Whether its items can have keys; a foreign template may hold anything."""
    return (
        isinstance(node, list) and bool(node) and all(isinstance(i, dict) for i in node)
    )


def _selector(keys: Mapping[str, Any]) -> str:
    return f"[{','.join(f'{k}={json.dumps(v)}' for k, v in keys.items())}]"


class _Items(dict[str, Any]):
    """A list under construction, by selector."""


def assemble(parts: Leaves) -> dict[str, Any]:
    """Put an object together again."""
    root: dict[str, Any] = {}
    for path, value in parts.items():
        node: dict[str, Any] = root
        for step, following in itertools.pairwise(path):
            empty = _Items() if following.startswith("[") else {}
            found = node.get(step)
            if not isinstance(found, dict):
                found = node[step] = empty
            node = found
        node[path[-1]] = value
    return _built(root)


def _built(node: Any) -> Any:
    if isinstance(node, _Items):
        return [_built(item) for item in node.values()]
    if isinstance(node, dict) and all(key.startswith(".") for key in node):
        return {key[1:]: _built(value) for key, value in node.items()}
    return node


def apply(
    found: Leaves, owners: Owners, manager: str, wanted: Leaves, *, force: bool
) -> Leaves:
    """Return the leaves after an apply; the owners are changed in place."""
    # An empty object says nothing about what others put into it.
    wanted = {
        path: value
        for path, value in wanted.items()
        if value != {} or not any(p[: len(path)] == path for p in found if p != path)
    }
    conflicts = [
        (path, other)
        for path, value in wanted.items()
        for other, owned in owners.items()
        if other != manager and path in owned and found.get(path) != value
    ]
    if conflicts and not force:
        raise ApplyConflictError(
            f"Apply failed with {len(conflicts)} conflicts",
            status=409,
            details={
                "causes": [
                    {
                        "reason": "FieldManagerConflict",
                        "message": f'conflict with "{other}"',
                        "field": "".join(path),
                    }
                    for path, other in conflicts
                ]
            },
        )
    for path, other in conflicts:
        owners[other].discard(path)
    given_up = owners.get(manager, set()) - set(wanted)
    owners[manager] = set(wanted)
    kept = {path for owned in owners.values() for path in owned}
    return {p: v for p, v in found.items() if p not in given_up - kept} | wanted


def update(found: Leaves, owners: Owners, manager: str, wanted: Leaves) -> None:
    """Move what an update changes to its manager."""
    changed = {p for p, v in wanted.items() if p not in found or found[p] != v}
    for owned in owners.values():
        owned.difference_update(changed, set(found) - set(wanted))
    owners.setdefault(manager, set()).update(changed)
