"""The nodes a Workspace takes and the plan for them: one place, so all agree.

The plan depends on what computes on the nodes. Once there are Machines, these say which
nodes that are, whoever asks; before, the nodes that would be chosen do.
"""

from collections.abc import Collection, Mapping, Sequence
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
    claimed: Mapping[str, Sequence[Mapping[str, str]]] = NOTHING,
    known: Known = NOTHING_KNOWN,
) -> tuple[Selection, Plan]:
    """Return the nodes for a Workspace and what serves it there.

    Args:
        workspace: its spec.
        nodes: all nodes of the cluster.
        assigned: names of those that the Workspace has.
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
        claimed=claimed,
    )
    return selection, plan_on(workspace, selection.nodes, nodes, known)


def plan_on(
    workspace: Workspace,
    chosen: Collection[str],
    nodes: Sequence[Object],
    known: Known = NOTHING_KNOWN,
) -> Plan:
    """Return what serves the Workspace on the chosen of all nodes.

    Without a node the instance type says what computes, as far as it is known.

    Raises:
        PlanError: nothing can, and why.
    """
    facts = node_facts(workspace, [node for node in nodes if name(node) in chosen])
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
