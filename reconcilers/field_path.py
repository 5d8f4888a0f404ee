"""Paths of server-side apply, such as ``.spec.containers[name="a"].command``.

The API server names the fields of a conflict in this notation (it is the one of
structured-merge-diff): ``.name`` is a key of an object, ``[k="v"]`` the item of
a list whose keys have those values, ``[0]`` an index. Keys are not quoted, even
when they hold dots, so a path can only be read against the object it is of.
"""

import copy
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_SELECTOR = re.compile(r"\[([^\]]*)\]")


def without_fields(obj: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Return a copy of the object that says nothing about the fields.

    An applied object that omits a field leaves it to its other owners. The same
    field may be named once for each of them, and a field beside what it is part
    of. Containers that become empty by it are kept: they may be what names a
    list's item.

    Raises:
        LookupError: the object has no such field.
    """
    result: dict[str, Any] = copy.deepcopy(dict(obj))
    # Reversed, a part comes before what it is part of.
    for path in sorted(set(paths), reverse=True):
        _remove(result, path, path)
    return result


def _remove(node: Any, rest: str, whole: str) -> None:
    if rest.startswith("."):
        key, rest = _longest_key(node, rest[1:], whole)
        if rest:
            _remove(node[key], rest, whole)
        else:
            del node[key]
        return
    selector = _SELECTOR.match(rest)
    if selector is None or not isinstance(node, list):
        raise LookupError(f"no field {whole} in the applied object")
    index = _matching_index(node, selector[1], whole)
    rest = rest[selector.end() :]
    if rest:
        _remove(node[index], rest, whole)
    else:
        del node[index]


def _longest_key(node: Any, rest: str, whole: str) -> tuple[str, str]:
    if isinstance(node, dict):
        for key in sorted(node, key=len, reverse=True):
            after = rest[len(key) :]
            if rest.startswith(key) and after[:1] in {"", ".", "["}:
                return key, after
    raise LookupError(f"no field {whole} in the applied object")


def _matching_index(items: list[Any], selector: str, whole: str) -> int:
    if selector.isdigit() and int(selector) < len(items):
        return int(selector)
    if selector.startswith("="):
        wanted: Any = json.loads(selector[1:])
    else:
        pairs = (pair.partition("=") for pair in selector.split(","))
        wanted = {key: json.loads(value) for key, _, value in pairs if value}
    for index, item in enumerate(items):
        if item == wanted or (
            isinstance(item, dict)
            and isinstance(wanted, dict)
            and wanted
            and all(item.get(key) == value for key, value in wanted.items())
        ):
            return index
    raise LookupError(f"no field {whole} in the applied object")
