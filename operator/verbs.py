"""The API server's verbs on raw objects."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Protocol

import httpx
import orjson

from pykaito.operator import wire
from pykaito.operator.errors import ApiError, ExpiredError, ServerError
from pykaito.operator.objects import Object, ObjectList, Resource, WatchEvent
from pykaito.operator.objects import namespace as namespace_of

MAX_RETRIES = 5
"""How often a request is repeated that the server asked to send again later."""

MAX_RETRY_AFTER = 30.0
"""Seconds; a server that wants a longer pause is an error for the caller."""

_SHED_LOAD = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)


class CallApi(Protocol):
    """Sends one request; kr8s's `Api.call_api` as far as it is needed here."""

    def __call__(
        self,
        method: str,
        version: str,
        *,
        namespace: str | None,
        url: str,
        stream: bool = False,
        **kwargs: Any,
    ) -> contextlib.AbstractAsyncContextManager[httpx.Response]:
        """Return the request, sent when entered; the answer is a success."""


class Verbs:
    """Objects go in and come out as raw JSON.

    Every request has a time limit. Nothing is repeated behind the caller's back
    but what the server itself asked to send again. All methods raise `ApiError`;
    its subclasses say which. ValueError means the caller's mistake: a request
    whose URL would have meant something else.

    Attributes:
        before_write: called with the resource before each create, apply, patch,
            replace and delete, also before one that is sent again; what it raises
            keeps the request from being sent. This is where a manager checks that
            it still holds its lease.
    """

    def __init__(self, call_api: CallApi) -> None:
        self._call_api = call_api
        self.before_write: Callable[[Resource], None] | None = None

    def check_write(self, resource: Resource) -> None:
        """Raise what `before_write` would, before a write that goes elsewhere."""
        if self.before_write is not None:
            self.before_write(resource)

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Return one object; NotFoundError when it does not exist."""
        return await self._call("GET", resource, namespace, name)

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        limit: int = 500,
    ) -> ObjectList:
        """Return all objects that match, fetched in pages of `limit`.

        With `metadata_only` they have nothing but metadata; the server leaves the
        rest out. When the pages take so long that the server forgets the first ones'
        version, everything is fetched once more in one piece.
        """
        params = _selectors(label_selector, field_selector) | {"limit": str(limit)}
        headers = _accept("PartialObjectMetadataList") if metadata_only else {}
        items: list[dict[str, Any]] = []
        while True:
            try:
                answer = await self._call(
                    "GET", resource, namespace, params=params, headers=headers
                )
            except ExpiredError:
                if "continue" not in params:
                    raise
                items, params = [], _selectors(label_selector, field_selector)
                continue
            found, metadata = _page(answer)
            for item in found:
                # Built-in resources leave out in lists what the list already says.
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
                items.append(item)
            if not metadata.get("continue"):
                return ObjectList(items, metadata["resourceVersion"])
            params["continue"] = metadata["continue"]

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        resource_version: str,
        timeout_seconds: int,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Yield what changes after `resource_version`, bookmarks included.

        With `metadata_only` the objects have nothing but metadata.
        Returns when the server ends the watch, at the latest after
        `timeout_seconds`. Close the generator (`contextlib.aclosing`) to end it
        earlier.

        Raises:
            ExpiredError: the version is too old; list again.
            TransportError: the connection broke, or was silent for too long; go
                on from the last version seen.
        """
        params = _selectors(label_selector, field_selector) | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        headers = _accept("PartialObjectMetadata") if metadata_only else {}
        call = self._request(
            "GET", resource, namespace, params=params, headers=headers, stream=True
        )
        async with call as response:
            async for line in wire.lines(response.aiter_raw()):
                yield wire.watch_event(line)

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create; AlreadyExistsError when the name is taken."""
        return await self._write("POST", resource, namespace_of(obj), body=obj)

    async def apply(
        self,
        resource: Resource,
        obj: Object,
        *,
        field_manager: str,
        subresource: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> Object:
        """Create or change by server-side apply: `obj` is all this manager wants.

        Fields that the manager applied before and now leaves out are removed.

        Raises:
            ApplyConflictError: another manager owns a field, and not `force`.
        """
        params = {"fieldManager": field_manager, "force": "true" if force else "false"}
        if dry_run:
            params["dryRun"] = "All"
        return await self._write(
            "PATCH",
            resource,
            namespace_of(obj),
            _name(obj),
            subresource,
            params=params,
            body=obj,
            # JSON is YAML, and there is no media type for an apply in JSON.
            content_type="application/apply-patch+yaml",
        )

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Any],
        *,
        namespace: str = "",
        content_type: str = "application/merge-patch+json",
        subresource: str = "",
    ) -> Object:
        """Change by a patch, which is a list for `application/json-patch+json`."""
        return await self._write(
            "PATCH",
            resource,
            namespace,
            name,
            subresource,
            body=patch,
            content_type=content_type,
        )

    async def replace(self, resource: Resource, obj: Object) -> Object:
        """Write the whole object back.

        Raises:
            ConflictError: it is no longer at the resource version in `obj`.
        """
        return await self._write(
            "PUT", resource, namespace_of(obj), _name(obj), body=obj
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        propagation: str = "Background",
    ) -> None:
        """Delete; it may live on until its finalizers are done.

        Raises:
            NotFoundError: there is no such object.
            ConflictError: the object of that name has another uid than `uid`.
        """
        options: dict[str, Any] = {"propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        await self._write("DELETE", resource, namespace, name, body=options)

    async def _write(
        self,
        method: str,
        resource: Resource,
        namespace: str,
        name: str | None = None,
        subresource: str = "",
        *,
        body: Any,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        return await self._call(
            method,
            resource,
            namespace,
            name,
            subresource,
            writes=True,
            params=params,
            content=orjson.dumps(body),
            headers={"Content-Type": content_type},
        )

    async def _call(
        self,
        method: str,
        resource: Resource,
        namespace: str,
        name: str | None = None,
        subresource: str = "",
        *,
        writes: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the answer; a server that names a time to come back is obeyed."""
        retries = 0
        while True:
            if writes:
                self.check_write(resource)
            try:
                async with self._request(
                    method, resource, namespace, name, subresource, **kwargs
                ) as response:
                    return wire.decode(response.content)
            except ApiError as error:
                pause = error.retry_after
                if (
                    retries == MAX_RETRIES
                    or error.status not in _SHED_LOAD
                    or pause is None
                    or pause > MAX_RETRY_AFTER
                ):
                    raise
            retries += 1
            await asyncio.sleep(pause)

    def _request(
        self,
        method: str,
        resource: Resource,
        namespace: str,
        name: str | None = None,
        subresource: str = "",
        **kwargs: Any,
    ) -> contextlib.AbstractAsyncContextManager[httpx.Response]:
        """Return the request for one object, or with no name for all of them."""
        if namespace and not resource.namespaced:
            raise ValueError(
                f"{resource} are cluster-scoped, got the namespace {namespace!r}"
            )
        everywhere = method == "GET" and name is None
        if resource.namespaced and not namespace and not everywhere:
            raise ValueError(f"{resource} need a namespace to {method} {name!r}")
        # An empty name would turn a DELETE of one into a DELETE of all.
        if name is not None and (name in {"", ".", ".."} or set(name) & set("/%?#")):
            raise ValueError(f"{name!r} is no name of an object of {resource}")
        return self._call_api(
            method,
            resource.api_version,
            namespace=namespace or None,
            url="/".join(filter(None, (resource.plural, name, subresource))),
            **kwargs,
        )


def _page(answer: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the items and the metadata of a list.

    Raises:
        ServerError: it is none, as when something between has answered.
    """
    items, metadata = answer.get("items", ""), answer.get("metadata")
    is_list = items is None or isinstance(items, list)
    if (
        not is_list
        or not isinstance(metadata, dict)
        or "resourceVersion" not in metadata
    ):
        said = orjson.dumps(answer)[: wire.MAX_TEXT]
        raise ServerError(f"the answer is no list: {said!r}")
    return items or [], metadata


def _name(obj: Object) -> str:
    """Return the name, or what the check of names will refuse."""
    return str(obj.get("metadata", {}).get("name", ""))


def _accept(kind: str) -> dict[str, str]:
    """Return the header that asks for objects as another kind of meta.k8s.io."""
    return {"Accept": f"application/json;as={kind};v=v1;g=meta.k8s.io"}


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {parameter: value for parameter, value in selectors.items() if value}
