"""What is known of what computes on the nodes that a Workspace gets."""

from collections.abc import Iterable, Mapping

from pykaito.api.quantity import parse_quantity
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object, name
from pykaito.reconcilers.gpu_facts import gpu_facts
from pykaito.runtime.presets.annotations import accelerator
from pykaito.runtime.presets.cpu import CpuFacts, weakest
from pykaito.runtime.presets.gpu import MIB
from pykaito.runtime.presets.plan import NodeFacts

#: Memory is counted in so many MiB: a node that comes back from a restart with a
#: little less of it is the same to a plan, and its pods stay as they are.
_STEP_MIB = 256


def node_facts(
    workspace: Workspace, nodes: Iterable[Object], *, to_come: bool = False
) -> NodeFacts | None:
    """Return what computes on each of the nodes, None when nothing is known.

    ``to_come``: there will be others as well, of the Workspace's instance type.
    """
    if accelerator(workspace) == "gpu":
        return gpu_facts(workspace, nodes, to_come=to_come)
    return weakest([facts for node in nodes if (facts := cpus_of_node(node))])


def cpus_of_node(node: Object) -> CpuFacts | None:
    """Return what pods can have of a node's CPUs and memory; None if it tells not."""
    allocatable: Mapping[str, str] = node.get("status", {}).get("allocatable", {})
    try:
        cores = parse_quantity(allocatable["cpu"])
        memory_mib = int(parse_quantity(allocatable["memory"]) / MIB)
    except (KeyError, ValueError):
        return None
    return CpuFacts(
        name=f"node {name(node)}",
        millicores=int(cores * 1000),
        memory_mib=memory_mib - memory_mib % _STEP_MIB,
    )
