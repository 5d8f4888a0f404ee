"""Writing status: by server-side apply, only what changed, each its own part.

Several reconcilers write the status of one Workspace. Conditions are a list
keyed by type, so each reconciler owns the types it applies; one that it leaves
out next time is removed. Status is the operator's own, so it is forced.
"""

from collections.abc import Collection, Mapping
from typing import Any

from pykaito.operator.client import Client
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Object
from pykaito.reconcilers.writes import Note


async def write_status(
    client: Client,
    informer: Informer,
    live: Object,
    status: Mapping[str, Any],
    *,
    owned_conditions: Collection[str],
    field_manager: str,
    note: Note,
) -> bool:
    """Apply ``status`` unless ``live`` already reads so; say if it was applied.

    Args:
        client: the API server.
        informer: where ``live`` was read.
        live: the object as cached.
        status: the fields of this writer, ``conditions`` among them.
        owned_conditions: every condition type that this writer may set.
        field_manager: this writer's name.
        note: is told of the object as written.

    Raises:
        NotFoundError: the object is gone.
        ConflictError: another object has its name by now.
    """
    if reads(live.get("status") or {}, status, owned_conditions):
        return False
    metadata, resource = live["metadata"], informer.resource
    identity = {"name": metadata["name"], "uid": metadata["uid"]}
    if resource.namespaced:
        identity["namespace"] = metadata["namespace"]
    written = await client.apply(
        resource,
        {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": identity,
            "status": status,
        },
        field_manager=field_manager,
        subresource="status",
        force=True,
    )
    note(informer, written)
    return True


def reads(
    written: Mapping[str, Any], wanted: Mapping[str, Any], owned: Collection[str]
) -> bool:
    """Whether the written status says what this writer wants, and no more."""
    conditions = [c for c in written.get("conditions", ()) if c["type"] in owned]
    by_type = {c["type"]: dict(c) for c in conditions}
    if by_type != {c["type"]: c for c in wanted.get("conditions", ())}:
        return False
    return all(
        written.get(field) == value
        for field, value in wanted.items()
        if field != "conditions"
    )
