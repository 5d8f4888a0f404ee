"""Who makes the nodes of a Workspace, as far as it and a default tell: pure."""

from pykaito.api import labels
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.provisioners.names import PREFERRED_NODES
from pykaito.runtime.presets.plan import PlanError, PlanReason


def maker_of(workspace: Workspace, default: str) -> str | None:
    """Return who makes what nodes a Workspace lacks; None where nobody does.

    Args:
        workspace: its spec and annotations.
        default: the provisioner of Workspaces that name none.

    Raises:
        PlanError: it names one that makes nodes, and no type of which they are.
    """
    named = workspace.metadata.annotations.get(labels.PROVISIONER)
    if (named or default) == PREFERRED_NODES:
        return None
    if workspace.resource.instance_type:
        return named or default
    if named:
        raise PlanError(
            PlanReason.SPEC_INVALID,
            f"resource.instanceType: found none; {named!r} makes nodes of the type "
            "that it names",
        )
    return None
