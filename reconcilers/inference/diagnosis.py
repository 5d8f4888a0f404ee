"""Why the pods of a workload do not serve yet, from what the kubelet reports."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pykaito.api.conditions import InferenceReason
from pykaito.operator.objects import Object

IMAGE_PULL_REASONS = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
START_REASONS = frozenset(
    {
        "CreateContainerConfigError",
        "PreCreateHookError",
        "CreateContainerError",
        "PreStartHookError",
        "RunContainerError",
        "PostStartHookError",
    }
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How a workload is, and what holds it up if something does.

    Attributes:
        reason: one word, SUCCESS where it serves.
        message: what was found and what a person can do, in sentences.
        progressing: nothing is wrong, it only takes its time.
        stalled: waiting does not mend it, only a person can.
        look_again: seconds after which the time alone may change the above.
    """

    reason: str
    message: str
    progressing: bool = False
    stalled: bool = False
    look_again: float | None = None


#: The first of these that any pod shows is told: the further left, the surer
#: that a person has to act.
PRIORITY = (
    InferenceReason.CONTAINER_OOM_KILLED,
    InferenceReason.IMAGE_PULL_ERROR,
    InferenceReason.CONTAINER_START_ERROR,
    InferenceReason.CONTAINER_CRASH_LOOP_BACK_OFF,
    InferenceReason.POD_EVICTED,
    InferenceReason.NODE_DISK_PRESSURE,
    InferenceReason.NODE_MEMORY_PRESSURE,
    InferenceReason.UNSCHEDULABLE,
    InferenceReason.PENDING,
)
_RANK: Mapping[str, int] = {reason: rank for rank, reason in enumerate(PRIORITY)}


def diagnose(pods: Sequence[Object], workspace: Object, now: datetime) -> Diagnosis:
    """Return the worst of what the pods show, or how far they are.

    Args:
        pods: those of the Workspace.
        workspace: whose fields a remedy names.
        now: the time.

    Pods that have failed stay for a record while others take their place: they
    count only as long as those do not come along.
    """
    del workspace, now
    findings = [finding for pod in pods for finding in _of_pod(pod)]
    living = [
        finding for pod in pods if not _has_ended(pod) for finding in _of_pod(pod)
    ]
    if living and all(finding.progressing for finding in living):
        findings = living
    if not findings:
        return pending("waiting for the workload's pod to be created")
    return min(findings, key=lambda finding: _RANK[finding.reason])


def _has_ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Failed", "Succeeded"}


def _of_pod(pod: Object) -> Iterator[Diagnosis]:
    name = pod["metadata"]["name"]
    status: Mapping[str, Any] = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        yield pending(f"pod {name} is shutting down")
        return
    if status.get("reason") == "Evicted":
        yield _evicted(name, status.get("message", ""))
        return
    for condition in status.get("conditions", ()):
        if (condition["type"], condition["status"]) == ("PodScheduled", "False"):
            yield Diagnosis(
                InferenceReason.UNSCHEDULABLE,
                f"pod {name} fits no node: {condition.get('message', '')}",
            )
            return
    containers = [
        *status.get("initContainerStatuses", ()),
        *status.get("containerStatuses", ()),
    ]
    troubles = [found for c in containers if (found := _of_container(name, c))]
    yield from troubles
    if not troubles:
        yield pending(_progress(name, status))


def _of_container(pod: str, container: Mapping[str, Any]) -> Diagnosis | None:
    name = container["name"]
    waiting = container.get("state", {}).get("waiting") or {}
    state = container.get("state", {}).get("terminated") or {}
    ended = state or container.get("lastState", {}).get("terminated") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in IMAGE_PULL_REASONS:
        return Diagnosis(
            InferenceReason.IMAGE_PULL_ERROR,
            f"pod {pod} cannot pull {container.get('image', '')} for container "
            f"{name}: {message or reason}",
        )
    if ended.get("reason") == "OOMKilled" and not container.get("ready"):
        return Diagnosis(
            InferenceReason.CONTAINER_OOM_KILLED,
            f"container {name} of pod {pod} ran out of memory and was killed "
            f"({container.get('restartCount', 0)} restarts)",
        )
    if reason in START_REASONS:
        return Diagnosis(
            InferenceReason.CONTAINER_START_ERROR,
            f"container {name} of pod {pod} cannot start: {message or reason}",
        )
    # Also while it runs anew: with the reason of the moment, the condition would
    # turn with each round of the loop, and tell nothing most of the time.
    crashed = ended.get("exitCode", 0) != 0 and not container.get("ready")
    if reason == "CrashLoopBackOff" or crashed:
        last_words = (ended.get("message") or "").strip().splitlines()
        why = f": {last_words[-1]}" if last_words else ""
        return Diagnosis(
            InferenceReason.CONTAINER_CRASH_LOOP_BACK_OFF,
            f"container {name} of pod {pod} ended with exit code "
            f"{ended.get('exitCode', '?')} ({container.get('restartCount', 0)} "
            f"restarts){why}; its log says more: kubectl logs {pod} -c {name} -p",
        )
    return None


def _evicted(pod: str, message: str) -> Diagnosis:
    reason = InferenceReason.POD_EVICTED
    if "ephemeral-storage" in message or "disk" in message:
        reason = InferenceReason.NODE_DISK_PRESSURE
    elif "memory" in message:
        reason = InferenceReason.NODE_MEMORY_PRESSURE
    return Diagnosis(reason, f"pod {pod} was evicted: {message}")


def _progress(pod: str, status: Mapping[str, Any]) -> str:
    for container in status.get("initContainerStatuses", ()):
        if "terminated" in container.get("state", {}):
            continue
        if "running" in container.get("state", {}):
            return f"pod {pod} is fetching {container['name']}"
        return f"pod {pod} is pulling the image of {container['name']}"
    containers: Iterable[Mapping[str, Any]] = status.get("containerStatuses", ())
    if any("running" in c.get("state", {}) for c in containers):
        return f"pod {pod} is loading the model"
    return f"pod {pod} is pulling its image"


def pending(message: str) -> Diagnosis:
    """Return how far a workload is that comes along."""
    reason = InferenceReason.PENDING
    return Diagnosis(reason, message, progressing=True)
