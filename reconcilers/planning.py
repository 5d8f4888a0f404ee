"""The nodes a Workspace takes and the plan for them: one place, so all agree.

The plan depends on what computes on the nodes. Once there are Machines, these say which
nodes that are, whoever asks; before, the nodes that would be chosen do.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.objects import Object, name
from pykaito.reconcilers.gpu_facts import offers
from pykaito.reconcilers.node_facts import node_facts
from pykaito.reconcilers.workspace.nodes import (
    NOTHING,
    Needs,
    Selection,
    select_nodes,
)
from pykaito.reconcilers.workspace.slots import Allotment, allot
from pykaito.runtime.presets.plan import (
    NOTHING_KNOWN,
    Known,
    NodeFacts,
    Plan,
    PlanError,
    plan,
)


def choose(
    workspace: Workspace,
    nodes: Sequence[Object],
    *,
    assigned: Collection[str] = (),
    lost: Collection[str] = (),
    claimed: Mapping[str, Sequence[Mapping[str, str]]] = NOTHING,
    known: Known = NOTHING_KNOWN,
) -> tuple[Selection, Plan]:
    """Return the prepared nodes for a Workspace and what serves it there.

    Args:
        workspace: its spec.
        nodes: all nodes of the cluster.
        assigned: names of those that the Workspace has.
        lost: names of those that were away for too long.
        claimed: what other Workspaces want of a node, by its name.
        known: what was looked up beside the spec.

    Raises:
        PlanError: nothing can serve it, and why.
    """
    selection = select_nodes(
        workspace,
        nodes,
        count=workspace.resource.count,
        needs=needs_of(workspace, known),
        assigned=assigned,
        lost=lost,
        claimed=claimed,
    )
    return selection, plan_on(workspace, selection.nodes, nodes, known)


@dataclass(frozen=True, slots=True)
class Made:
    """What was made for a Workspace already."""

    #: Slots that there are, and whether each is ready.
    slots: Mapping[int, bool]
    #: Slots on their way out, which cannot be used yet.
    leaving: Sequence[int]
    #: The nodes of those slots that have one.
    nodes: Mapping[int, str]


def allocate(
    workspace: Workspace,
    nodes: Sequence[Object],
    made: Made,
    *,
    assigned: Collection[str] = (),
    lost: Collection[str] = (),
    claimed: Mapping[str, Sequence[Mapping[str, str]]] = NOTHING,
    known: Known = NOTHING_KNOWN,
) -> tuple[Allotment, Plan]:
    """Return where the nodes of a Workspace come from if those it lacks are made.

    Args:
        workspace: its spec.
        nodes: all nodes of the cluster.
        made: what was made for it.
        assigned: names of the prepared nodes that it has.
        lost: names of prepared nodes that were away for too long.
        claimed: what other Workspaces want of a node, by its name.
        known: what was looked up beside the spec.

    Raises:
        PlanError: nothing can serve it, and why.
    """
    count = workspace.resource.count
    selection = select_nodes(
        workspace,
        nodes,
        count=count,
        needs=needs_of(workspace, known),
        assigned=assigned,
        lost=lost,
        claimed=claimed,
        only_fit=True,
    )
    allotment = allot(
        count,
        held=[node for node in selection.nodes if node in selection.held],
        free=[node for node in selection.nodes if node not in selection.held],
        made=made.slots,
        leaving=made.leaving,
    )
    there = [made.nodes[slot] for slot in allotment.kept if slot in made.nodes]
    chosen = (*allotment.prepared, *there)
    planned = plan_on(
        workspace, chosen, nodes, known, to_come=len(there) < len(allotment.slots)
    )
    return allotment, planned


def plan_on(
    workspace: Workspace,
    chosen: Collection[str],
    nodes: Sequence[Object],
    known: Known = NOTHING_KNOWN,
    *,
    to_come: bool = False,
) -> Plan:
    """Return what serves the Workspace on the chosen of all nodes.

    Without a node the instance type says what computes, as far as it is known. So it
    does where some are ``to_come``.

    Raises:
        PlanError: nothing can, and why.
    """
    there = [node for node in nodes if name(node) in chosen]
    facts = node_facts(workspace, there, to_come=to_come)
    return plan(workspace, facts, offers(workspace.resource.instance_type), known)


def needs_of(workspace: Workspace, known: Known) -> Needs:
    """Return what a replica takes of a node, by what computes there."""

    @cache
    def of(facts: NodeFacts | None) -> Mapping[str, str] | None:
        try:
            return plan(workspace, facts, known=known).node_resources
        except PlanError:
            return None

    return lambda node: of(node_facts(workspace, [node]))
