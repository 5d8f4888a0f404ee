"""Which prepared nodes a Workspace takes."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pykaito.api.labels import INSTANCE_TYPE, MACHINE
from pykaito.api.quantity import parse_quantity
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object, labels, name
from pykaito.provisioners.node_checks import check_initialized
from pykaito.runtime.presets.gpu import is_accelerator

Needs = Callable[[Object], Mapping[str, str] | None]
"""What a replica takes of a node; None where the model does not fit it."""

NOTHING: Mapping[str, Sequence[Mapping[str, str]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen nodes, best first, and how many are missing."""

    nodes: tuple[str, ...]
    missing: int
    #: What a node must be to count, for the message when some are missing.
    wanted: str
    #: Of the chosen, those that are named or in use already.
    held: frozenset[str] = frozenset()


def select_nodes(
    workspace: Workspace,
    nodes: Iterable[Object],
    *,
    count: int,
    needs: Needs,
    assigned: Collection[str] = (),
    lost: Collection[str] = (),
    claimed: Mapping[str, Sequence[Mapping[str, str]]] = NOTHING,
    only_fit: bool = False,
) -> Selection:
    """Choose ``count`` nodes among those that the Workspace names or matches.

    A node qualifies when it carries the selector's labels and is either named in
    ``preferredNodes`` or of the instance type, if one is given. What was made for a
    Machine never does. Nodes that the model fits come first; among them those that are
    not given up as lost, then preferred nodes, then those already in use,
    then those with room beside other Workspaces, then those that could serve now,
    then those whose GPUs would not lie idle, then by name. Named nodes that do not
    qualify come last, so that what they lack is told when they are needed.

    Args:
        workspace: says which nodes qualify.
        nodes: all nodes.
        count: how many are wanted.
        needs: what is wanted of each.
        assigned: names of those that the Workspace has.
        lost: names of those that were away for too long.
        claimed: what other Workspaces want of a node, by its name.
        only_fit: leave out what could not serve now, unless it is in use: another node
            can be made.
    """
    selector = workspace.resource.label_selector.as_labels()
    instance_type = workspace.resource.instance_type
    preferred = workspace.resource.preferred_nodes
    ranked: list[tuple[bool, bool, bool, bool, bool, bool, bool, bool, str]] = []
    seen: set[str] = set()
    for node in nodes:
        node_name, found = name(node), labels(node)
        if MACHINE in found:
            continue
        named = node_name in preferred
        of_type = found.get(INSTANCE_TYPE) == instance_type or not instance_type
        if not named and (not of_type or (preferred and not instance_type)):
            continue
        matches = all(found.get(key) == value for key, value in selector.items())
        if not matches and not named:
            continue
        seen.add(node_name)
        wanted = needs(node)
        resources = wanted or {}
        held = node_name in assigned
        lacks_room = crowded(node, resources, claimed.get(node_name, ()))
        serves = can_serve(node, resources)
        unfit = not matches or wanted is None or node_name in lost
        if only_fit and (unfit or (not held and (lacks_room or not serves))):
            continue
        ranked.append(
            (
                not matches,
                wanted is None,
                node_name in lost,
                not named,
                not held,
                lacks_room,
                not serves,
                wastes(node, resources),
                node_name,
            )
        )
    absent = [node for node in preferred if node not in seen and not only_fit]
    chosen = [*(entry[-1] for entry in sorted(ranked)), *absent][:count]
    return Selection(
        nodes=tuple(chosen),
        missing=count - len(chosen),
        wanted=describe(selector, instance_type, preferred),
        held=frozenset(n for n in chosen if n in assigned or n in preferred),
    )


def can_serve(node: Object, resources: Mapping[str, str]) -> bool:
    """Whether the node is Ready, takes pods and offers the resources."""
    if node.get("spec", {}).get("unschedulable"):
        return False
    return check_initialized(node, resources).ok


def crowded(
    node: Object, resources: Mapping[str, str], claims: Sequence[Mapping[str, str]]
) -> bool:
    """Whether what others want of the node leaves too little of it."""
    allocatable = node.get("status", {}).get("allocatable", {})
    return bool(claims) and any(
        parse_quantity(wanted)
        + sum(parse_quantity(claim.get(resource, "0")) for claim in claims)
        > parse_quantity(allocatable.get(resource, "0"))
        for resource, wanted in resources.items()
    )


def wastes(node: Object, resources: Mapping[str, str]) -> bool:
    """Whether the node has GPUs that what is wanted of it leaves unused."""
    allocatable = node.get("status", {}).get("allocatable", {})
    gpus = {r for r, found in allocatable.items() if is_accelerator(r) and found != "0"}
    return bool(gpus) and gpus.isdisjoint(resources)


def describe(
    selector: dict[str, str], instance_type: str | None, preferred: Collection[str]
) -> str:
    """Say in words which nodes qualify."""
    pairs = ",".join(f"{k}={v}" for k, v in sorted(selector.items()))
    parts = [f"labels {pairs}" if pairs else "any labels"]
    if instance_type:
        parts.append(f"instance type {instance_type} ({INSTANCE_TYPE})")
    if preferred:
        parts.append(f"or a name in resource.preferredNodes ({', '.join(preferred)})")
    return ", ".join(parts)
