"""What a plan needs to know of a node whose CPUs do the computing."""

from collections.abc import Collection
from dataclasses import dataclass

from pykaito.runtime.presets.gpu import GIB, MIB

#: Share of a node's allocatable memory that a model server plans with; the rest is
#: for the DaemonSets that run on every node.
UTILIZATION_PERCENT = 90


@dataclass(frozen=True, slots=True)
class CpuFacts:
    """CPUs and memory that the pods of one node can have."""

    #: What people call the node, for messages.
    name: str
    #: Thousandths of a CPU.
    millicores: int
    #: Memory in MiB.
    memory_mib: int

    @property
    def memory(self) -> int:
        """Memory in bytes."""
        return self.memory_mib * MIB

    @property
    def usable(self) -> int:
        """Bytes, in whole MiB, that a model server may plan with."""
        return self.memory_mib * UTILIZATION_PERCENT // 100 * MIB

    def __str__(self) -> str:
        return f"{self.memory / GIB:.1f} GiB for pods ({self.name})"


def weakest(facts: Collection[CpuFacts]) -> CpuFacts | None:
    """Return what every one of several nodes has; None for no nodes.

    Replicas are alike, so that they are sized for the least of their nodes.
    """
    if not facts:
        return None
    least = min(facts, key=lambda cpu: (cpu.memory_mib, cpu.millicores, cpu.name))
    return CpuFacts(
        name=least.name,
        millicores=min(cpu.millicores for cpu in facts),
        memory_mib=least.memory_mib,
    )
