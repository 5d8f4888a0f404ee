"""The status of a Workspace, folded from what its children show: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pykaito.api.conditions import (
    NodeReason,
    TuningReason,
    WorkspaceCondition,
    WorkspaceReason,
)
from pykaito.operator.objects import Object, name
from pykaito.reconcilers.conditions import Condition, with_help
from pykaito.reconcilers.workspace.nodes import Selection
from pykaito.runtime.presets.plan import PlanError

#: The types that the workspace reconciler owns. InferenceReady is written by
#: the inference reconciler and only read here.
CONDITIONS = (
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
        Condition(
            WorkspaceCondition.WORKSPACE_SUCCEEDED,
            "False",
            WorkspaceReason.FAILED,
            message,
        ),
        Condition(WorkspaceCondition.READY, "False", error.reason, message),
        Condition(WorkspaceCondition.STALLED, "True", error.reason, message),
    ]
    if tuning:
        conditions.append(
            Condition(
                WorkspaceCondition.JOB_STARTED, "False", TuningReason.FAILED, message
            )
        )
    return Progress("Failed" if tuning else "NotReady", tuple(conditions))


def deleting(machines: Sequence[Object]) -> Condition:
    """Say that the Workspace goes away and which Machines it still waits for."""
    return Condition(
        WorkspaceCondition.WORKSPACE_DELETING,
        "True",
        WorkspaceReason.DELETED,
        f"waiting for Machines to give back: {', '.join(map(_held_up, machines))}",
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


def ready_condition(machine: Object) -> Mapping[str, Any] | None:
    """Return a Machine's Ready condition if it is about the current spec."""
    status = machine.get("status") or {}
    generation = machine["metadata"].get("generation")
    for condition in status.get("conditions", ()):
        if (
            condition["type"] == "Ready"
            and condition.get("observedGeneration") == generation
        ):
            found: Mapping[str, Any] = condition
            return found
    return None


def is_ready(machine: Object) -> bool:
    """Whether a Machine's node is Ready with what was asked for."""
    condition = ready_condition(machine)
    return condition is not None and condition["status"] == "True"


def fold(
    resource: Condition,
    inference: Mapping[str, Any] | None,
    *,
    generation: int,
    previous_state: str,
) -> Progress:
    """Return the status of a Workspace that serves a model.

    Args:
        resource: ResourceReady, as :func:`resources` found it.
        inference: InferenceReady as the inference reconciler wrote it.
        generation: the Workspace's generation; an InferenceReady of an earlier
            one says nothing about the current spec.
        previous_state: ``status.state`` as written, which tells a Workspace
            that never served from one that does no longer.
    """
    current = inference is not None and (
        inference.get("observedGeneration") == generation
    )
    serving = current and inference is not None and inference["status"] == "True"
    if resource.status == "True" and serving:
        done = "the model is served"
        return Progress(
            "Ready",
            (
                resource,
                Condition(
                    WorkspaceCondition.WORKSPACE_SUCCEEDED,
                    "True",
                    WorkspaceReason.SUCCEEDED,
                    done,
                ),
                Condition(
                    WorkspaceCondition.READY, "True", WorkspaceReason.SUCCEEDED, done
                ),
            ),
        )
    if resource.status != "True":
        reason, message = resource.reason, resource.message
    elif current and inference is not None:
        reason, message = inference["reason"], inference["message"]
    else:
        reason, message = PROGRESSING, "the workload is being applied"
    return Progress(
        "NotReady" if previous_state in {"Ready", "NotReady"} else "Pending",
        (
            resource,
            Condition(
                WorkspaceCondition.WORKSPACE_SUCCEEDED,
                "False",
                WorkspaceReason.PENDING,
                message,
            ),
            Condition(WorkspaceCondition.READY, "False", reason, message),
            Condition(WorkspaceCondition.RECONCILING, "True", PROGRESSING, message),
        ),
    )
