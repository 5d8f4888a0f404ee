"""Whether a node is Ready and offers what a Machine asks for, whoever brought it."""

from collections.abc import Mapping
from typing import Any

from pykaito.api.labels import MACHINE
from pykaito.api.quantity import parse_quantity
from pykaito.operator.objects import Object, labels
from pykaito.provisioners.protocol import Check, MachineReason


def check_initialized(node: Object, resources: Mapping[str, str]) -> Check:
    """Check that the node is Ready and has the resources allocatable."""
    name = node["metadata"]["name"]
    status: Mapping[str, Any] = node.get("status", {})
    ready = next(
        (c for c in status.get("conditions", ()) if c["type"] == "Ready"), None
    )
    if ready is None or ready["status"] != "True":
        why = f": {ready['message']}" if ready and ready.get("message") else ""
        return Check(
            ok=False,
            reason=MachineReason.NODE_NOT_READY,
            message=f"node {name!r} is not Ready{why}",
        )
    allocatable = status.get("allocatable", {})
    for resource, wanted in sorted(resources.items()):
        found = allocatable.get(resource, "0")
        if parse_quantity(found) < parse_quantity(wanted):
            return Check(
                ok=False,
                reason=MachineReason.RESOURCE_MISSING,
                message=f"node {name!r} has {found} {resource} allocatable, {wanted} "
                f"wanted; {remedy(resource, found, made=MACHINE in labels(node))}",
            )
    return Check(
        ok=True, reason=MachineReason.INITIALIZED, message=f"node {name!r} is Ready"
    )


def remedy(resource: str, found: str, *, made: bool) -> str:
    """Say what to do about a node that has too little of a resource.

    ``made``: whether the node was made for a Machine, of its instance type.
    """
    another = (
        "use a larger instance type"
        if made
        else "name a larger node in resource.preferredNodes"
    )
    if resource in {"cpu", "memory"}:
        return another
    if "/mig-" in resource:
        return (
            "check that its GPUs are cut into such slices and that the device plugin "
            "offers them by name (MIG strategy mixed)"
        )
    if found != "0":
        return another.replace("larger node", "node with more of them")
    return (
        "check that the device plugin runs on it, or serve a small model without GPUs "
        "by the Workspace's annotation kaito.sh/accelerator: cpu"
    )
