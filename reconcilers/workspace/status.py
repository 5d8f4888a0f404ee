"""The status of a Workspace, folded from what its children show: pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pykaito.api.conditions import (
    MachineCondition,
    NodeReason,
    TuningReason,
    WithheldReason,
    WorkspaceCondition,
    WorkspaceReason,
)
from pykaito.operator.objects import Object, name
from pykaito.provisioners import errors
from pykaito.provisioners.protocol import MachineReason
from pykaito.reconcilers import apply
from pykaito.reconcilers.conditions import Condition, with_help
from pykaito.reconcilers.workspace.machines import is_made, node_of
from pykaito.reconcilers.workspace.nodes import Selection
from pykaito.runtime.presets.plan import Plan, PlanError

#: The types that the workspace reconciler owns. InferenceReady is written by
#: the inference reconciler and only read here.
CONDITIONS = (
    WorkspaceCondition.NODE_CLAIM_READY,
    WorkspaceCondition.NODES_READY,
    WorkspaceCondition.RESOURCE_READY,
    WorkspaceCondition.JOB_STARTED,
    WorkspaceCondition.WORKSPACE_SUCCEEDED,
    WorkspaceCondition.WORKSPACE_DELETING,
    WorkspaceCondition.READY,
    WorkspaceCondition.RECONCILING,
    WorkspaceCondition.STALLED,
)

NO_MATCHING_NODE = "NoMatchingNode"
PROGRESSING = "Progressing"

#: States of a Workspace that was served, or could not be, and not of one on its way.
SERVED_ONCE = frozenset({"Ready", "NotReady"})

#: Reasons of ResourceReady that last until a person acts. A node that is missing, not
#: ready or without its labels may yet come, as autoscalers and plugins work.
HOPELESS = frozenset(
    {
        *apply.HOPELESS,
        *errors.HOPELESS,
        MachineReason.PROVISIONER_NOT_FOUND,
        WithheldReason.NODES_RELEASED,
        WithheldReason.WORKSPACE_MACHINE_LIMIT_EXCEEDED,
    }
)

#: What a node reports when it runs short of something, long before it is not Ready.
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a Workspace is, in the words of its status."""

    state: str
    conditions: tuple[Condition, ...]


def stalled(error: PlanError, *, tuning: bool) -> Progress:
    """Return the status of a spec that nothing can serve as it is."""
    message = with_help(str(error), error.reason)
    conditions = [
        Condition(WorkspaceCondition.RESOURCE_READY, "False", error.reason, message),
        *_not_served(error.reason, message, stalled=True),
    ]
    if tuning:
        conditions.append(
            Condition(
                WorkspaceCondition.JOB_STARTED, "False", TuningReason.FAILED, message
            )
        )
    return Progress("Failed" if tuning else "NotReady", tuple(conditions))


def deleting(machines: Sequence[Object]) -> tuple[Condition, ...]:
    """Say that the Workspace goes away and which Machines it still waits for."""
    message = f"waiting for Machines to give back: {', '.join(map(_held_up, machines))}"
    reason = WorkspaceReason.DELETED
    return (
        Condition(WorkspaceCondition.WORKSPACE_DELETING, "True", reason, message),
        Condition(WorkspaceCondition.READY, "False", reason, message),
    )


def _held_up(machine: Object) -> str:
    condition = ready_condition(machine)
    if condition is None or condition["status"] == "True":
        return name(machine)
    return f"{name(machine)} ({condition['message']})"


def refused(reason: str, message: str) -> Condition:
    """Return ResourceReady where a Machine could not be applied."""
    return Condition(
        WorkspaceCondition.RESOURCE_READY, "False", reason, with_help(message, reason)
    )


def resources(
    machines: Sequence[Object], selection: Selection, count: int
) -> Condition:
    """Return ResourceReady: are all nodes there, and if not, what is wrong."""
    kind = WorkspaceCondition.RESOURCE_READY
    ready = [machine for machine in machines if is_ready(machine)]
    if len(ready) >= count:
        return Condition(
            kind, "True", NodeReason.RESOURCE_SUCCESS, f"{count} of {count} nodes ready"
        )
    so_far = f"{len(ready)} of {count} nodes ready"
    for machine in machines:
        condition = ready_condition(machine)
        if condition is not None and condition["status"] == "False":
            return Condition(
                kind,
                "False",
                condition["reason"],
                f"{so_far}: {condition['message']}",
            )
    if selection.missing:
        message = (
            f"{so_far}: no {'other ' if machines else ''}node qualifies; wanted: "
            f"{selection.wanted}"
        )
        return Condition(
            kind, "False", NO_MATCHING_NODE, with_help(message, NO_MATCHING_NODE)
        )
    return Condition(kind, "False", NodeReason.RESOURCE_NOT_READY, so_far)


def node_claims_ready(machines: Sequence[Object], count: int) -> tuple[Condition, ...]:
    """Return NodeClaimReady: has what is made been launched; none if nothing is."""
    made = [machine for machine in machines if is_made(machine)]
    if not made:
        return ()
    kind = WorkspaceCondition.NODE_CLAIM_READY
    for machine in made:
        launched = _condition(machine, MachineCondition.LAUNCHED)
        if launched is None or launched["status"] != "True":
            reason, message = NodeReason.NODE_CLAIM_NOT_READY, "not asked for yet"
            if launched is not None:
                reason, message = launched["reason"], launched["message"]
            message = f"Machine {name(machine)}: {message}"
            return (Condition(kind, "False", reason, message),)
    told = f"{len(made)} of {count} nodes were made and launched"
    return (Condition(kind, "True", NodeReason.NODE_CLAIMS_READY, told),)


def nodes_ready(
    machines: Sequence[Object], nodes: Mapping[str, Object], count: int
) -> Condition:
    """Return NodesReady: are the nodes Ready, and offer what was asked for.

    Args:
        machines: the Workspace's.
        nodes: by their names.
        count: how many are wanted.
    """
    kind = WorkspaceCondition.NODES_READY
    warnings = "".join(f"; {pressure}" for pressure in _pressures(machines, nodes))
    ready = sum(map(is_ready, machines))
    so_far = f"{ready} of {count} nodes ready"
    if ready >= count:
        return Condition(kind, "True", NodeReason.NODES_READY, f"{so_far}{warnings}")
    for machine in machines:
        found = ready_condition(machine)
        if found is not None and found["status"] == "False":
            lacks_resource = found["reason"] == MachineReason.RESOURCE_MISSING
            reason = (
                NodeReason.NODE_PLUGINS_NOT_READY
                if lacks_resource
                else NodeReason.NODE_NOT_READY
            )
            message = f"{so_far}: {found['message']}{warnings}"
            return Condition(kind, "False", reason, message)
    return Condition(kind, "False", NodeReason.NODE_NOT_READY, f"{so_far}{warnings}")


def _pressures(
    machines: Sequence[Object], nodes: Mapping[str, Object]
) -> Iterator[str]:
    for machine in machines:
        node = nodes.get(node_of(machine)) or {}
        for condition in (node.get("status") or {}).get("conditions") or ():
            if condition["type"] in PRESSURES and condition["status"] == "True":
                yield f"node {name(node)} reports {condition['type']}"


def planned(plan: Plan) -> str:
    """Return what a plan wants, as a sentence."""
    nodes = f"{plan.nodes} node{'' if plan.nodes == 1 else 's'}"
    each = ", ".join(f"{n} {r}" for r, n in sorted(plan.node_resources.items()))
    if plan.server is None:
        return f"{nodes}, a pod of your own template on each"
    server = plan.server
    return (
        f"{nodes} with {each} each, {server.preset.name} by {server.runtime}, "
        f"{server.context_length} tokens of context"
    )


def ready_condition(machine: Object) -> Mapping[str, Any] | None:
    """Return a Machine's Ready condition if it is about the current spec."""
    return _condition(machine, MachineCondition.READY)


def _condition(machine: Object, kind: str) -> Mapping[str, Any] | None:
    status = machine.get("status") or {}
    generation = machine["metadata"].get("generation")
    for condition in status.get("conditions", ()):
        if (
            condition["type"] == kind
            and condition.get("observedGeneration") == generation
        ):
            found: Mapping[str, Any] = condition
            return found
    return None


def worker_nodes(machines: Sequence[Object]) -> list[str]:
    """Return the nodes that serve the Workspace or can."""
    return sorted(node_of(machine) for machine in machines if is_ready(machine))


def is_ready(machine: Object) -> bool:
    """Whether a Machine's node is Ready with what was asked for."""
    condition = ready_condition(machine)
    return condition is not None and condition["status"] == "True"


def fold(
    resources: Sequence[Condition],
    written: Iterable[Mapping[str, Any]],
    *,
    generation: int,
    previous_state: str,
) -> Progress:
    """Return the status of a Workspace that serves a model.

    Args:
        resources: ResourceReady last, and what it rests on before.
        written: the conditions as they are, of which those of the inference
            reconciler are read, unless they are about an earlier generation: these
            say nothing about the current spec.
        generation: the Workspace's generation.
        previous_state: ``status.state`` as written, which tells a Workspace
            that never served from one that does no longer.
    """
    resource = resources[-1]
    current = {
        condition["type"]: condition
        for condition in written
        if condition.get("observedGeneration") == generation
    }
    inference = current.get(WorkspaceCondition.INFERENCE_READY)
    if resource.status == "True" and inference and inference["status"] == "True":
        return Progress("Ready", (*resources, *_served()))
    stalled = False
    if resource.status != "True":
        reason, message = resource.reason, resource.message
        stalled = reason in HOPELESS
    elif inference:
        reason, message = inference["reason"], inference["message"]
        stalled = WorkspaceCondition.INFERENCE_STALLED in current
    else:
        reason, message = PROGRESSING, "the workload is being applied"
    state = "NotReady" if stalled or previous_state in SERVED_ONCE else "Pending"
    return Progress(state, (*resources, *_not_served(reason, message, stalled=stalled)))


def _served() -> Iterator[Condition]:
    for kind in (WorkspaceCondition.WORKSPACE_SUCCEEDED, WorkspaceCondition.READY):
        yield Condition(kind, "True", WorkspaceReason.SUCCEEDED, "the model is served")


def _not_served(reason: str, message: str, *, stalled: bool) -> Iterator[Condition]:
    yield Condition(
        WorkspaceCondition.WORKSPACE_SUCCEEDED,
        "False",
        WorkspaceReason.FAILED if stalled else WorkspaceReason.PENDING,
        message,
    )
    yield Condition(WorkspaceCondition.READY, "False", reason, message)
    if stalled:
        yield Condition(WorkspaceCondition.STALLED, "True", reason, message)
    else:
        yield Condition(WorkspaceCondition.RECONCILING, "True", PROGRESSING, message)
