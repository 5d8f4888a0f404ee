"""The API server's verbs in memory: versions, conflicts, watches, latency.

It keeps the promises that the operator leans on: one counter of versions over
all resources, optimistic concurrency on replace, watches that tell every change
after a version, in order. Nothing else of a real server is here.
"""

import asyncio
import copy
import itertools
import uuid
from collections.abc import AsyncGenerator, Callable
from typing import Any, Self

from pykaito.operator.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    NotFoundError,
)
from pykaito.operator.objects import (
    Key,
    Object,
    ObjectList,
    Resource,
    WatchEvent,
    key,
)

Fault = Callable[[str, Resource], ApiError | None]


class MemoryApi:
    """A stand-in for `Client`; what goes in and comes out is copied.

    Attributes:
        latency: seconds between a call and its effect, and the effect and its answer.
        watch_latency: seconds that a watch of a resource lags behind.
        fault: asked before each call takes effect; what it returns is raised.
        calls: verb and resource of each call, in order.
    """

    def __init__(self, *, latency: float = 0.001) -> None:
        self.latency = latency
        self.watch_latency: dict[Resource, float] = {}
        self.fault: Fault = lambda _verb, _resource: None
        self.calls: list[tuple[str, str]] = []
        self.before_write: Callable[[Resource], None] | None = None
        self._versions = itertools.count(1)
        self._objects: dict[Resource, dict[Key, dict[str, Any]]] = {}
        self._history: dict[Resource, list[tuple[int, WatchEvent]]] = {}
        self._changed = asyncio.Condition()

    def unelected(self) -> Self:
        """Return the verbs on the same objects, without `before_write`."""
        other = copy.copy(self)
        other.before_write = None
        return other

    def check_write(self, resource: Resource) -> None:
        if self.before_write is not None:
            self.before_write(resource)

    def stored(self, resource: Resource) -> list[dict[str, Any]]:
        """Return what is there, without a call."""
        return copy.deepcopy(list(self._objects.get(resource, {}).values()))

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        await self._arrive("get", resource)
        found = self._find(resource, Key(namespace, name))
        return await self._answer(found)

    async def list(
        self, resource: Resource, *, metadata_only: bool = False, **_: Any
    ) -> ObjectList:
        await self._arrive("list", resource)
        items = [_told(obj, metadata_only) for obj in self.stored(resource)]
        listed = ObjectList(items, str(self._version))
        await asyncio.sleep(self.latency)
        return listed

    async def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        timeout_seconds: int,
        metadata_only: bool = False,
        **_: Any,
    ) -> AsyncGenerator[WatchEvent, None]:
        await self._arrive("watch", resource)
        seen = int(resource_version)
        ends = asyncio.get_running_loop().time() + timeout_seconds
        while True:
            news = [e for e in self._history.get(resource, []) if e[0] > seen]
            for version, event in news:
                seen = version
                await asyncio.sleep(self.watch_latency.get(resource, 0))
                yield WatchEvent(event.type, _told(event.object, metadata_only))
            if news:
                continue
            try:
                async with asyncio.timeout_at(ends), self._changed:
                    await self._changed.wait()
            except TimeoutError:
                return

    async def create(self, resource: Resource, obj: Object) -> Object:
        await self._arrive("create", resource)
        if key(obj) in self._objects.get(resource, {}):
            raise AlreadyExistsError(f"{key(obj)} exists", status=409)
        return await self._answer(await self._store(resource, obj))

    async def replace(self, resource: Resource, obj: Object) -> Object:
        await self._arrive("replace", resource)
        found = self._find(resource, key(obj))
        wanted = obj["metadata"]["resourceVersion"]
        if found["metadata"]["resourceVersion"] != wanted:
            raise ConflictError(f"{key(obj)} was changed", status=409)
        return await self._answer(await self._store(resource, obj))

    async def apply(self, resource: Resource, obj: Object, **_: Any) -> Object:
        await self._arrive("apply", resource)
        found = self._objects.get(resource, {}).get(key(obj), {})
        return await self._answer(await self._store(resource, _merged(found, obj)))

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Object,
        *,
        namespace: str = "",
        **_: Any,
    ) -> Object:
        await self._arrive("patch", resource)
        found = self._find(resource, Key(namespace, name))
        return await self._answer(await self._store(resource, _merged(found, patch)))

    async def delete(
        self, resource: Resource, name: str, *, namespace: str = "", **_: Any
    ) -> None:
        await self._arrive("delete", resource)
        gone = self._find(resource, Key(namespace, name))
        del self._objects[resource][Key(namespace, name)]
        await self._tell("DELETED", resource, gone)

    @property
    def _version(self) -> int:
        """The version of the last change of anything."""
        return max((told[-1][0] for told in self._history.values()), default=0)

    async def _arrive(self, verb: str, resource: Resource) -> None:
        reading = verb in {"get", "list", "watch"}
        if not reading:
            self.check_write(resource)
        await asyncio.sleep(self.latency)
        self.calls.append((verb, resource.plural))
        error = self.fault(verb, resource)
        if error is not None:
            raise error

    async def _answer(self, obj: dict[str, Any]) -> Object:
        answer = copy.deepcopy(obj)
        await asyncio.sleep(self.latency)
        return answer

    def _find(self, resource: Resource, at: Key) -> dict[str, Any]:
        found = self._objects.get(resource, {}).get(at)
        if found is None:
            raise NotFoundError(f"{resource} {at} not found", status=404)
        return found

    async def _store(self, resource: Resource, obj: Object) -> dict[str, Any]:
        stored = copy.deepcopy(dict(obj))
        before = self._objects.get(resource, {}).get(key(obj))
        stored["metadata"].setdefault("uid", str(uuid.uuid4()))
        if before is not None and _content(before) == _content(stored):
            return before  # a write that changes nothing makes no new version
        self._objects.setdefault(resource, {})[key(obj)] = stored
        await self._tell("MODIFIED" if before else "ADDED", resource, stored)
        return stored

    async def _tell(self, change: Any, resource: Resource, obj: dict[str, Any]) -> None:
        version = next(self._versions)
        obj["metadata"]["resourceVersion"] = str(version)
        event = WatchEvent(change, copy.deepcopy(obj))
        self._history.setdefault(resource, []).append((version, event))
        async with self._changed:
            self._changed.notify_all()


def _told(obj: Object, metadata_only: bool) -> dict[str, Any]:
    told = {"metadata": obj["metadata"]} if metadata_only else dict(obj)
    return copy.deepcopy(told)


def _content(obj: Object) -> dict[str, Any]:
    metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    return {**obj, "metadata": metadata}


def _merged(base: Any, patch: Any) -> Any:
    if not isinstance(patch, dict) or not isinstance(base, dict):
        return patch
    return {**base, **{k: _merged(base.get(k), v) for k, v in patch.items()}}
