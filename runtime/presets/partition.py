"""Which of a node's GPUs a Workspace may use."""

import re
from dataclasses import dataclass
from functools import cache
from typing import get_args

from pykaito.api.v1beta1.resource import MigProfile, Partition, PartitionMode
from pykaito.runtime.presets.gpu import GPU_RESOURCE, MIB, GpuFacts

_PROFILE = re.compile(r"[1-7]g[.]([0-9]+)gb")


@dataclass(frozen=True, slots=True)
class Part:
    """All GPUs of a node, some of them, or a slice of one."""

    #: The field that chose it, for messages.
    field: str
    #: What a pod requests.
    resource: str
    #: The node's GPUs, or the slice; None when nothing is known of them.
    gpu: GpuFacts | None
    #: How many of them to use; None for as many as are needed.
    gpus: int | None = None

    @property
    def is_slice(self) -> bool:
        """Whether it is a slice of a GPU."""
        return "/mig-" in self.resource

    def __str__(self) -> str:
        if self.gpu is None:
            return "a node"
        if self.is_slice:
            return f"a slice {self.gpu.name}"
        return f"{self.gpus} of {self.gpu}" if self.gpus else str(self.gpu)


def part_of(partition: Partition | None, gpu: GpuFacts | None) -> Part:
    """Return what a Workspace may use of a node with these GPUs."""
    whole = gpu.resource if gpu else GPU_RESOURCE
    match partition:
        case Partition(mode=PartitionMode.MIG, profile=str(profile)):
            resource = f"nvidia.com/mig-{profile}"
            return Part("resource.partition.profile", resource, slice_of(profile), 1)
        case Partition(mode=PartitionMode.ACCELERATOR, count=int(count)):
            return Part("resource.partition.count", whole, gpu, count)
        case _:
            return Part("inference.preset.name", whole, gpu)


def slice_of(profile: str) -> GpuFacts:
    """Return a slice as a GPU; its memory is in the profile's name, in GB."""
    found = _PROFILE.fullmatch(profile)
    if found is None:
        raise ValueError(f"{profile!r} is no MIG profile; write it as 1g.10gb")
    return GpuFacts(profile, count=1, memory_mib=int(found[1]) * 10**9 // MIB)


@cache
def slices() -> tuple[GpuFacts, ...]:
    """Return every known slice, the smallest first."""
    known = (slice_of(profile) for profile in get_args(MigProfile))
    return tuple(sorted(known, key=lambda gpu: (gpu.memory_mib, gpu.name)))
