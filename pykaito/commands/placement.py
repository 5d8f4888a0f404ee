"""The nodes that a plan is about: prepared ones, and those that would be made: pure."""

from collections.abc import Sequence
from typing import Any

from pykaito.commands.check import Checked
from pykaito.reconcilers.workspace.machines import machine_object, made_machine_object
from pykaito.reconcilers.workspace.slots import allot


def named_nodes(prepared: Sequence[str], count: int) -> tuple[str, ...]:
    """Return the prepared nodes, and made-up names for those that are not known yet."""
    made_up = (f"node-{number}" for number in range(len(prepared) + 1, count + 1))
    return (*prepared, *made_up)


def owner_of(checked: Checked) -> dict[str, Any]:
    """Return the Workspace as the owner of what is rendered, without a uid."""
    metadata = {**checked.obj["metadata"], "name": checked.workspace.metadata.name}
    return {**checked.obj, "metadata": {**metadata, "uid": ""}}


def machines_of(checked: Checked, prepared: Sequence[str]) -> list[dict[str, Any]]:
    """Return the Machines that would be applied.

    They lack the owner reference, which needs the uid that the API server gives the
    Workspace.

    Args:
        checked: the Workspace and its plan.
        prepared: nodes that there are; what is missing is made, if anybody does.
    """
    workspace, planned, owner = checked.workspace, checked.plan, owner_of(checked)
    if checked.maker is None:
        nodes = named_nodes(prepared, planned.nodes)
        machines = [machine_object(owner, workspace, planned, node) for node in nodes]
    else:
        allotment = allot(planned.nodes, held=prepared, free=(), made={})
        machines = [
            *(
                machine_object(owner, workspace, planned, node)
                for node in allotment.prepared
            ),
            *(
                made_machine_object(owner, workspace, planned, slot, checked.maker)
                for slot in allotment.new
            ),
        ]
    for machine in machines:
        del machine["metadata"]["ownerReferences"]
    return machines
