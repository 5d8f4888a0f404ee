"""Prepared nodes: they exist already, so nothing is launched or deleted.

A Machine of this provisioner names its node. It is launched as soon as it is
wanted, registered when that node exists and carries the labels asked for, and
initialized when the node is Ready with the resources allocatable. Release does
nothing to the node: its labels and its life are its owner's.
"""

from collections.abc import Iterable, Mapping, Sequence

from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.objects import NODES, Key, Object, key
from pykaito.provisioners.names import PREFERRED_NODES
from pykaito.provisioners.node_checks import check_initialized
from pykaito.provisioners.protocol import (
    Check,
    Context,
    MachineReason,
    Observation,
    Provisioner,
    Watch,
)

NAME = PREFERRED_NODES
NODE_INDEX = "nodeName"


class PreferredNodes(Provisioner):
    """Observes nodes that someone else prepared."""

    name = NAME
    makes_nodes = False

    def __init__(self, context: Context) -> None:
        self._nodes = context.cache.informer(NODES)
        self._machines = context.machines
        self._machines.store.add_index(NODE_INDEX, machine_node)

    @property
    def watches(self) -> Sequence[Watch]:
        """Nodes wake the Machines that name them."""
        return (Watch(self._nodes, self._machines_on),)

    def _machines_on(self, node: Object) -> Iterable[Key]:
        name = node["metadata"]["name"]
        return [key(m) for m in self._machines.store.by_index(NODE_INDEX, name)]

    async def launch(self, machine: Machine) -> None:
        """Do nothing: the node is there, or its owner has to bring it."""

    async def observe(self, machine: Machine) -> Observation:
        """Compare the node, as cached, with what the Machine asks for."""
        node = self._nodes.store.get(Key("", machine.spec.node_name or ""))
        return observe(machine, node)

    async def release(self, machine: Machine) -> bool:
        """Leave the node as it is."""
        del machine
        return True


def machine_node(machine: Object) -> Iterable[str]:
    """Index Machines by the node that they name."""
    name = machine["spec"].get("nodeName")
    return [name] if name else []


def observe(machine: Machine, node: Object | None) -> Observation:
    """Say how far a prepared node is from serving the Machine."""
    spec = machine.spec
    launched = Check(
        ok=True, reason=MachineReason.PREPARED, message="the node is prepared"
    )
    registered = check_registered(spec.node_name or "", spec.match_labels, node)
    if node is None or not registered.ok:
        waiting = Check(
            ok=False, reason=MachineReason.NOT_REGISTERED, message=registered.message
        )
        return Observation(launched, registered, waiting)
    return Observation(
        launched,
        registered,
        check_initialized(node, spec.resources),
        node_name=node["metadata"]["name"],
        provider_id=node.get("spec", {}).get("providerID", ""),
    )


def check_registered(
    name: str, labels: Mapping[str, str], node: Object | None
) -> Check:
    """Check that the node exists and carries the labels."""
    if node is None:
        return Check(
            ok=False,
            reason=MachineReason.NODE_NOT_FOUND,
            message=f"node {name!r} does not exist; name one of `kubectl get nodes` "
            "in resource.preferredNodes",
        )
    found: Mapping[str, str] = node["metadata"].get("labels") or {}
    for label, value in sorted(labels.items()):
        if found.get(label) == value:
            continue
        has = f"has {label}={found[label]}" if label in found else f"lacks {label}"
        return Check(
            ok=False,
            reason=MachineReason.LABEL_MISMATCH,
            message=f"node {name!r} {has}, resource.labelSelector asks for "
            f"{label}={value}; run: kubectl label node {name} {label}={value}"
            + (" --overwrite" if label in found else ""),
        )
    return Check(
        ok=True, reason=MachineReason.REGISTERED, message=f"node {name!r} exists"
    )
