"""The API server as reconcilers know it, in memory.

On top of versions and watches: server-side apply with owners and conflicts, the
status subresource, generations, finalizers, label selectors on watches and the
garbage collection of what a deleted object owned.
"""

import copy
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from pykaito.operator.errors import ConflictError
from pykaito.operator.objects import (
    Key,
    Object,
    ObjectList,
    Resource,
    WatchEvent,
    key,
    labels,
    owner_of,
)
from tests.unit.operator.memory_api import MemoryApi
from tests.unit.reconcilers import ownership

#: Set by the server; nobody owns them.
_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "generation",
             "creationTimestamp", "deletionTimestamp")  # fmt: skip
_READS = {"get", "list", "watch"}


class ClusterApi(MemoryApi):
    """One cluster; any number of operators may use it, one after another.

    Attributes:
        status_defaults: the status that a kind's CRD gives a new object.
    """

    def __init__(self, *, latency: float = 0.001) -> None:
        super().__init__(latency=latency)
        self.status_defaults: dict[Resource, dict[str, Any]] = {}
        self._owners: dict[tuple[Resource, str], ownership.Owners] = {}

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Verb and plural of every write so far, Events left out."""
        return [
            call for call in self.calls if call[0] not in _READS and call[1] != "events"
        ]

    def history(self, resource: Resource) -> list[dict[str, Any]]:
        """Return every version that any object of the resource had."""
        return [event.object for _, event in self._history.get(resource, [])]

    def find(self, resource: Resource, name: str, namespace: str = "default") -> Any:
        """Return a copy of an object, None when it is not there."""
        found = self._objects.get(resource, {}).get(Key(namespace, name))
        return copy.deepcopy(found)

    async def list(
        self, resource: Resource, *, label_selector: str = "", **selection: Any
    ) -> ObjectList:
        listed = await super().list(resource, **selection)
        items = [obj for obj in listed.items if _matches(obj, label_selector)]
        return ObjectList(items, listed.resource_version)

    async def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        timeout_seconds: int,
        label_selector: str = "",
        **selection: Any,
    ) -> AsyncGenerator[WatchEvent, None]:
        known: dict[Key, dict[str, Any]] = {}
        for version, event in self._history.get(resource, []):
            if version <= int(resource_version):
                _follow(known, event, label_selector)
        events = super().watch(
            resource,
            resource_version=resource_version,
            timeout_seconds=timeout_seconds,
            **selection,
        )
        async for event in events:
            if (told := _follow(known, event, label_selector)) is not None:
                yield told

    async def create(self, resource: Resource, obj: Object) -> Object:
        if not resource.group:
            return await super().create(resource, obj)
        metadata = obj["metadata"] | {"generation": 1}
        return await super().create(resource, {**obj, "metadata": metadata})

    async def apply(
        self,
        resource: Resource,
        obj: Object,
        *,
        field_manager: str = "test",
        subresource: str = "",
        force: bool = False,
        **_: Any,
    ) -> Object:
        await self._arrive("apply", resource)
        at = key(obj)
        if subresource:
            self._find(resource, at)
        found = self._objects.get(resource, {}).get(at)
        uid = obj["metadata"].get("uid")
        if uid and (found is None or found["metadata"]["uid"] != uid):
            raise ConflictError(f"{at} has another uid", status=409)
        owners = self._owners_of(resource, at, subresource)
        parts = ownership.apply(
            ownership.leaves(_part(found or {}, subresource)),
            owners,
            field_manager,
            ownership.leaves(_part(obj, subresource)),
            force=force,
        )
        changed = ownership.assemble(parts)
        return await self._answer(
            await self._put(resource, at, changed, found or obj, subresource)
        )

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Object,
        *,
        namespace: str = "",
        subresource: str = "",
        field_manager: str = "kubectl-edit",
        **_: Any,
    ) -> Object:
        await self._arrive("patch", resource)
        at = Key(namespace, name)
        found = self._find(resource, at)
        version = patch.get("metadata", {}).get("resourceVersion")
        if version and version != found["metadata"]["resourceVersion"]:
            raise ConflictError(f"{at} was changed", status=409)
        before = _part(found, subresource)
        after = _merged(before, _part(patch, subresource))
        ownership.update(
            ownership.leaves(before),
            self._owners_of(resource, at, subresource),
            field_manager,
            ownership.leaves(after),
        )
        return await self._answer(
            await self._put(resource, at, after, found, subresource)
        )

    async def scale(self, resource: Resource, name: str, replicas: int) -> None:
        """Scale as kubectl does: it owns what it sets, and nobody owns a 0."""
        patch = {"spec": {"replicas": replicas}}
        await self.patch(
            resource, name, patch, namespace="default", field_manager="kubectl"
        )
        if replicas == 0:
            owners = self._owners_of(resource, Key("default", name), "")
            owners["kubectl"].discard((".spec", ".replicas"))

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        **_: Any,
    ) -> None:
        await self._arrive("delete", resource)
        found = self._find(resource, Key(namespace, name))
        if uid and found["metadata"]["uid"] != uid:
            raise ConflictError(f"{name} has another uid", status=409)
        await self._delete(resource, found)

    def _owners_of(
        self, resource: Resource, at: Key, subresource: str
    ) -> ownership.Owners:
        return self._owners.setdefault((resource, f"{at}/{subresource}"), {})

    async def _put(
        self,
        resource: Resource,
        at: Key,
        part: dict[str, Any],
        rest: Object,
        subresource: str,
    ) -> dict[str, Any]:
        """Store what was written, with the part that this write does not touch."""
        before = self._objects.get(resource, {}).get(at)
        identity = {
            field: value
            for field, value in rest["metadata"].items()
            if field in _IDENTITY
        }
        if subresource:
            stored = copy.deepcopy(dict(rest)) | part
        else:
            stored = copy.deepcopy(part)
            stored["metadata"] = stored.get("metadata", {}) | identity
            if before is None and resource in self.status_defaults:
                stored["status"] = dict(self.status_defaults[resource])
            if before is not None and "status" in before:
                stored["status"] = before["status"]
        metadata = stored["metadata"]
        if resource.group:  # the core group's kinds used here have no generation
            metadata.setdefault("generation", 1)
            if before is not None and _spec(before) != _spec(stored):
                metadata["generation"] += 1
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            await self._remove(resource, stored)
            return stored
        return await self._store(resource, stored)

    async def _delete(self, resource: Resource, found: dict[str, Any]) -> None:
        metadata = found["metadata"]
        if metadata.get("finalizers"):
            if not metadata.get("deletionTimestamp"):
                marked = copy.deepcopy(found)
                marked["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                marked["metadata"]["generation"] = metadata["generation"] + 1
                await self._store(resource, marked)
            return
        await self._remove(resource, found)

    async def _remove(self, resource: Resource, gone: dict[str, Any]) -> None:
        del self._objects[resource][key(gone)]
        for subresource in ("", "status"):
            self._owners.pop((resource, f"{key(gone)}/{subresource}"), None)
        await self._tell("DELETED", resource, gone)
        for kind, objects in list(self._objects.items()):
            for child in list(objects.values()):
                owner = owner_of(child)
                if owner is not None and owner["uid"] == gone["metadata"]["uid"]:
                    await self._delete(kind, child)


def _matches(obj: Object, label: str) -> bool:
    return not label or label in labels(obj)


def _follow(
    known: dict[Key, dict[str, Any]], event: WatchEvent, label: str
) -> WatchEvent | None:
    """Tell an event as a watch with a selector does."""
    at, obj = key(event.object), event.object
    before = known.pop(at, None)
    if event.type != "DELETED" and _matches(obj, label):
        known[at] = obj
        return WatchEvent("ADDED" if before is None else "MODIFIED", obj)
    if before is None:
        return None
    version = obj["metadata"]["resourceVersion"]
    last = copy.deepcopy(before)
    last["metadata"]["resourceVersion"] = version
    return WatchEvent("DELETED", last)


def _part(obj: Object, subresource: str) -> dict[str, Any]:
    """Return what a write to the object, or to its status, may change."""
    if subresource:
        return {subresource: copy.deepcopy(obj.get(subresource, {}))}
    part = {k: copy.deepcopy(v) for k, v in obj.items() if k != "status"}
    part["metadata"] = {
        field: value
        for field, value in part.get("metadata", {}).items()
        if field not in _IDENTITY
    }
    return part


def _spec(obj: Object) -> dict[str, Any]:
    return {k: v for k, v in obj.items() if k not in {"metadata", "status"}}


def _merged(base: Any, patch: Any) -> Any:
    """Merge as application/merge-patch+json does; None removes."""
    if not isinstance(patch, Mapping) or not isinstance(base, Mapping):
        return patch
    merged = {k: v for k, v in base.items() if k not in patch}
    for field, value in patch.items():
        if value is not None:
            merged[field] = _merged(base.get(field, {}), value)
    return merged
