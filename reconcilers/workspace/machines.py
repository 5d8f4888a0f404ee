"""The Machine that holds a node for a Workspace: a pure function."""

import hashlib
from typing import Any

from pykaito.api import labels
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object, controller_reference
from pykaito.provisioners.names import PREFERRED_NODES
from pykaito.reconcilers.resources import MACHINES
from pykaito.runtime.presets.plan import Plan


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
    return {
        "apiVersion": MACHINES.api_version,
        "kind": MACHINES.kind,
        "metadata": {
            "name": machine_name(workspace.metadata.name, node),
            "namespace": workspace.metadata.namespace,
            "labels": {labels.WORKSPACE: workspace.metadata.name},
            "finalizers": [labels.MACHINE_FINALIZER],
            "ownerReferences": [controller_reference(owner)],
        },
        "spec": {
            "provisioner": PREFERRED_NODES,
            "nodeName": node,
            "matchLabels": workspace.resource.label_selector.as_labels(),
            "resources": planned.node_resources,
        },
    }
