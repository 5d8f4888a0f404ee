"""A Workspace and all that belongs to it, read once, with no right but get and list.

What cannot be read is left out and said to be: a user who may not list nodes
still sees the rest.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pykaito.api.labels import WORKSPACE
from pykaito.operator.errors import ApiError, ForbiddenError, NotFoundError
from pykaito.operator.objects import (
    DEPLOYMENTS,
    EVENTS,
    NODES,
    PODS,
    SERVICES,
    Object,
    ObjectList,
    Resource,
    name,
)
from pykaito.reconcilers.resources import MACHINES, WORKSPACES
from pykaito.reconcilers.workspace.machines import node_of

REQUEST_SECONDS = 5.0
"""Limit of one read. A screen that shows most of it now is better than all later."""


class Reader(Protocol):
    """The part of the client that reading needs."""

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Return one object."""

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        """Return all objects that match."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The objects as they were read, each kind sorted by name."""

    workspace: Object
    machines: Sequence[Object] = ()
    nodes: Sequence[Object] = ()
    deployments: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    services: Sequence[Object] = ()
    #: Events of the type Warning, about any of these objects, oldest first.
    warnings: Sequence[Object] = ()
    #: Why a resource could not be read, by its plural.
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def node_names(self) -> Sequence[str]:
        """The nodes that Machines hold and pods run on."""
        machines = map(node_of, self.machines)
        pods = (pod.get("spec", {}).get("nodeName") for pod in self.pods)
        return sorted({node for node in (*machines, *pods) if node})


async def read(client: Reader, namespace: str, workspace: str) -> Snapshot:
    """Read the Workspace, and then as much as can be of what belongs to it.

    Raises:
        NotFoundError: there is no such Workspace.
        ApiError: it cannot be read.
        TimeoutError: it could not be read in time.
    """
    async with asyncio.timeout(REQUEST_SECONDS):
        live = await client.get(WORKSPACES, workspace, namespace)
    unread: dict[str, str] = {}
    selector = f"{WORKSPACE}={workspace}"

    async def listed(resource: Resource, **selectors: str) -> list[Object]:
        reading = client.list(resource, namespace=namespace, **selectors)
        found = await _try(reading, resource, "list", unread)
        return sorted(found.items, key=name) if found else []

    machines, deployments, pods, services, events = await asyncio.gather(
        listed(MACHINES, label_selector=selector),
        listed(DEPLOYMENTS, label_selector=selector),
        listed(PODS, label_selector=selector),
        listed(SERVICES, label_selector=selector),
        listed(EVENTS, field_selector="type=Warning"),
    )
    known = Snapshot(live, machines, (), deployments, pods, services)
    nodes = await asyncio.gather(
        *(
            _try(client.get(NODES, node), NODES, "get", unread)
            for node in known.node_names
        )
    )
    own = {name(obj) for obj in (live, *machines, *deployments, *pods)}
    return Snapshot(
        live,
        machines,
        [node for node in nodes if node],
        deployments,
        pods,
        services,
        sorted(
            (event for event in events if _regards(event, own)), key=last_seen_of_event
        ),
        unread,
    )


async def _try(
    reading: Awaitable[Any], resource: Resource, verb: str, unread: dict[str, str]
) -> Any:
    """Return what is read, or None with the reason noted in ``unread``."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            return await reading
    except NotFoundError as error:
        # A node that is gone is a fact; a kind that is not served is a gap.
        if verb == "list":
            unread[resource.plural] = error.message
    except ForbiddenError:
        unread[resource.plural] = f"not allowed to {verb} {resource}"
    except TimeoutError:
        unread[resource.plural] = f"no answer within {REQUEST_SECONDS:.0f}s"
    except ApiError as error:
        unread[resource.plural] = str(error)
    return None


def _regards(event: Object, names: set[str]) -> bool:
    return (event.get("regarding") or {}).get("name") in names


def last_seen_of_event(event: Object) -> str:
    """Return when an Event last happened, as text that sorts by time."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("deprecatedLastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp", "")
    )
