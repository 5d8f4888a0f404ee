"""Dictionaries and lists that refuse to be changed.

Every reader of a cache shares one copy of each object. A reconciler that changes
what it was handed would change it for all the others and would never see the
difference to the server again; here it gets an error instead, at the line that
did it. They are real dicts and lists, so json, orjson and pydantic take them.
"""

from collections.abc import Mapping
from typing import Any, NoReturn


def _refuse(self: object, *_args: Any, **_kwargs: Any) -> NoReturn:
    kind = "dict" if isinstance(self, dict) else "list"
    raise TypeError(
        f"this {kind} belongs to the cache and cannot be changed; "
        "work on a copy: pykaito.operator.frozen.thaw(obj)"
    )


class FrozenDict(dict[str, Any]):
    """A dict whose mutators raise TypeError; copies of it are plain dicts."""

    __slots__ = ()

    __setitem__ = _refuse
    __delitem__ = _refuse
    __ior__ = _refuse
    clear = _refuse
    pop = _refuse
    popitem = _refuse
    setdefault = _refuse
    update = _refuse

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, _memo: dict[int, Any]) -> dict[str, Any]:
        return thaw(self)


class FrozenList(list[Any]):
    """A list whose mutators raise TypeError; copies of it are plain lists."""

    __slots__ = ()

    __setitem__ = _refuse
    __delitem__ = _refuse
    __iadd__ = _refuse
    __imul__ = _refuse
    append = _refuse
    clear = _refuse
    extend = _refuse
    insert = _refuse
    pop = _refuse
    remove = _refuse
    reverse = _refuse
    sort = _refuse

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, _memo: dict[int, Any]) -> list[Any]:
        return [_thaw(value) for value in self]


DEEPEST = 200
"""Containers inside each other that are kept. It is more than any kind has, and less
than what orjson writes (254) and what Python's stack holds."""


def freeze(obj: Mapping[str, Any], room: int = DEEPEST) -> FrozenDict:
    """Return a frozen copy of parsed JSON, with None for what is nested too deep.

    A schema that leaves content alone lets everyone nest as deep as they like.
    """
    # Most values are strings: one copy in C, then only the containers by hand.
    frozen = FrozenDict(obj)
    for field, value in obj.items():
        if isinstance(value, dict | list):
            dict.__setitem__(frozen, field, _freeze(value, room))
    return frozen


def _freeze_list(values: list[Any], room: int) -> FrozenList:
    return FrozenList(_freeze(value, room) for value in values)


def _freeze(value: Any, room: int) -> Any:
    if isinstance(value, dict):
        return freeze(value, room - 1) if room else None
    if isinstance(value, list):
        return _freeze_list(value, room - 1) if room else None
    return value


def thaw(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deep copy of parsed JSON that can be changed, frozen or not."""
    return {field: _thaw(value) for field, value in obj.items()}


def _thaw(value: Any) -> Any:
    if isinstance(value, dict):
        return thaw(value)
    if isinstance(value, list):
        return [_thaw(item) for item in value]
    return value
