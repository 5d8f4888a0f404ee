"""The conditions of a workload, from what its children show: pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pykaito.api.conditions import InferenceReason, WorkspaceCondition
from pykaito.operator.objects import Object
from pykaito.reconcilers.conditions import Condition, with_help
from pykaito.reconcilers.inference.diagnosis import Diagnosis, diagnose, pending

#: The types that the inference reconciler owns.
CONDITIONS = (WorkspaceCondition.INFERENCE_READY, WorkspaceCondition.INFERENCE_STALLED)

PODS_REFUSED = "PodsRefused"


def judge(
    deployed: Object, pods: Sequence[Object], workspace: Object, now: datetime
) -> Diagnosis:
    """Say whether a Deployment serves as it is written now, and if not, why.

    Args:
        deployed: the Deployment.
        pods: the Workspace's pods.
        workspace: whose fields a remedy names.
        now: the time.
    """
    status: Mapping[str, Any] = deployed.get("status") or {}
    wanted = deployed["spec"]["replicas"]
    if not wanted:
        return pending("the Deployment is scaled to 0 replicas")
    if _serves(deployed, status, wanted):
        return Diagnosis(
            InferenceReason.SUCCESS, f"{wanted} of {wanted} replicas serve"
        )
    if not pods and (refused := _pods_refused(status)):
        return Diagnosis(PODS_REFUSED, refused)
    return diagnose(pods, workspace, now)


def _serves(deployed: Object, status: Mapping[str, Any], wanted: int) -> bool:
    return bool(
        status.get("observedGeneration") == deployed["metadata"]["generation"]
        and status.get("availableReplicas", 0) >= wanted
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("replicas", 0) == wanted
    )


def _pods_refused(status: Mapping[str, Any]) -> str:
    """Return why no pod can be created, such as a quota; empty if one can."""
    for condition in status.get("conditions", ()):
        if (condition["type"], condition["status"]) == ("ReplicaFailure", "True"):
            return f"the workload's pod is refused: {condition.get('message', '')}"
    return ""


def conditions(found: Diagnosis, note: str = "") -> list[Condition]:
    """Return the conditions that tell of a diagnosis, with a note if there is one."""
    message = f"{found.message}; {note}" if note else found.message
    if found.reason == InferenceReason.SUCCESS:
        return [
            Condition(WorkspaceCondition.INFERENCE_READY, "True", found.reason, message)
        ]
    if not found.progressing:
        message = with_help(message, found.reason)
    told = [
        Condition(WorkspaceCondition.INFERENCE_READY, "False", found.reason, message)
    ]
    if found.stalled:
        told.append(
            Condition(
                WorkspaceCondition.INFERENCE_STALLED, "True", found.reason, message
            )
        )
    return told
