"""What is known of the GPUs that a Workspace gets.

It comes from the labels and the resources of a node, else from the node's instance
type, else from the one in the spec.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pykaito.api.labels import INSTANCE_TYPE
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object, labels, name
from pykaito.provisioners.skus import Sku, UnknownSkuError, find_sku, sold_beside
from pykaito.reconcilers.node_gpus import amd, intel, nvidia, offered
from pykaito.runtime.presets.gpu import (
    AMD_RESOURCE,
    GPU_RESOURCE,
    NEURON_RESOURCE,
    GpuFacts,
    weakest,
)

#: What pods request of a node to get its accelerators, by the vendor in the tables.
RESOURCES: Mapping[str, str] = {
    "nvidia": GPU_RESOURCE,
    "amd": AMD_RESOURCE,
    "aws": NEURON_RESOURCE,
}


def gpu_facts(
    workspace: Workspace, nodes: Iterable[Object], *, to_come: bool = False
) -> GpuFacts | None:
    """Return the GPUs that each of the nodes has, None when nothing is known.

    Args:
        workspace: says of which type nodes are that are made.
        nodes: those that there are.
        to_come: whether there will be others, of that type.
    """
    known = [facts for node in nodes if (facts := facts_of_node(node))]
    of_type = facts_of_type(workspace.resource.instance_type)
    if of_type and (to_come or not known):
        known.append(of_type)
    return weakest(known)


def facts_of_node(node: Object) -> GpuFacts | None:
    """Return the GPUs of a node, None when neither it nor its type tells.

    Of several vendors' GPUs those of NVIDIA count, since runtimes compute on them: a
    node commonly has an Intel GPU beside, in its processor.
    """
    if told := nvidia(node):
        return told
    of_type = _of_type(labels(node).get(INSTANCE_TYPE))
    if of_type and of_type.resource == GPU_RESOURCE:
        return of_type
    if offered(node, GPU_RESOURCE):
        return None
    if told := amd(node) or intel(node):
        return told
    return of_type and replace(of_type, name=f"{of_type.name}, node {name(node)}")


def facts_of_type(instance_type: str | None) -> GpuFacts | None:
    """Return the GPUs of an instance type, None for one without any that is served.

    What is of another vendor is refused by its type (`instance_types`), unless its
    nodes may be of any type.
    """
    found = _of_type(instance_type)
    return found if found and found.resource == GPU_RESOURCE else None


def _of_type(instance_type: str | None) -> GpuFacts | None:
    if not instance_type:
        return None
    try:
        return facts_of_sku(find_sku(instance_type))
    except UnknownSkuError:
        return None


def facts_of_sku(sku: Sku) -> GpuFacts:
    """Return the GPUs of an instance type as a plan wants to know them."""
    return GpuFacts(
        sku.name,
        sku.count,
        sku.gpu.memory_mib,
        sku.gpu.bfloat16,
        RESOURCES[sku.gpu.vendor],
    )


def offers(instance_type: str | None) -> list[GpuFacts]:
    """Return what to propose instead of an instance type, the smallest first.

    They are of the same cloud, or of all where the cloud is not known.
    """
    return sorted(
        (
            facts_of_sku(sku)
            for sku in sold_beside(instance_type or "")
            if sku.gpu.vendor == "nvidia" and not sku.retired
        ),
        key=lambda gpu: (gpu.count * gpu.memory_mib, gpu.count, gpu.name),
    )


def alternatives(instance_type: str | None, most: int = 2) -> list[str]:
    """Return instance types with as much GPU memory, the nearest first.

    They are of the same cloud; none where the instance type is not known.
    """
    try:
        known = find_sku(instance_type or "")
    except UnknownSkuError:
        return []
    memory = known.count * known.gpu.memory_mib
    enough = [
        gpu.name
        for gpu in offers(instance_type)
        if gpu.count * gpu.memory_mib >= memory and gpu.name != known.name
    ]
    return enough[:most]
