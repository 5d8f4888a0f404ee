"""The objects of one resource in memory, found by key or by index.

Reading is for everyone, writing only for the informer that owns the store.
"""

import builtins
from collections.abc import Callable, Iterable
from typing import final

from pykaito.operator.frozen import FrozenDict
from pykaito.operator.objects import Key, Object, key, owner_of

IndexFunction = Callable[[Object], Iterable[str]]
"""Returns the values under which an object is to be found; maybe none."""

OWNER_UID = "ownerUID"
"""The index by the uid of the controlling owner; every store has it."""


def owner_uid(obj: Object) -> Iterable[str]:
    """Return the uid of the object's controller, if it has one."""
    owner = owner_of(obj)
    return (owner["uid"],) if owner is not None else ()


@final
class Store:
    """What an informer has seen. Objects are frozen and stay as they are."""

    def __init__(self) -> None:
        self._objects: dict[Key, FrozenDict] = {}
        self._indexes: dict[str, _Index] = {}
        self.add_index(OWNER_UID, owner_uid)

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> Object | None:
        """Return the object of that key, None when there is none."""
        return self._objects.get(key)

    def list(self, namespace: str | None = None) -> builtins.list[Object]:
        """Return all objects, or those of one namespace."""
        return [
            obj
            for at, obj in self._objects.items()
            if namespace is None or at.namespace == namespace
        ]

    def by_index(self, index_name: str, value: str) -> builtins.list[Object]:
        """Return the objects that the index files under `value`.

        Raises:
            KeyError: no such index was added.
        """
        return [self._objects[at] for at in self._index(index_name).keys_of(value)]

    def add_index(self, name: str, function: IndexFunction) -> None:
        """File all objects, present and future, under what `function` returns.

        Adding the same function again under its name changes nothing, so that
        several controllers may ask for what they need.

        Raises:
            ValueError: the name is taken by another function.
        """
        if name in self._indexes:
            if self._indexes[name].function is not function:
                raise ValueError(f"index {name!r} exists and means something else")
            return
        index = self._indexes[name] = _Index(function)
        for at, obj in self._objects.items():
            index.put(at, obj)

    def put(self, obj: FrozenDict) -> None:
        """Store the object in place of one of the same key. The informer's."""
        at = key(obj)
        self._objects[at] = obj
        for index in self._indexes.values():
            index.put(at, obj)

    def discard(self, key: Key) -> None:
        """Forget the object of that key. The informer's."""
        self._objects.pop(key, None)
        for index in self._indexes.values():
            index.discard(key)

    def _index(self, name: str) -> "_Index":
        try:
            return self._indexes[name]
        except KeyError:
            known = ", ".join(sorted(self._indexes))
            raise KeyError(f"no index {name!r}; there are: {known}") from None


class _Index:
    """Keys by value, and the values of each key as they were when it was filed."""

    def __init__(self, function: IndexFunction) -> None:
        self.function = function
        # Dictionaries in place of sets, to keep the order of insertion.
        self._keys: dict[str, dict[Key, None]] = {}
        self._values: dict[Key, tuple[str, ...]] = {}

    def keys_of(self, value: str) -> Iterable[Key]:
        return self._keys.get(value, ())

    def put(self, at: Key, obj: Object) -> None:
        values = tuple(dict.fromkeys(self.function(obj)))
        if self._values.get(at, ()) == values:
            return
        self.discard(at)
        if values:
            self._values[at] = values
        for value in values:
            self._keys.setdefault(value, {})[at] = None

    def discard(self, at: Key) -> None:
        for value in self._values.pop(at, ()):
            keys = self._keys[value]
            keys.pop(at, None)
            if not keys:
                del self._keys[value]
