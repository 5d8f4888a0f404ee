"""What a node tells of its GPUs, by the labels and the resources of their vendor.

The labels are those of NVIDIA's GPU feature discovery, of AMD's node labeller and of
Intel's rules for node feature discovery; the resources are those that the device
plugins of these vendors offer.
"""

import re
from collections.abc import Mapping
from functools import cache

from pykaito.operator.objects import Object, labels, name
from pykaito.provisioners.skus import Gpu, skus
from pykaito.runtime.presets.gpu import (
    AMD_RESOURCE,
    GPU_RESOURCE,
    INTEL_RESOURCES,
    MIB,
    GpuFacts,
)

GPU_COUNT = "nvidia.com/gpu.count"
GPU_MEMORY = "nvidia.com/gpu.memory"
GPU_PRODUCT = "nvidia.com/gpu.product"
GPU_CAPABILITY = "nvidia.com/gpu.compute.major"

INTEL_PRODUCT = "gpu.intel.com/product"
INTEL_COUNT = "gpu.intel.com/device.count"
#: Thousandths of all GPUs, and the bytes that all of them have together.
INTEL_MILLICORES = "gpu.intel.com/millicores"
INTEL_MEMORY = "gpu.intel.com/memory.max"

#: The first major compute capability with bfloat16.
_BFLOAT16_SINCE = 8

#: What a product's name says beside the model and what it is sold in. Any other word
#: makes it something else, such as a slice.
_FORMS = frozenset(
    {"NVIDIA", "Tesla", "PCIE", "PCIe", "SXM2", "SXM3", "SXM4", "SXM5"}
    | {"HBM2", "HBM2e", "HBM3", "HBM3e"}
)

_GIB = re.compile(r"([1-9][0-9]*)G")


def nvidia(node: Object) -> GpuFacts | None:
    """Return the NVIDIA GPUs that a node tells of with their memory, None without."""
    found = labels(node)
    product = found.get(GPU_PRODUCT, "")
    count = _number(found.get(GPU_COUNT)) or offered(node, GPU_RESOURCE)
    memory_mib = _number(found.get(GPU_MEMORY))
    if not memory_mib and (known := _known(product)):
        memory_mib = known.memory_mib
    if not (count and memory_mib):
        return None
    capability = _number(found.get(GPU_CAPABILITY))
    return GpuFacts(
        name=product or "GPU",
        count=count,
        memory_mib=memory_mib,
        bfloat16=capability >= _BFLOAT16_SINCE if capability else not _early(product),
    )


def amd(node: Object) -> GpuFacts | None:
    """Return the AMD GPUs of a node, None where nothing tells of any."""
    sizes = _told_by_amd(node, "vram")
    count = offered(node, AMD_RESOURCE)
    if not count and not sizes:
        return None
    products = _told_by_amd(node, "product-name") or _told_by_amd(node, "device-id")
    gib = [int(size[1]) for told in sizes if (size := _GIB.fullmatch(told))]
    return GpuFacts(
        name=f"{', '.join(sorted(products)) or 'GPU'} of node {name(node)}",
        # Labels tell how many there are only where these differ, or in older releases.
        count=count or sum(sizes.values()) or 1,
        memory_mib=min(gib, default=0) * 1024,
        resource=AMD_RESOURCE,
    )


def intel(node: Object) -> GpuFacts | None:
    """Return the Intel GPUs that a node offers, None where it offers none."""
    offers = {found: offered(node, found) for found in INTEL_RESOURCES}
    resource = next((found for found, count in offers.items() if count), None)
    if resource is None:
        return None
    found = labels(node)
    # Where several containers may share a GPU, more are offered than there are.
    gpus = (
        _number(found.get(INTEL_MILLICORES)) // 1000
        or _number(found.get(INTEL_COUNT))
        or offers[resource]
    )
    return GpuFacts(
        name=f"{found.get(INTEL_PRODUCT) or 'GPU'} of node {name(node)}",
        count=offers[resource],
        memory_mib=_number(found.get(INTEL_MEMORY)) // gpus // MIB,
        resource=resource,
    )


def offered(node: Object, resource: str) -> int:
    """Return how many of a device a node offers, or would if all were well."""
    status = node.get("status") or {}
    amounts = (
        (status.get(kind) or {}).get(resource) for kind in ("allocatable", "capacity")
    )
    return next((number for found in amounts if (number := _number(found))), 0)


def _told_by_amd(node: Object, what: str) -> Mapping[str, int]:
    """Return what AMD's labels tell of a property, and how many GPUs have each.

    Where all are alike a label has it as its value and the number is not known. Where
    they differ, and in older releases, each is a label whose value is the number.
    """
    told: dict[str, int] = {}
    for label, value in labels(node).items():
        domain, _, named = label.partition("/gpu.")
        if domain not in {"amd.com", "beta.amd.com"}:
            continue
        if named == what:
            told.setdefault(value, 0)
        elif named.startswith(f"{what}."):
            told[named.removeprefix(f"{what}.")] = _number(value)
    return told


def _number(text: str | None) -> int:
    """Return a positive whole number, 0 for anything else."""
    text = text or ""
    return int(text) if text.isascii() and text.isdigit() else 0


def _known(product: str) -> Gpu | None:
    """Return the GPU of a product such as NVIDIA-A100-SXM4-80GB, if a table has it."""
    model = frozenset(product.split("-")) - _FORMS
    return _models().get(model)


@cache
def _models() -> Mapping[frozenset[str], Gpu]:
    return {
        frozenset(sku.model.split("-")): sku.gpu
        for sku in skus().values()
        if sku.gpu.vendor == "nvidia"
    }


def _early(product: str) -> bool:
    """Whether a product's name, such as Tesla-T4, is of a GPU without bfloat16."""
    return not _early_models().isdisjoint(product.split("-"))


@cache
def _early_models() -> frozenset[str]:
    return frozenset(
        sku.model.partition("-")[0] for sku in skus().values() if not sku.gpu.bfloat16
    )
