"""What a Workspace's spec says itself of whether it can be served.

The webhook asks before an object is stored. The reconcilers ask again, because an
object may have been stored while the webhook was away, or by an older CRD: then
the same sentence is a condition, and nothing is made of the spec.
"""

from collections.abc import Iterable

from pykaito.api.labels import INSTANCE_TYPE
from pykaito.api.parse import parse
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.api.validate import normalized, violations
from pykaito.operator.objects import Object, labels
from pykaito.reconcilers.instance_types import check_instance_type
from pykaito.runtime.presets.plan import PlanError, PlanReason


def checked(live: Object, nodes: Iterable[Object]) -> tuple[Workspace, tuple[str, ...]]:
    """Return a stored Workspace, and what is legal in it and likely not meant.

    Args:
        live: the object as it is stored.
        nodes: all nodes of the cluster.

    Raises:
        PlanError: its spec breaks a rule of its CRD, or asks for nodes that do
            not exist; the message names every fault.
    """
    if faults := violations(live):
        raise PlanError(PlanReason.SPEC_INVALID, "; ".join(map(str, faults)))
    workspace = parse(Workspace, normalized(live))
    known = instance_types(nodes)
    if "targetNodeCount" in (live.get("status") or {}):
        # It was planned before, and its type cannot be changed: it is not misspelt,
        # and a node that went away may come back.
        known |= {workspace.resource.instance_type or ""}
    return workspace, check_instance_type(workspace, known)


def instance_types(nodes: Iterable[Object]) -> frozenset[str]:
    """Return the instance types that the nodes carry as a label."""
    return frozenset(
        kind for node in nodes if (kind := labels(node).get(INSTANCE_TYPE))
    )
