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
    """Return the Machines and the workload's objects that would be applied.

    They lack the owner reference, which needs the uid that the API server gives
    the Workspace.
    """
    workspace, planned, owner = checked.workspace, checked.plan, owner_of(checked)
    deployment = manifests.deployment(
        workspace,
        owner,
        planned,
        nodes=named_nodes(prepared, planned.nodes),
        images=images,
        config=checked.config,
    )
    workload = [manifests.service(workspace, owner)]
    if manifests.brings_adapters(deployment):
        workload.append(manifests.adapter_list(workspace, owner))
    workload.append(deployment)
    for made in workload:
        del made["metadata"]["ownerReferences"]
    return [*machines_of(checked, prepared), *workload]
