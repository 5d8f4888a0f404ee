"""The Machines of a Workspace: pure functions."""

import hashlib
from typing import Any

from pykaito.api import labels
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object, controller_reference
from pykaito.provisioners.names import PREFERRED_NODES
from pykaito.reconcilers.resources import MACHINES
from pykaito.reconcilers.workspace.node_options import node_options
from pykaito.runtime.presets.gpu import is_accelerator
from pykaito.runtime.presets.plan import Plan

#: Disk of a node that is made for a pod template, of which nothing is known, in GiB.
CUSTOM_DISK_GIB = 256

#: Keeps pods that need no GPUs off nodes that are made for their GPUs.
GPU_TAINT = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}


def machine_name(workspace: str, node: str) -> str:
    """Return the name of the Machine that holds a node for a Workspace.

    It depends on nothing but the two names, so that a repeated reconcile applies
    the same Machine and never a second one.
    """
    digest = hashlib.sha256(node.encode()).hexdigest()
    return f"{workspace}-{digest[:8]}"


def machine_object(
    owner: Object, workspace: Workspace, planned: Plan, node: str
) -> dict[str, Any]:
    """Return the Machine that holds a prepared node for the Workspace."""
    return _machine(
        owner,
        workspace,
        machine_name(workspace.metadata.name, node),
        {
            "provisioner": PREFERRED_NODES,
            "nodeName": node,
            "matchLabels": workspace.resource.label_selector.as_labels(),
            "resources": planned.node_resources,
        },
    )


def made_machine_object(
    owner: Object, workspace: Workspace, planned: Plan, slot: int, provisioner: str
) -> dict[str, Any]:
    """Return the Machine that has a node made for the Workspace."""
    options, resources = node_options(workspace), planned.node_resources
    spec: dict[str, Any] = {
        "provisioner": provisioner,
        "instanceType": workspace.resource.instance_type,
        "resources": resources,
        "labels": {
            **workspace.resource.label_selector.as_labels(),
            labels.WORKSPACE: workspace.metadata.name,
            labels.WORKSPACE_NAMESPACE: workspace.metadata.namespace,
        },
        "taints": [GPU_TAINT] if any(map(is_accelerator, resources)) else [],
        "storage": f"{disk_gib(planned)}Gi",
        "capacityType": str(options.capacity_type),
    }
    if options.zones:
        spec["zones"] = list(options.zones)
    if options.image_family:
        spec["imageFamily"] = options.image_family
    if options.node_class:
        spec["nodeClass"] = options.node_class
    return _machine(owner, workspace, f"{workspace.metadata.name}-{slot}", spec)


def disk_gib(planned: Plan) -> int:
    """Return the disk that a node needs for images and weights, in GiB."""
    if planned.server is None:
        return CUSTOM_DISK_GIB
    return planned.server.preset.disk_gib


def node_of(machine: Object) -> str:
    """Return the node of a Machine, empty while it has none."""
    made = (machine.get("status") or {}).get("nodeName")
    return str(machine["spec"].get("nodeName") or made or "")


def is_made(machine: Object) -> bool:
    """Whether a Machine has its node made, so that somebody pays for it."""
    return not machine["spec"].get("nodeName")


def _machine(
    owner: Object, workspace: Workspace, name: str, spec: dict[str, Any]
) -> dict[str, Any]:
    return {
        "apiVersion": MACHINES.api_version,
        "kind": MACHINES.kind,
        "metadata": {
            "name": name,
            "namespace": workspace.metadata.namespace,
            "labels": {labels.WORKSPACE: workspace.metadata.name},
            "finalizers": [labels.MACHINE_FINALIZER],
            "ownerReferences": [controller_reference(owner)],
        },
        "spec": spec,
    }
