"""An API server as a reflector sees it, in memory and on virtual time.

It keeps a history of changes and plays it to watchers, forgets old history on
demand, and fails on demand. It is the truth that the state machine compares an
informer's store with, and it misbehaves in ways that no real server does when
asked.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pykaito.operator.errors import (
    ApiError,
    ExpiredError,
    NotFoundError,
    TransportError,
    error_from_status,
)
from pykaito.operator.objects import Key, ObjectList, Resource, WatchEvent, key

CHOSEN = "chosen=yes"
"""The only label selector that the model knows."""


@dataclass(frozen=True)
class Change:
    """What one write did: the object before and after it."""

    version: int
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True)
class Call:
    """A request to the model."""

    at: float
    verb: str
    version: str = ""
    timeout_seconds: int = 0


@dataclass(eq=False)
class _Stream:
    """An open watch: how far it got, and what is to befall it."""

    fate: list[ApiError | None] = field(default_factory=list)
    bookmarks: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class ModelApi:
    """The objects of one resource, their history, and the watches on them."""

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.version = 100
        self.calls: list[Call] = []
        self.absent: set[Resource] = set()
        self._history: list[Change] = []
        self._oldest = self.version
        self._uids = 0
        self._streams: list[_Stream] = []
        self._refusals: list[ApiError] = []

    # Writes

    def create(self, name: str, *, chosen: bool = True) -> dict[str, Any]:
        self._uids += 1
        metadata = {"name": name, "namespace": "ns", "uid": f"uid-{self._uids}"}
        return self._store(None, {"metadata": metadata, "chosen": chosen, "count": 0})

    def update(self, name: str, **fields: Any) -> dict[str, Any]:
        before = self.objects[Key("ns", name)]
        fields.setdefault("count", before["count"] + 1)
        return self._store(before, before | fields)

    def delete(self, name: str) -> dict[str, Any]:
        """Delete, and return the last state, which is later than any stored one."""
        before = self.objects.pop(Key("ns", name))
        last = self._versioned(before)
        self._record(Change(self.version, last, None))
        return last

    def write_elsewhere(self) -> None:
        """Let the version grow by a write to some other resource."""
        self.version += 1

    def _store(
        self, before: Mapping[str, Any] | None, after: Mapping[str, Any]
    ) -> dict[str, Any]:
        stored = self._versioned(after)
        self.objects[key(stored)] = stored
        self._record(Change(self.version, before, stored))
        return stored

    def _versioned(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self.version)}
        return {**obj, "metadata": metadata}

    def _record(self, change: Change) -> None:
        self._history.append(change)
        self._wake()

    # Faults

    def compact(self) -> None:
        """Forget all history; watches that are open live on."""
        self._oldest = self.version

    def end_watches(self, error: ApiError | None = None) -> int:
        """End every open watch, cleanly or with an error; return how many."""
        for stream in self._streams:
            stream.fate.append(error)
        self._wake()
        return len(self._streams)

    def cut_watches(self) -> int:
        return self.end_watches(TransportError("connection reset"))

    def send_bookmarks(self) -> None:
        for stream in self._streams:
            stream.bookmarks += 1
        self._wake()

    def refuse(self, *errors: ApiError) -> None:
        """Answer the next requests, whatever they are, with these errors."""
        self._refusals.extend(errors)

    def heal(self) -> None:
        """Forget the refusals to come."""
        self._refusals.clear()

    def _wake(self) -> None:
        for stream in self._streams:
            stream.wake.set()

    def verbs(self) -> list[str]:
        """Return the verbs called so far, watches with their version."""
        return [f"{call.verb} {call.version}".strip() for call in self.calls]

    # Verbs

    def chosen(self, label_selector: str) -> dict[Key, dict[str, Any]]:
        """Return the objects that a selector matches."""
        return {at: o for at, o in self.objects.items() if _match(o, label_selector)}

    async def list(
        self,
        resource: Resource,
        *,
        label_selector: str = "",
        **_selection: object,
    ) -> ObjectList:
        self._call(Call(_now(), "list"), resource)
        await asyncio.sleep(0)
        chosen = self.chosen(label_selector)
        return ObjectList([_copy(o) for o in chosen.values()], str(self.version))

    async def watch(
        self,
        resource: Resource,
        *,
        label_selector: str = "",
        resource_version: str,
        timeout_seconds: int,
        **_selection: object,
    ) -> AsyncGenerator[WatchEvent, None]:
        self._call(Call(_now(), "watch", resource_version, timeout_seconds), resource)
        at = int(resource_version)
        if at < self._oldest:
            raise error_from_status({"code": 410, "reason": "Expired"})
        stream = _Stream()
        self._streams.append(stream)
        try:
            async for event in self._events(stream, at, label_selector):
                yield event
        finally:
            self._streams.remove(stream)

    async def _events(
        self, stream: _Stream, at: int, label_selector: str
    ) -> AsyncGenerator[WatchEvent, None]:
        while True:
            # What befalls a watch overtakes the events still on their way.
            if stream.fate:
                error = stream.fate.pop()
                if error is not None:
                    raise error
                return
            change = next((c for c in self._history if c.version > at), None)
            if change is not None:
                at = change.version
                if event := _event(change, label_selector):
                    yield event
            elif stream.bookmarks:
                stream.bookmarks = 0
                at = self.version
                version = {"resourceVersion": str(self.version)}
                yield WatchEvent("BOOKMARK", {"metadata": version})
            else:
                stream.wake.clear()
                await stream.wake.wait()

    def _call(self, call: Call, resource: Resource) -> None:
        self.calls.append(call)
        if self._refusals:
            raise self._refusals.pop(0)
        if resource in self.absent:
            raise NotFoundError("404 page not found", status=404)

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return len(self._streams)


def expired() -> ExpiredError:
    return ExpiredError("too old", status=410)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _match(obj: Mapping[str, Any] | None, label_selector: str) -> bool:
    return obj is not None and (not label_selector or obj["chosen"])


def _event(change: Change, label_selector: str) -> WatchEvent | None:
    """Return how a watch with that selector tells of a change, if it does."""
    before = _match(change.before, label_selector)
    after = _match(change.after, label_selector)
    if change.after is not None and after:
        return WatchEvent("MODIFIED" if before else "ADDED", _copy(change.after))
    if change.before is not None and before:
        # An object that leaves the selector comes as it was, at the new version.
        last = _copy(change.before)
        last["metadata"]["resourceVersion"] = str(change.version)
        return WatchEvent("DELETED", last)
    return None


def _copy(obj: Mapping[str, Any]) -> dict[str, Any]:
    managed = [{"manager": "kubectl"}]
    return {**obj, "metadata": {**obj["metadata"], "managedFields": managed}}
