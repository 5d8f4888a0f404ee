"""What says whose an object is, on all that a Workspace owns."""

from typing import Any

from pykaito.api import labels
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object, controller_reference


def metadata(workspace: Workspace, owner: Object) -> dict[str, Any]:
    """Return the metadata of the Workspace's child of the same name.

    Args:
        workspace: the parent.
        owner: the same as the API server has it, with its uid.
    """
    return {
        "name": workspace.metadata.name,
        "namespace": workspace.metadata.namespace,
        "labels": selector(workspace),
        "ownerReferences": [controller_reference(owner)],
    }


def selector(workspace: Workspace) -> dict[str, str]:
    """Return the labels of the Workspace's pods."""
    return {labels.WORKSPACE: workspace.metadata.name}
