"""Adding and removing finalizers without touching those of others."""

from pykaito.operator.client import Client
from pykaito.operator.objects import Object, Resource


async def add_finalizer(
    client: Client, resource: Resource, live: Object, finalizer: str
) -> Object:
    """Add the finalizer unless it is there; return the object as it then is.

    Raises:
        ConflictError: the object changed since it was read.
    """
    found = list(live["metadata"].get("finalizers") or ())
    if finalizer in found:
        return live
    return await _patch(client, resource, live, [*found, finalizer])


async def remove_finalizer(
    client: Client, resource: Resource, live: Object, finalizer: str
) -> None:
    """Remove the finalizer if it is there.

    Raises:
        ConflictError: the object changed since it was read.
    """
    found = list(live["metadata"].get("finalizers") or ())
    if finalizer in found:
        await _patch(client, resource, live, [f for f in found if f != finalizer])


async def _patch(
    client: Client, resource: Resource, live: Object, finalizers: list[str]
) -> Object:
    # A merge patch replaces the whole list, so the resourceVersion makes it
    # fail rather than drop a finalizer that someone added meanwhile.
    metadata = live["metadata"]
    return await client.patch(
        resource,
        metadata["name"],
        {
            "metadata": {
                "finalizers": finalizers,
                "resourceVersion": metadata["resourceVersion"],
            }
        },
        namespace=metadata.get("namespace", ""),
    )
