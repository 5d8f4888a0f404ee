"""The objects that the operator would apply for a plan: pure."""

from collections.abc import Sequence
from typing import Any

from pykaito.commands.check import Checked
from pykaito.reconcilers.inference import manifests
from pykaito.reconcilers.workspace.machines import machine_object


def objects_of(
    checked: Checked, nodes: Sequence[str], transformers_image: str
) -> list[dict[str, Any]]:
    """Return the Machines, the Service and the Deployment that would be applied.

    They lack the owner reference, which needs the uid that the API server gives
    the Workspace.
    """
    workspace, planned = checked.workspace, checked.plan
    owner = {**checked.obj, "metadata": {**checked.obj["metadata"], "uid": ""}}
    owner["metadata"]["name"] = workspace.metadata.name
    objects = [
        *(machine_object(owner, workspace, planned, node) for node in nodes),
        manifests.service(workspace, owner),
        manifests.deployment(
            workspace,
            owner,
            planned,
            nodes=nodes,
            runtime_image=transformers_image,
            config=checked.config,
        ),
    ]
    for made in objects:
        del made["metadata"]["ownerReferences"]
    return objects
