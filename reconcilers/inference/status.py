"""The conditions of a workload, from what its children show: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pykaito.api.conditions import InferenceReason, WorkspaceCondition
from pykaito.operator.objects import Object, name, namespace
from pykaito.reconcilers.conditions import Condition, with_help
from pykaito.reconcilers.inference.diagnosis import (
    Diagnosis,
    Reported,
    diagnose,
    pending,
    unreported,
)
from pykaito.reconcilers.inference.diagnosis.patience import PATIENCE, moment, waited
from pykaito.reconcilers.inference.diagnosis.redaction import redacted
from pykaito.reconcilers.inference.templates import current_pods
from pykaito.reconcilers.quota import QUOTA_EXCEEDED, explain_quota

#: The types that the inference reconciler owns.
CONDITIONS = (WorkspaceCondition.INFERENCE_READY, WorkspaceCondition.INFERENCE_STALLED)

PODS_REFUSED = "PodsRefused"
#: Kubernetes' own word for a rollout that takes longer than it may.
DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"


def judge(
    deployed: Object,
    pods: Sequence[Object],
    workspace: Object,
    now: datetime,
    reported: Reported = unreported,
) -> Diagnosis:
    """Say whether a Deployment serves as it is written now, and if not, why.

    Args:
        deployed: the Deployment.
        pods: the Workspace's pods.
        workspace: whose fields a remedy names.
        now: the time.
        reported: what pods that load say themselves.
    """
    status: Mapping[str, Any] = deployed.get("status") or {}
    wanted = deployed["spec"]["replicas"]
    if not wanted:
        return pending("the Deployment is scaled to 0 replicas")
    if _serves(deployed, status, wanted, workspace):
        return Diagnosis(
            InferenceReason.SUCCESS, f"{wanted} of {wanted} replicas serve"
        )
    found = diagnose(
        current_pods(deployed, pods),
        workspace,
        now,
        reported,
        timedelta(seconds=deployed["spec"].get("minReadySeconds", 0)),
    )
    if found.progressing:
        found = _refused(deployed, status, now) or _paused(deployed, status) or found
    found = _overdue(status, found)
    return replace(found, message=f"{_so_far(deployed, status)}{found.message}")


def _serves(
    deployed: Object, status: Mapping[str, Any], wanted: int, workspace: Object
) -> bool:
    # What served a moment ago goes on to until the Deployment's controller has looked
    # at a change, which may be one that concerns no pod.
    return bool(
        (_is_observed(deployed, status) or _is_told_to_serve(workspace))
        and status.get("availableReplicas", 0) >= wanted
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("replicas", 0) == wanted
    )


def _is_observed(deployed: Object, status: Mapping[str, Any]) -> bool:
    generation = deployed["metadata"]["generation"]
    return bool(status.get("observedGeneration") == generation)


def _is_told_to_serve(workspace: Object) -> bool:
    """Whether the Workspace, as it is now, reads that its model is served."""
    told = _condition(workspace.get("status") or {}, WorkspaceCondition.INFERENCE_READY)
    generation = workspace["metadata"].get("generation")
    return (told.get("status"), told.get("observedGeneration")) == ("True", generation)


def _so_far(deployed: Object, status: Mapping[str, Any]) -> str:
    """Return how many replicas serve, where there are several or a rollout."""
    wanted, available = deployed["spec"]["replicas"], status.get("availableReplicas", 0)
    updated = status.get("updatedReplicas", 0)
    if not _is_observed(deployed, status):
        return ""
    if available and updated < wanted:
        return (
            f"rolling out, {updated} of {wanted} replicas updated, {available} serve: "
        )
    return f"{available} of {wanted} replicas serve: " if wanted > 1 else ""


def _refused(
    deployed: Object, status: Mapping[str, Any], now: datetime
) -> Diagnosis | None:
    """Return why no pod can be created, such as a quota; None if one can."""
    failure = _condition(status, "ReplicaFailure")
    if failure.get("status") != "True":
        return None
    message = str(failure.get("message", ""))
    exceeded = explain_quota(message, namespace(deployed))
    since = moment(failure.get("lastTransitionTime"))
    stalled, look_again = waited(since, now, PATIENCE)
    return Diagnosis(
        QUOTA_EXCEEDED if exceeded else PODS_REFUSED,
        exceeded or f"the workload's pod is refused: {message}",
        stalled=stalled,
        look_again=look_again,
    )


def _paused(deployed: Object, status: Mapping[str, Any]) -> Diagnosis | None:
    """Return that somebody has paused the rollout, None where that holds up nothing."""
    waits = status.get("updatedReplicas", 0) < deployed["spec"]["replicas"]
    if not deployed["spec"].get("paused") or not waits:
        return None
    return pending(
        f"the Deployment is paused; go on: kubectl -n {namespace(deployed)} rollout "
        f"resume deployment {name(deployed)}"
    )


def _overdue(status: Mapping[str, Any], found: Diagnosis) -> Diagnosis:
    """Mark what has taken longer than a rollout may."""
    progressing = _condition(status, "Progressing")
    if (progressing.get("status"), progressing.get("reason")) != (
        "False",
        DEADLINE_EXCEEDED,
    ):
        return found
    if not found.progressing:
        return replace(found, stalled=True)
    return Diagnosis(
        DEADLINE_EXCEEDED,
        f"{found.message}, for longer than the model may take",
        stalled=True,
    )


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    for found in status.get("conditions") or ():
        if found["type"] == kind:
            return dict(found)
    return {}


def conditions(found: Diagnosis, remark: str = "") -> list[Condition]:
    """Return the conditions that tell of a diagnosis, with a remark if there is one."""
    message = redacted(f"{found.message}; {remark}" if remark else found.message)
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
