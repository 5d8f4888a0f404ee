"""Adding and removing finalizers without touching those of others."""

import contextlib

from pykaito.operator.client import Client
from pykaito.operator.errors import NotFoundError
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Object
from pykaito.reconcilers.writes import Note


async def add_finalizer(
    client: Client, informer: Informer, live: Object, finalizer: str, note: Note
) -> Object:
    """Add the finalizer unless it is there; return the object as it then is.

    Raises:
        ConflictError: the object changed since it was read.
    """
    found = list(live["metadata"].get("finalizers") or ())
    if finalizer in found:
        return live
    return await _patch(client, informer, live, [*found, finalizer], note)


async def remove_finalizer(
    client: Client, informer: Informer, live: Object, finalizer: str, note: Note
) -> None:
    """Remove the finalizer if it is there, and so is the object.

    Raises:
        ConflictError: the object changed since it was read.
    """
    found = list(live["metadata"].get("finalizers") or ())
    if finalizer in found:
        others = [f for f in found if f != finalizer]
        # The cache may show it a moment longer than it lives.
        with contextlib.suppress(NotFoundError):
            await _patch(client, informer, live, others, note)


async def _patch(
    client: Client,
    informer: Informer,
    live: Object,
    finalizers: list[str],
    note: Note,
) -> Object:
    # A merge patch replaces the whole list, so the resourceVersion makes it
    # fail rather than drop a finalizer that someone added meanwhile.
    metadata = live["metadata"]
    written = await client.patch(
        informer.resource,
        metadata["name"],
        {
            "metadata": {
                "finalizers": finalizers,
                "resourceVersion": metadata["resourceVersion"],
            }
        },
        namespace=metadata.get("namespace", ""),
    )
    note(informer, written)
    return written
