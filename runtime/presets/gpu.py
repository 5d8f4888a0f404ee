"""What a plan needs to know of the GPUs it is made for."""

import re
from collections.abc import Collection
from dataclasses import dataclass

MIB = 2**20
GIB = 2**30

#: What pods request of a node to get its GPUs.
GPU_RESOURCE = "nvidia.com/gpu"
AMD_RESOURCE = "amd.com/gpu"
#: By the driver in the kernel, the newer one first.
INTEL_RESOURCES = ("gpu.intel.com/xe", "gpu.intel.com/i915")
NEURON_RESOURCE = "aws.amazon.com/neuron"

_VENDORS = {
    "nvidia.com": "NVIDIA",
    "amd.com": "AMD",
    "gpu.intel.com": "Intel",
    "aws.amazon.com": "AWS",
}

_ACCELERATORS = re.compile(
    r"nvidia[.]com/(gpu|mig-.+)|amd[.]com/gpu|gpu[.]intel[.]com/.+"
)


def is_accelerator(resource: str) -> bool:
    """Whether a node's resource is what a device plugin offers to compute on."""
    return _ACCELERATORS.fullmatch(resource) is not None


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """The GPUs of one node, all alike."""

    #: What people call such a node or GPU, for messages.
    name: str
    #: GPUs of a node.
    count: int
    #: Memory of one GPU in MiB, as nvidia-smi reports it; 0 where that is not known of
    #: GPUs that no runtime computes on.
    memory_mib: int
    #: Whether it computes in bfloat16: compute capability 8.0 and later.
    bfloat16: bool = True
    #: What pods request of a node to get them.
    resource: str = GPU_RESOURCE

    @property
    def vendor(self) -> str:
        """Whose they are, as people write it."""
        return _VENDORS[self.resource.partition("/")[0]]

    @property
    def memory(self) -> int:
        """Memory of one GPU in bytes."""
        return self.memory_mib * MIB

    def __str__(self) -> str:
        return f"{self.count} x {self.memory / GIB:.1f} GiB ({self.name})"


def weakest(facts: Collection[GpuFacts]) -> GpuFacts | None:
    """Return what every one of several nodes has; None for no nodes.

    Replicas are alike, so that they are sized for the least of their nodes. Nodes with
    GPUs that no runtime computes on are less than any other.
    """
    if not facts:
        return None
    least = min(
        facts,
        key=lambda gpu: (
            gpu.resource == GPU_RESOURCE,
            gpu.memory_mib,
            gpu.count,
            gpu.name,
        ),
    )
    return GpuFacts(
        name=least.name,
        count=min(gpu.count for gpu in facts),
        memory_mib=least.memory_mib,
        bfloat16=all(gpu.bfloat16 for gpu in facts),
        resource=least.resource,
    )
