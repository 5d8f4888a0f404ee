"""What is known of the GPUs that a Workspace gets.

It comes from the labels that GPU feature discovery sets on a node, else from the
node's instance type, else from the one in the spec.
"""

from collections.abc import Iterable
from functools import cache

from pykaito.api.labels import INSTANCE_TYPE
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object, labels
from pykaito.provisioners.skus import Sku, UnknownSkuError, find_sku, skus
from pykaito.runtime.presets.gpu import GpuFacts, weakest

GPU_COUNT = "nvidia.com/gpu.count"
GPU_MEMORY = "nvidia.com/gpu.memory"
GPU_PRODUCT = "nvidia.com/gpu.product"
GPU_CAPABILITY = "nvidia.com/gpu.compute.major"

#: The first major compute capability with bfloat16.
_BFLOAT16_SINCE = 8


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
    """Return the GPUs of a node, None when neither labels nor type tell."""
    found = labels(node)
    count, memory = found.get(GPU_COUNT, ""), found.get(GPU_MEMORY, "")
    if not (_positive(count) and _positive(memory)):
        return facts_of_type(found.get(INSTANCE_TYPE))
    product = found.get(GPU_PRODUCT, "")
    capability = found.get(GPU_CAPABILITY, "")
    return GpuFacts(
        name=product or "GPU",
        count=int(count),
        memory_mib=int(memory),
        bfloat16=int(capability) >= _BFLOAT16_SINCE
        if _positive(capability)
        else not _is_early(product),
    )


def facts_of_type(instance_type: str | None) -> GpuFacts | None:
    """Return the GPUs of an instance type, None for one that has or tells none."""
    try:
        sku = find_sku(instance_type or "")
    except UnknownSkuError:
        return None
    return facts_of_sku(sku) if sku.gpu.vendor == "nvidia" else None


def facts_of_sku(sku: Sku) -> GpuFacts:
    """Return the GPUs of an instance type as a plan wants to know them."""
    return GpuFacts(sku.name, sku.count, sku.gpu.memory_mib, sku.gpu.bfloat16)


def offers(instance_type: str | None) -> list[GpuFacts]:
    """Return what to propose instead of an instance type, the smallest first.

    They are of the same cloud, or of all where the cloud is not known.
    """
    known = skus().get((instance_type or "").lower())
    return sorted(
        (
            facts_of_sku(sku)
            for sku in skus().values()
            if sku.gpu.vendor == "nvidia"
            and not sku.retired
            and (known is None or sku.cloud == known.cloud)
        ),
        key=lambda gpu: (gpu.count * gpu.memory_mib, gpu.count, gpu.name),
    )


def alternatives(instance_type: str | None, most: int = 2) -> list[str]:
    """Return instance types with as much GPU memory, the nearest first.

    They are of the same cloud; none where the instance type is not known.
    """
    known = skus().get((instance_type or "").lower())
    if known is None:
        return []
    memory = known.count * known.gpu.memory_mib
    enough = [
        gpu.name
        for gpu in offers(instance_type)
        if gpu.count * gpu.memory_mib >= memory and gpu.name != known.name
    ]
    return enough[:most]


def _positive(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def _is_early(product: str) -> bool:
    """Whether a product's name, such as Tesla-T4, is of a GPU without bfloat16."""
    return not _early_models().isdisjoint(product.split("-"))


@cache
def _early_models() -> frozenset[str]:
    return frozenset(
        sku.model.partition("-")[0] for sku in skus().values() if not sku.gpu.bfloat16
    )
