"""The objects that the operator would apply for a plan: pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from pykaito.commands.check import Checked
from pykaito.commands.placement import machines_of, named_nodes, owner_of
from pykaito.reconcilers.inference import manifests
from pykaito.runtime.presets.runtimes import Runtime


def objects_of(
    checked: Checked, prepared: Sequence[str], images: Mapping[Runtime, str]
) -> list[dict[str, Any]]:
    """Return the Machines, the Service and the Deployment that would be applied.

    They lack the owner reference, which needs the uid that the API server gives
    the Workspace.
    """
    workspace, planned, owner = checked.workspace, checked.plan, owner_of(checked)
    workload = [
        manifests.service(workspace, owner),
        manifests.deployment(
            workspace,
            owner,
            planned,
            nodes=named_nodes(prepared, planned.nodes),
            images=images,
            config=checked.config,
        ),
    ]
    for made in workload:
        del made["metadata"]["ownerReferences"]
    return [*machines_of(checked, prepared), *workload]
